#include "backend/cuda/step_results.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace vitrine::cuda {
namespace {

constexpr size_t kTargets = 3;  // two unfinished steps, and one that synchronize() ends beside them
constexpr size_t kFirstBytes = size_t{64} << 10;
constexpr size_t kAlignment = 64;

size_t aligned(size_t bytes) { return (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

StepResults::StepResults(cudaStream_t stream) : stream_(stream) {
  pieces_.push_back({DeviceMemory(kFirstBytes)});
  targets_.reserve(kTargets);
  for (size_t i = 0; i < kTargets; ++i) targets_.emplace_back(kFirstBytes);
}

void StepResults::begin() {
  if (pieces_.size() > 1) {  // one piece for as much next time; freeing waits for the copies out of them
    size_t bytes = 0;
    for (const Piece& piece : pieces_) bytes += piece.memory.bytes();
    pieces_.clear();
    pieces_.push_back({DeviceMemory(bytes)});
  }
  pieces_[0].used = 0;
  results_.clear();
  total_ = 0;
}

void* StepResults::reserve(size_t bytes, Reader reader) {
  bytes = aligned(bytes);
  if (pieces_.back().used + bytes > pieces_.back().memory.bytes()) {
    pieces_.push_back({DeviceMemory(std::max(bytes, 2 * pieces_.back().memory.bytes()))});
  }
  Piece& piece = pieces_.back();
  void* const place = static_cast<char*>(piece.memory.data()) + piece.used;
  results_.push_back({total_, std::move(reader)});
  piece.used += bytes;
  total_ += bytes;
  return place;
}

void StepResults::end() {
  require(unfinished_.size() < kTargets, "more than ", kTargets, " steps are unfinished");
  StagingBuffer& target = targets_[next_target_];
  char* const pinned = target.take(total_);
  size_t offset = 0;
  for (const Piece& piece : pieces_) {
    if (piece.used == 0) continue;
    check(cudaMemcpyAsync(pinned + offset, piece.memory.data(), piece.used, cudaMemcpyDeviceToHost, stream_),
          "copy of a step's results");
    offset += piece.used;
  }
  target.mark(stream_);
  unfinished_.push_back({next_target_, std::exchange(results_, {})});
  next_target_ = (next_target_ + 1) % kTargets;
}

void StepResults::make_room(size_t bytes) {
  if (device_bytes() >= bytes) return;
  pieces_.clear();
  pieces_.push_back({DeviceMemory(bytes)});
  begin();
}

size_t StepResults::device_bytes() const {
  size_t total = 0;
  for (const Piece& piece : pieces_) total += piece.memory.bytes();
  return total;
}

bool StepResults::done() const { return unfinished_.empty() || targets_[unfinished_.front().target].done(); }

void StepResults::finish() {
  require(!unfinished_.empty(), "no step is unfinished");
  const Unfinished step = std::move(unfinished_.front());
  unfinished_.pop_front();
  const StagingBuffer& target = targets_[step.target];
  target.wait("a step");
  for (const Result& result : step.results) result.reader(target.data() + result.offset);
}

void StepResults::finish_all() {
  std::exception_ptr first;
  while (!unfinished_.empty()) {
    try {
      finish();
    } catch (...) {
      if (!first) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace vitrine::cuda
