// A ring of pinned segments: a segment is written again only after the copies out of it are done.
#include "backend/cuda/transfers.h"

#include <algorithm>
#include <cstring>

namespace vitrine::cuda {
namespace {

constexpr size_t kSegments = 4;
constexpr size_t kSegmentBytes = size_t{8} << 20;  // large enough that PCIe is busy, small enough to overlap
constexpr size_t kAlignment = 256;
constexpr size_t kFirstUpload = size_t{1} << 20;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

Transfers::Transfers(cudaStream_t stream) : stream_(stream) {
  segments_.reserve(kSegments);
  for (size_t i = 0; i < kSegments; ++i) {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
    segments_.push_back({PinnedMemory(kSegmentBytes), event});
  }
}

Transfers::~Transfers() {
  for (const Segment& segment : segments_) cudaEventDestroy(segment.copied);
}

/// A segment that is free from its beginning. An event that was never recorded counts as done.
Transfers::Segment& Transfers::next_segment() {
  check(cudaEventRecord(segments_[current_].copied, stream_), "cudaEventRecord");
  current_ = (current_ + 1) % kSegments;
  used_ = 0;
  check(cudaEventSynchronize(segments_[current_].copied), "cudaEventSynchronize");
  return segments_[current_];
}

void Transfers::write(void* device, const void* host, size_t bytes) {
  while (bytes > 0) {
    if (used_ == kSegmentBytes) next_segment();
    const size_t part = std::min(bytes, kSegmentBytes - used_);
    char* pinned = segments_[current_].memory.data() + used_;
    std::memcpy(pinned, host, part);
    check(cudaMemcpyAsync(device, pinned, part, cudaMemcpyHostToDevice, stream_), "copy to the device");
    used_ += std::min(aligned(part), kSegmentBytes - used_);
    device = static_cast<char*>(device) + part;
    host = static_cast<const char*>(host) + part;
    bytes -= part;
  }
}

void* Transfers::reserve_upload(size_t bytes) {
  bytes = std::max(aligned(bytes), kAlignment);
  upload_total_ += bytes;
  if (uploads_.empty() || uploads_.back().bytes() - upload_used_ < bytes) {
    uploads_.emplace_back(std::max(bytes, kFirstUpload));
    upload_used_ = 0;
  }
  void* place = static_cast<char*>(uploads_.back().data()) + upload_used_;
  upload_used_ += bytes;
  return place;
}

const void* Transfers::upload(const void* host, size_t bytes) {
  void* place = reserve_upload(bytes);
  write(place, host, bytes);
  return place;
}

size_t Transfers::device_bytes() const {
  size_t total = 0;
  for (const DeviceMemory& piece : uploads_) total += piece.bytes();
  return total;
}

void Transfers::read(void* host, const void* device, size_t bytes) {
  while (bytes > 0) {
    const size_t part = std::min(bytes, kSegmentBytes);
    const Segment& segment = next_segment();
    check(cudaMemcpyAsync(segment.memory.data(), device, part, cudaMemcpyDeviceToHost, stream_),
          "copy from the device");
    check(cudaStreamSynchronize(stream_), "copy from the device");
    std::memcpy(host, segment.memory.data(), part);
    host = static_cast<char*>(host) + part;
    device = static_cast<const char*>(device) + part;
    bytes -= part;
  }
}

void Transfers::synchronize() {
  check(cudaStreamSynchronize(stream_), "synchronize");
  if (uploads_.size() > 1) {  // one piece for as much next time
    uploads_.clear();
    uploads_.emplace_back(upload_total_);
  }
  upload_used_ = 0;
  upload_total_ = 0;
}

}  // namespace vitrine::cuda
