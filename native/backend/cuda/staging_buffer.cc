#include "backend/cuda/staging_buffer.h"

#include <algorithm>

namespace vitrine::cuda {

StagingBuffer::StagingBuffer(size_t bytes) : memory_(bytes) {
  check(cudaEventCreateWithFlags(&copied_, cudaEventDisableTiming), "cudaEventCreate");
}

StagingBuffer::~StagingBuffer() {
  if (copied_ != nullptr) cudaEventDestroy(copied_);
}

char* StagingBuffer::take(size_t bytes) {
  wait("the copies before");
  if (memory_.bytes() < bytes) memory_ = PinnedMemory(std::max(bytes, 2 * memory_.bytes()));
  return memory_.data();
}

void StagingBuffer::mark(cudaStream_t stream) { check(cudaEventRecord(copied_, stream), "cudaEventRecord"); }

bool StagingBuffer::done() const {
  const cudaError_t code = cudaEventQuery(copied_);
  if (code == cudaSuccess) return true;
  cudaGetLastError();  // or the next launch would take it for its own
  return code != cudaErrorNotReady;
}

/// An event that was never recorded counts as done.
void StagingBuffer::wait(const char* what) const { check(cudaEventSynchronize(copied_), what); }

}  // namespace vitrine::cuda
