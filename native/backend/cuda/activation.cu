// One thread for 16 bytes of output where the width allows, for one element where it does not.
#include "backend/cuda/activation.cuh"

#include <algorithm>

#include "backend/cuda/activation.h"
#include "backend/cuda/numbers.cuh"

namespace vitrine::cuda {
namespace {

constexpr int kThreads = 256;

template <class T, int kActivation, int kVec>
__global__ void __launch_bounds__(kThreads) gated_kernel(const T* gate_up, int64_t rows, int64_t cols, T* out) {
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

template <class T, int kActivation>
void launch(const VitrineTensor& gate_up, const VitrineTensor& out, cudaStream_t stream) {
  constexpr int kVec = 16 / sizeof(T);
  const bool vectors = out.cols % kVec == 0 && aligned_16(gate_up.data) && aligned_16(out.data);
  const int64_t per_row = ceil_div<int64_t>(out.cols, vectors ? kVec : 1);
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(per_row, kThreads)),
                  static_cast<unsigned>(std::min(out.rows, kMaxGridYZ)));
  const auto kernel = vectors ? gated_kernel<T, kActivation, kVec> : gated_kernel<T, kActivation, 1>;
  kernel<<<grid, kThreads, 0, stream>>>(static_cast<const T*>(gate_up.data), out.rows, out.cols,
                                        static_cast<T*>(out.data));
}

}  // namespace

void gated_activation(const VitrineTensor& gate_up, int activation, const VitrineTensor& out, cudaStream_t stream) {
  if (out.rows == 0 || out.cols == 0) return;
  for_dtype(out.dtype, [&](auto type) {
    using T = decltype(type);
    switch (activation) {
      case VITRINE_SILU: return launch<T, VITRINE_SILU>(gate_up, out, stream);
      case VITRINE_GELU: return launch<T, VITRINE_GELU>(gate_up, out, stream);
      case VITRINE_GELU_TANH: return launch<T, VITRINE_GELU_TANH>(gate_up, out, stream);
      default: fail(VITRINE_CUDA_ERROR, "unknown activation ", activation);
    }
  });
  check_launch("gated_activation");
}

}  // namespace vitrine::cuda
