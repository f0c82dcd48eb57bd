// Our own matrix products: out [m, n] = x [m, k] * w [n, k]^T (+ bias [n], may be null), sums in float32.
#pragma once

#include "backend/cuda/launch.h"

namespace vitrine::cuda {

/// Row-major operands. Of one dtype, or x and weight float8 with their scales: then k is a multiple of 16 and their
/// addresses are too.
struct Gemm {
  const void* x = nullptr;
  const void* weight = nullptr;
  const float* bias = nullptr;
  void* out = nullptr;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  int dtype = VITRINE_FLOAT32;  ///< of x and weight
  int out_dtype = VITRINE_FLOAT32;
  const float* token_scales = nullptr;  ///< [m], of float8
  const float* row_scales = nullptr;    ///< [n], of float8
};

/// Any shape: tensor cores for 16-bit types and float8, plain products for float32.
void gemm(const Gemm& job, cudaStream_t stream);

/// For few tokens: reads the weight once, as fast as memory gives it. Expects supports_streaming().
void streaming_gemm(const Gemm& job, cudaStream_t stream);

/// Few enough tokens, and rows that can be read in units of 16 bytes.
bool supports_streaming(const Gemm& job);

}  // namespace vitrine::cuda
