// A ring of pinned segments: a segment is written again only after the copies out of it are done.
#include "backend/cuda/transfers.h"

#include <algorithm>
#include <cstring>

namespace vitrine::cuda {
namespace {

constexpr size_t kSegments = 4;
constexpr size_t kSegmentBytes = size_t{8} << 20;  // large enough that PCIe is busy, small enough to overlap
constexpr size_t kAlignment = 256;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

Transfers::Transfers(cudaStream_t stream) : stream_(stream) {
  segments_.reserve(kSegments);
  for (size_t i = 0; i < kSegments; ++i) segments_.emplace_back(kSegmentBytes);
}

void Transfers::write(void* device, const void* host, size_t bytes) {
  while (bytes > 0) {
    if (used_ == kSegmentBytes) {
      segments_[current_].mark(stream_);
      current_ = (current_ + 1) % kSegments;
      used_ = 0;
    }
    char* const pinned = used_ == 0 ? segments_[current_].take(kSegmentBytes) : segments_[current_].data() + used_;
    const size_t part = std::min(bytes, kSegmentBytes - used_);
    std::memcpy(pinned, host, part);
    check(cudaMemcpyAsync(device, pinned, part, cudaMemcpyHostToDevice, stream_), "copy to the device");
    used_ += std::min(aligned(part), kSegmentBytes - used_);
    device = static_cast<char*>(device) + part;
    host = static_cast<const char*>(host) + part;
    bytes -= part;
  }
}

}  // namespace vitrine::cuda
