// What the host has for a step's kernels: gathered while the step is planned, and taken to the device by one copy when
// the first op that may need it is queued. Engine thread.
#pragma once

#include <vector>

#include "backend/cuda/rows.h"
#include "backend/cuda/staging_buffer.h"

namespace vitrine::cuda {

class StepInputs {
 public:
  explicit StepInputs(cudaStream_t stream);

  /// A new step: what was uploaded is of no more use. Kernels that are still running keep it: the next copy is queued
  /// behind them.
  void begin();
  /// Returns where on the device it will be, 64-byte aligned; `host` may change on return.
  const void* upload(const void* host, size_t bytes);
  /// Words to a place of the caller's, which must last until the step is finished.
  void upload_to(int32_t* device, const int32_t* words, size_t count);
  /// Queues the copy, and for places of their own one kernel.
  void flush();
  /// Has room for so many bytes a step, while none is being gathered.
  void make_room(size_t bytes);
  size_t device_bytes() const { return arena_.bytes(); }
  bool empty() const { return gathered_.empty(); }

 private:
  cudaStream_t stream_;
  std::vector<StagingBuffer> staging_;
  size_t current_ = 0;
  DeviceMemory arena_;
  size_t used_ = 0;                    ///< of the arena, without what is gathered
  std::vector<DeviceMemory> retired_;  ///< arenas that were too small for this step
  std::vector<char> gathered_;
  std::vector<ScatterPart> parts_;
};

}  // namespace vitrine::cuda
