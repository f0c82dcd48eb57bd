// One block a row: a pass for the sum of squares, a pass that scales what the first one left in the cache.
#pragma once

#include "backend/cuda/numbers.cuh"

namespace vitrine::cuda::norm_kernels {

template <class T, int kVec, bool kAdd>
__global__ void __launch_bounds__(1024)
    rms_norm_kernel(T* x, const T* delta, const float* gain, float eps, int64_t cols, T* out) {
  wait_for_earlier_kernels();
  __shared__ float shared[32];
  const int64_t first = blockIdx.x * cols;
  float squares = 0;
  for (int64_t i = threadIdx.x * kVec; i < cols; i += blockDim.x * kVec) {
    if constexpr (kVec == 1) {
      float value = to_float(x[first + i]);
      if constexpr (kAdd) {
        const T sum = from_float<T>(value + to_float(delta[first + i]));
        x[first + i] = sum;
        value = to_float(sum);
      }
      squares += value * value;
    } else {
      Vec16<T> values = load16(x + first + i);
      if constexpr (kAdd) {
        const Vec16<T> added = load16(delta + first + i);
#pragma unroll
        for (int j = 0; j < kVec; ++j) values.at[j] = from_float<T>(to_float(values.at[j]) + to_float(added.at[j]));
        store16(x + first + i, values);
      }
#pragma unroll
      for (int j = 0; j < kVec; ++j) squares += to_float(values.at[j]) * to_float(values.at[j]);
    }
  }
  const float scale = rsqrtf(block_sum(squares, shared) / static_cast<float>(cols) + eps);
  // Each thread reads again the elements that it has read or written itself.
  for (int64_t i = threadIdx.x * kVec; i < cols; i += blockDim.x * kVec) {
    if constexpr (kVec == 1) {
      out[first + i] = from_float<T>(to_float(x[first + i]) * scale * gain[i]);
    } else {
      Vec16<T> values = load16(x + first + i);
#pragma unroll
      for (int j = 0; j < kVec; ++j) values.at[j] = from_float<T>(to_float(values.at[j]) * scale * gain[i + j]);
      store16(out + first + i, values);
    }
  }
}

}  // namespace vitrine::cuda::norm_kernels
