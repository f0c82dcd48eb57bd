// Launches for every pair of dtypes.
#include "backend/cuda/rope.cuh"

#include "backend/cuda/rope.h"

namespace vitrine::cuda {
namespace {

using namespace rope_kernels;

}  // namespace

void rope_and_store(const VitrineTensor& qkv, int32_t num_heads, const VitrineRope& rope, const float* q_norm,
                    const float* k_norm, float eps, const int32_t* positions, const int32_t* kv_slots,
                    const VitrineKvLayer& cache, cudaStream_t stream) {
  if (qkv.rows == 0) return;
  const int64_t warps = qkv.rows * (num_heads + 2 * int64_t{cache.num_kv_heads});
  const int64_t blocks = ceil_div<int64_t>(warps, kWarps);
  require(blocks <= kMaxGridX, "rope_and_store: ", qkv.rows, " tokens are too many for one launch");
  const Job job{qkv.rows,         num_heads, cache.num_kv_heads, cache.head_dim,   rope.rotary_dim,
                cache.block_size, eps,       rope.cos_sin,       q_norm,           k_norm,
                positions,        kv_slots,  1 / cache.k_scale,  1 / cache.v_scale};
  for_dtype(qkv.dtype, [&](auto type) {
    const auto launch = [&](auto stored) {
      using C = decltype(stored);
      using T = decltype(type);
      launch_kernel("rope_and_store", rope_kernel<T, C>, static_cast<unsigned>(blocks), kWarps * 32, 0, stream, job,
                    static_cast<T*>(qkv.data), static_cast<C*>(cache.k), static_cast<C*>(cache.v));
    };
    if (cache.dtype == VITRINE_FLOAT8_E4M3) {
      launch(Float8{});
    } else {
      for_dtype(cache.dtype, launch);
    }
  });
}

}  // namespace vitrine::cuda
