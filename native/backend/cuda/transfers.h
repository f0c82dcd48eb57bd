// Bulk copies to the device on one stream, weights above all, through pinned memory, so that none of them waits unless
// it must.
#pragma once

#include <vector>

#include "backend/cuda/memory.h"

namespace vitrine::cuda {

class Transfers {
 public:
  explicit Transfers(cudaStream_t stream);
  ~Transfers();
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;

  /// Queues a copy; `host` may change on return.
  void write(void* device, const void* host, size_t bytes);

 private:
  /// Pinned memory that copies pass through. `copied`: the last copy out of it is done.
  struct Segment {
    PinnedMemory memory;
    cudaEvent_t copied;
  };

  void next_segment();

  cudaStream_t stream_;
  std::vector<Segment> segments_;
  size_t current_ = 0;
  size_t used_ = 0;  ///< of the current segment
};

}  // namespace vitrine::cuda
