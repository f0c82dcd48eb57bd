// Bulk copies to the device on one stream, weights above all, through pinned memory, so that none of them waits unless
// it must.
#pragma once

#include <vector>

#include "backend/cuda/staging_buffer.h"

namespace vitrine::cuda {

class Transfers {
 public:
  explicit Transfers(cudaStream_t stream);

  /// Queues a copy; `host` may change on return.
  void write(void* device, const void* host, size_t bytes);

 private:
  cudaStream_t stream_;
  std::vector<StagingBuffer> segments_;
  size_t current_ = 0;
  size_t used_ = 0;  ///< of the current segment
};

}  // namespace vitrine::cuda
