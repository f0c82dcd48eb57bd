// Chooses the kernel for a width and a dtype.
#include "backend/cuda/norm.cuh"

#include <algorithm>

#include "backend/cuda/norm.h"

namespace vitrine::cuda {
namespace {

using namespace norm_kernels;

template <class T, bool kAdd>
void launch(const char* what, const VitrineTensor& x, const void* delta, const float* gain, float eps,
            const VitrineTensor& out, cudaStream_t stream) {
  constexpr int kVec = 16 / sizeof(T);
  const bool vectors = x.cols % kVec == 0 && aligned_16(x.data) && aligned_16(out.data) && aligned_16(delta);
  const int64_t per_row = ceil_div<int64_t>(x.cols, vectors ? kVec : 1);
  const auto threads = static_cast<unsigned>(std::clamp<int64_t>(ceil_div<int64_t>(per_row, 32) * 32, 32, 1024));
  const auto kernel = vectors ? rms_norm_kernel<T, kVec, kAdd> : rms_norm_kernel<T, 1, kAdd>;
  launch_kernel(what, kernel, static_cast<unsigned>(x.rows), threads, 0, stream, static_cast<T*>(x.data),
                static_cast<const T*>(delta), gain, eps, x.cols, static_cast<T*>(out.data));
}

}  // namespace

void rms_norm(const VitrineTensor& x, const float* gain, float eps, const VitrineTensor& out, cudaStream_t stream) {
  if (x.rows == 0) return;
  for_dtype(x.dtype, [&](auto type) { launch<decltype(type), false>("rms_norm", x, nullptr, gain, eps, out, stream); });
}

void add_rms_norm(const VitrineTensor& residual, const VitrineTensor& delta, const float* gain, float eps,
                  const VitrineTensor& out, cudaStream_t stream) {
  if (residual.rows == 0) return;
  for_dtype(residual.dtype, [&](auto type) {
    launch<decltype(type), true>("add_rms_norm", residual, delta.data, gain, eps, out, stream);
  });
}

}  // namespace vitrine::cuda
