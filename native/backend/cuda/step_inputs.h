// What the host has for a step's kernels: gathered while the step is planned, and taken to the device by one copy when
// the first op that may need it is queued. Engine thread.
#pragma once

#include <array>
#include <vector>

#include "backend/cuda/memory.h"
#include "backend/cuda/rows.h"

namespace vitrine::cuda {

class StepInputs {
 public:
  explicit StepInputs(cudaStream_t stream);
  ~StepInputs();
  StepInputs(const StepInputs&) = delete;
  StepInputs& operator=(const StepInputs&) = delete;

  /// A new step: what was uploaded is of no more use. Kernels that are still running keep it: the next copy is queued
  /// behind them.
  void begin();
  /// Returns where on the device it will be, 64-byte aligned; `host` may change on return.
  const void* upload(const void* host, size_t bytes);
  /// Words to a place of the caller's, which must last until the step is finished.
  void upload_to(int32_t* device, const int32_t* words, size_t count);
  /// Queues the copy, and for places of their own one kernel.
  void flush();
  bool empty() const { return gathered_.empty(); }

 private:
  /// Pinned memory that a copy is made from; `copied`: it is done.
  struct Staging {
    PinnedMemory memory;
    cudaEvent_t copied;
  };

  char* next_staging(size_t bytes);

  cudaStream_t stream_;
  std::vector<Staging> staging_;
  size_t current_ = 0;
  DeviceMemory arena_;
  size_t used_ = 0;                    ///< of the arena, without what is gathered
  std::vector<DeviceMemory> retired_;  ///< arenas that were too small for this step
  std::vector<char> gathered_;
  std::vector<ScatterPart> parts_;
};

}  // namespace vitrine::cuda
