// Pinned memory that copies pass through, and the event behind the last of them: it is written again when they are
// done.
#pragma once

#include <utility>

#include "backend/cuda/memory.h"

namespace vitrine::cuda {

class StagingBuffer {
 public:
  explicit StagingBuffer(size_t bytes);
  ~StagingBuffer();
  StagingBuffer(StagingBuffer&& other) noexcept
      : memory_(std::move(other.memory_)), copied_(std::exchange(other.copied_, nullptr)) {}

  /// At least so many bytes that no copy uses any more: waits for those before the mark. Growing loses what was there.
  char* take(size_t bytes);
  char* data() const { return memory_.data(); }
  /// The copies queued so far are its last until it is taken again.
  void mark(cudaStream_t stream);
  /// Whether those before the mark are done, or will never be: wait() says why. True of one without a mark.
  bool done() const;
  void wait(const char* what) const;

 private:
  PinnedMemory memory_;
  cudaEvent_t copied_ = nullptr;
};

}  // namespace vitrine::cuda
