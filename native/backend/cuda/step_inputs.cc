// An arena on the device, filled from a ring of pinned memory.
#include "backend/cuda/step_inputs.h"

#include <algorithm>
#include <cstring>

namespace vitrine::cuda {
namespace {

constexpr size_t kStagings = 4;  // two steps are queued at most, with one copy each as a rule
constexpr size_t kFirstStaging = size_t{256} << 10;
constexpr size_t kFirstArena = size_t{1} << 20;
constexpr size_t kAlignment = 64;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

StepInputs::StepInputs(cudaStream_t stream) : stream_(stream), arena_(kFirstArena) {
  staging_.reserve(kStagings);
  for (size_t i = 0; i < kStagings; ++i) staging_.emplace_back(kFirstStaging);
}

void StepInputs::begin() {
  used_ = 0;
  gathered_.clear();  // of a step that failed
  parts_.clear();
  retired_.clear();
}

const void* StepInputs::upload(const void* host, size_t bytes) {
  const size_t place = aligned(gathered_.size());
  const size_t end = place + std::max<size_t>(bytes, 1);
  if (used_ + end > arena_.bytes()) {
    flush();
    retired_.push_back(std::move(arena_));
    arena_ = DeviceMemory(std::max(2 * retired_.back().bytes(), aligned(bytes)));
    used_ = 0;
    return upload(host, bytes);
  }
  gathered_.resize(end);
  if (bytes > 0) std::memcpy(gathered_.data() + place, host, bytes);
  return static_cast<char*>(arena_.data()) + used_ + place;
}

void StepInputs::upload_to(int32_t* device, const int32_t* words, size_t count) {
  if (count == 0) return;
  if (parts_.size() == kMostScatterParts) flush();
  const auto* from = static_cast<const int32_t*>(upload(words, count * sizeof(int32_t)));
  parts_.push_back({from, device, static_cast<int64_t>(count)});
}

void StepInputs::flush() {
  if (gathered_.empty()) return;
  const size_t bytes = gathered_.size();
  current_ = (current_ + 1) % kStagings;
  StagingBuffer& staging = staging_[current_];
  char* const pinned = staging.take(bytes);
  std::memcpy(pinned, gathered_.data(), bytes);
  check(cudaMemcpyAsync(static_cast<char*>(arena_.data()) + used_, pinned, bytes, cudaMemcpyHostToDevice, stream_),
        "copy of a step's inputs");
  staging.mark(stream_);
  used_ += aligned(bytes);
  gathered_.clear();
  scatter(parts_, stream_);
  parts_.clear();
}

void StepInputs::make_room(size_t bytes) {
  if (arena_.bytes() >= bytes) return;
  begin();
  arena_ = DeviceMemory();  // free first: both together may not fit
  arena_ = DeviceMemory(bytes);
}

}  // namespace vitrine::cuda
