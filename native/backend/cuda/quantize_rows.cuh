// One block a row: a pass for the largest magnitude, a pass that divides what the first one left in the cache.
#pragma once

#include <cmath>
#include <type_traits>

#include "backend/cuda/float8.cuh"
#include "core/float8_rows.h"

namespace vitrine::cuda::quantize_rows_kernels {

/// The largest of the block, the same in all threads. `shared`: 32 floats. blockDim.x is a multiple of 32; all call.
__device__ inline float block_max(float value, float* shared) {
  value = warp_max(value);
  const int warps = blockDim.x / 32;
  if (warps == 1) return value;
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x % 32);
  return warp_max(shared[lane < warps ? lane : 0]);
}

/// kVec: elements of a load, 16 bytes of them or one. `stride`: bytes from one row of codes to the next.
template <class T, int kVec>
__global__ void __launch_bounds__(1024)
    quantize_rows_kernel(const T* rows, int64_t cols, int64_t stride, Float8* codes, float* scales) {
  wait_for_earlier_kernels();
  __shared__ float shared[32];
  const T* const row = rows + blockIdx.x * cols;
  Float8* const to = codes + blockIdx.x * stride;
  const int64_t first = threadIdx.x * int64_t{kVec};
  const int64_t step = blockDim.x * int64_t{kVec};
  float largest = kFloat8LeastMagnitude;
  bool finite = true;
  const auto look_at = [&](T element) {
    const float value = to_float(element);
    finite = finite && isfinite(value);
    largest = fmaxf(largest, fabsf(value));
  };
  for (int64_t i = first; i < cols; i += step) {
    if constexpr (kVec == 1) {
      look_at(row[i]);
    } else {
      const Vec16<T> values = load16(row + i);
#pragma unroll
      for (int j = 0; j < kVec; ++j) look_at(values.at[j]);
    }
  }
  const float scale = block_max(largest, shared) / kFloat8Largest;
  const bool all_finite = __syncthreads_and(finite) != 0;
  for (int64_t i = first; i < cols; i += step) {
    if constexpr (kVec == 1) {
      to[i] = from_float<Float8>(to_float(row[i]) / scale);
    } else {
      const Vec16<T> values = load16(row + i);
      using Word = std::conditional_t<kVec == 8, uint2, uint32_t>;
      alignas(Word) Float8 packed[kVec];
#pragma unroll
      for (int j = 0; j < kVec; ++j) packed[j] = from_float<Float8>(to_float(values.at[j]) / scale);
      static_assert(sizeof(Word) == sizeof packed);
      *reinterpret_cast<Word*>(to + i) = *reinterpret_cast<const Word*>(packed);
    }
  }
  for (int64_t i = cols + threadIdx.x; i < stride; i += blockDim.x) to[i] = from_float<Float8>(0.0f);
  if (threadIdx.x == 0) scales[blockIdx.x] = all_finite ? scale : NAN;
}

}  // namespace vitrine::cuda::quantize_rows_kernels
