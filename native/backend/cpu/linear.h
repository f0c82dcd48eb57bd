// out = x * w^T + bias: packs x, cuts the product into tasks for the threads and runs the GEMM kernels.
#pragma once

#include <vector>

#include "backend/cpu/aligned_buffer.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/packed_matrix.h"
#include "core/thread_pool.h"

namespace vitrine {

class Linear {
 public:
  Linear(const CpuKernels& kernels, ThreadPool& pool)
      : kernels_(kernels), pool_(pool), partials_(static_cast<size_t>(pool.size())) {}

  /// x [rows, cols(w)], out [rows, rows(w)], both contiguous; `bias` may be null.
  void run(const PackedMatrix& weight, const float* bias, const float* x, int64_t rows, float* out);

 private:
  const GemmKernels& kernels_for(const PackedMatrix& weight) const {
    return weight.dtype() == DType::kBFloat16 ? kernels_.bfloat16_gemm : kernels_.gemm;
  }
  void run_quantized(const PackedMatrix& weight, const float* bias, const float* x, int64_t rows, float* out);
  void run_rows(const PackedMatrix& weight, const float* bias, const float* x, int64_t rows, float* out);
  PackedRows pack(const float* x, int64_t rows, int64_t k, const GemmKernels& kernels);

  const CpuKernels& kernels_;
  ThreadPool& pool_;
  AlignedBuffer packed_;
  AlignedBuffer quantized_;  ///< codes of x as floats, [rows of a chunk, k]
  std::vector<float> row_scales_;
  std::vector<AlignedBuffer> partials_;  ///< of each thread
};

}  // namespace vitrine
