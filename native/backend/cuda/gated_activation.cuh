// One thread for 16 bytes of output where the width allows, for one element where it does not.
#pragma once

#include "backend/cuda/activation.cuh"
#include "backend/cuda/numbers.cuh"

namespace vitrine::cuda::gated_activation_kernels {

constexpr int kThreads = 256;

template <class T, int kActivation, int kVec>
__global__ void __launch_bounds__(kThreads) gated_kernel(const T* gate_up, int64_t rows, int64_t cols, T* out) {
  wait_for_earlier_kernels();
  const int64_t i = (blockIdx.x * int64_t{kThreads} + threadIdx.x) * kVec;
  if (i >= cols) return;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const T* gate = gate_up + row * 2 * cols + i;
    const T* up = gate + cols;
    T* to = out + row * cols + i;
    if constexpr (kVec == 1) {
      *to = from_float<T>(activate<kActivation>(to_float(*gate)) * to_float(*up));
    } else {
      Vec16<T> gates = load16(gate);
      const Vec16<T> ups = load16(up);
#pragma unroll
      for (int j = 0; j < kVec; ++j) {
        gates.at[j] = from_float<T>(activate<kActivation>(to_float(gates.at[j])) * to_float(ups.at[j]));
      }
      store16(to, gates);
    }
  }
}

}  // namespace vitrine::cuda::gated_activation_kernels
