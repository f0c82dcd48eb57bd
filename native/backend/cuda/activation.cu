// Chooses the kernel for a width, a dtype and a function.
#include "backend/cuda/activation.h"

#include <algorithm>

#include "backend/cuda/gated_activation.cuh"

namespace vitrine::cuda {
namespace {

using namespace gated_activation_kernels;

template <class T, int kActivation>
void launch(const VitrineTensor& gate_up, const VitrineTensor& out, cudaStream_t stream) {
  constexpr int kVec = 16 / sizeof(T);
  const bool vectors = out.cols % kVec == 0 && aligned_16(gate_up.data) && aligned_16(out.data);
  const int64_t per_row = ceil_div<int64_t>(out.cols, vectors ? kVec : 1);
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(per_row, kThreads)),
                  static_cast<unsigned>(std::min(out.rows, kMaxGridYZ)));
  const auto kernel = vectors ? gated_kernel<T, kActivation, kVec> : gated_kernel<T, kActivation, 1>;
  launch_kernel("gated_activation", kernel, grid, kThreads, 0, stream, static_cast<const T*>(gate_up.data), out.rows,
                out.cols, static_cast<T*>(out.data));
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
}

}  // namespace vitrine::cuda
