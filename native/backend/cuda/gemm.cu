// Chooses tile and kernel.
#include "backend/cuda/gemm.cuh"

#include <algorithm>

#include "backend/cuda/gemm.h"

namespace vitrine::cuda {
namespace {

using namespace gemm_kernels;

dim3 grid_of(const Gemm& job, int tile_n, int tile_m) {
  return {static_cast<unsigned>(ceil_div<int64_t>(job.n, tile_n)),
          static_cast<unsigned>(ceil_div<int64_t>(job.m, tile_m))};
}

template <class T, int kTileM, bool kAligned, class Store>
void launch_tile(const Gemm& job, int64_t k, Store store, cudaStream_t stream) {
  constexpr size_t kShared = size_t{kTileM + kTileN} * kTileK * sizeof(T) * kStages;
  static_assert(kShared <= 48 * 1024, "more needs cudaFuncSetAttribute");
  launch_kernel("linear", gemm_kernel<T, kTileM, kAligned, Store>, grid_of(job, kTileN, kTileM), kThreads, kShared,
                stream, static_cast<const T*>(job.x), static_cast<const T*>(job.weight), job.m, job.n, k, store);
}

template <class T, bool kAligned, class Store>
void launch_tiles(const Gemm& job, int64_t k, Store store, cudaStream_t stream) {
  job.m <= 64 ? launch_tile<T, 64, kAligned>(job, k, store, stream)
              : launch_tile<T, 128, kAligned>(job, k, store, stream);
}

template <class T>
void launch_16(const Gemm& job, cudaStream_t stream) {
  const PlainStore<T> store{static_cast<T*>(job.out), job.bias};
  job.k % 8 == 0 && aligned_16(job.x) && aligned_16(job.weight) ? launch_tiles<T, true>(job, job.k, store, stream)
                                                                : launch_tiles<T, false>(job, job.k, store, stream);
}

void launch_8(const Gemm& job, cudaStream_t stream) {
  for_dtype(job.out_dtype, [&](auto type) {
    using Out = decltype(type);
    const ScaledStore<Out> store{{static_cast<Out*>(job.out), job.bias}, job.token_scales, job.row_scales};
    launch_tiles<Float8Pair, true>(job, job.k / 2, store, stream);
  });
}

void launch_32(const Gemm& job, cudaStream_t stream) {
  launch_kernel("linear", gemm_kernel_f32, grid_of(job, kTile32, kTile32), kThreads, 0, stream,
                static_cast<const float*>(job.x), static_cast<const float*>(job.weight), job.m, job.n, job.k,
                PlainStore<float>{static_cast<float*>(job.out), job.bias});
}

}  // namespace

void gemm(const Gemm& job, cudaStream_t stream) {
  if (job.m == 0 || job.n == 0) return;
  // As many tokens as the grid's y dimension has blocks of the smallest tile; more come in turns.
  constexpr int64_t kMostTokens = kMaxGridYZ * kTile32;
  for (int64_t first = 0; first < job.m; first += kMostTokens) {
    Gemm part = job;
    part.x = static_cast<const char*>(job.x) + first * job.k * static_cast<int64_t>(dtype_bytes(job.dtype));
    part.out = static_cast<char*>(job.out) + first * job.n * static_cast<int64_t>(dtype_bytes(job.out_dtype));
    part.m = std::min(job.m - first, kMostTokens);
    switch (job.dtype) {
      case VITRINE_FLOAT32: launch_32(part, stream); break;
      case VITRINE_FLOAT16: launch_16<__half>(part, stream); break;
      case VITRINE_BFLOAT16: launch_16<__nv_bfloat16>(part, stream); break;
      default:
        part.token_scales = job.token_scales + first;
        launch_8(part, stream);
        break;
    }
  }
}

}  // namespace vitrine::cuda
