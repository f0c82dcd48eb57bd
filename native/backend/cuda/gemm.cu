// Chooses tile and kernel.
#include "backend/cuda/gemm.cuh"

#include <algorithm>

#include "backend/cuda/gemm.h"

namespace vitrine::cuda {
namespace {

using namespace gemm_kernels;

template <class T, int kTileM>
void launch_16(const Gemm& job, cudaStream_t stream) {
  constexpr size_t kShared = size_t{kTileM + kTileN} * kTileK * sizeof(T) * kStages;
  static_assert(kShared <= 48 * 1024, "more needs cudaFuncSetAttribute");
  const bool aligned = job.k % 8 == 0 && aligned_16(job.x) && aligned_16(job.weight);
  const auto kernel = aligned ? gemm_kernel<T, kTileM, true> : gemm_kernel<T, kTileM, false>;
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(job.n, kTileN)),
                  static_cast<unsigned>(ceil_div<int64_t>(job.m, kTileM)));
  kernel<<<grid, kThreads, kShared, stream>>>(static_cast<const T*>(job.x), static_cast<const T*>(job.weight), job.bias,
                                              job.m, job.n, job.k, static_cast<T*>(job.out));
}

template <class T>
void launch_16(const Gemm& job, cudaStream_t stream) {
  job.m <= 64 ? launch_16<T, 64>(job, stream) : launch_16<T, 128>(job, stream);
}

void launch_32(const Gemm& job, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(job.n, kTile32)),
                  static_cast<unsigned>(ceil_div<int64_t>(job.m, kTile32)));
  gemm_kernel_f32<<<grid, kThreads, 0, stream>>>(static_cast<const float*>(job.x),
                                                 static_cast<const float*>(job.weight), job.bias, job.m, job.n, job.k,
                                                 static_cast<float*>(job.out));
}

}  // namespace

void gemm(const Gemm& job, cudaStream_t stream) {
  if (job.m == 0 || job.n == 0) return;
  // As many tokens as the grid's y dimension has blocks of the smallest tile; more come in turns.
  constexpr int64_t kMostTokens = kMaxGridYZ * kTile32;
  for (int64_t first = 0; first < job.m; first += kMostTokens) {
    Gemm part = job;
    const auto bytes = static_cast<int64_t>(dtype_bytes(job.dtype));
    part.x = static_cast<const char*>(job.x) + first * job.k * bytes;
    part.out = static_cast<char*>(job.out) + first * job.n * bytes;
    part.m = std::min(job.m - first, kMostTokens);
    switch (job.dtype) {
      case VITRINE_FLOAT32: launch_32(part, stream); break;
      case VITRINE_FLOAT16: launch_16<__half>(part, stream); break;
      default: launch_16<__nv_bfloat16>(part, stream); break;
    }
    check_launch("linear");
  }
}

}  // namespace vitrine::cuda
