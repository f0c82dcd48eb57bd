// Single measurements of what all threads together read from memory and multiply.
#pragma once

#include <atomic>

#include "backend/cpu/aligned_buffer.h"
#include "backend/cpu/kernels.h"
#include "core/thread_pool.h"

namespace vitrine {

class LimitProbe {
 public:
  /// Allocates the read buffer (512 MiB, less where memory is short). Uses the best kernels of this processor.
  explicit LimitProbe(ThreadPool& pool);

  /// One pass over the buffer: bytes per second.
  double read_rate();
  /// About a millisecond of fused multiply-adds: operations per second.
  double float32_rate();
  /// The same with bfloat16 pairs; 0 where the processor has none.
  double bfloat16_rate();

 private:
  double flops_rate(float (*kernel)(int64_t), double flops_per_round);

  ThreadPool& pool_;
  const CpuKernels& kernels_;
  AlignedBuffer buffer_;
  int64_t parts_;
  size_t part_bytes_;
  std::atomic<float> sink_{0};  ///< results must be used
};

}  // namespace vitrine
