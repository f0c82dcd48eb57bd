// Launchers of the attention kernels, one per family (attention_decode.cu, attention_prefill.cu,
// attention_hopper.cu, attention_general.cu).
#pragma once

#include <cuda_fp8.h>

#include "backend/cuda/attention_args.h"
#include "backend/cuda/launch.h"

namespace vitrine::cuda {

/// Dtypes of queries and output, and of the cache: the same, or VITRINE_FLOAT8_E4M3.
struct AttentionTypes {
  int values = VITRINE_FLOAT32;
  int cached = VITRINE_FLOAT32;
};

/// How a family's kernel for some dtypes and a head_dim fits the current device. Asking also allows it its shared
/// memory.
struct AttentionFit {
  int32_t rows = 0;  ///< of a tile; 0: the family has no kernel for it, or it does not fit
  int32_t blocks_per_multiprocessor = 0;
};
AttentionFit attention_decode_fit(const AttentionTypes& types, int32_t head_dim);
AttentionFit attention_prefill_fit(const AttentionTypes& types, int32_t head_dim);
/// On Hopper, instead of attention_prefill; not for a cache of Float8, whose elements its copies cannot widen.
AttentionFit attention_hopper_fit(const AttentionTypes& types, int32_t head_dim);
AttentionFit attention_general_fit(const AttentionTypes& types, int32_t head_dim);

/// One list of a plan. `blocks`: as many as there are items, or any number if that must not depend on the step.
using AttentionLauncher = void (*)(const AttentionTypes& types, const AttentionArgs& args,
                                   const WorkList<AttentionItem>& work, int32_t blocks, cudaStream_t stream);
void attention_decode(const AttentionTypes& types, const AttentionArgs& args, const WorkList<AttentionItem>& work,
                      int32_t blocks, cudaStream_t stream);
void attention_prefill(const AttentionTypes& types, const AttentionArgs& args, const WorkList<AttentionItem>& work,
                       int32_t blocks, cudaStream_t stream);
void attention_hopper(const AttentionTypes& types, const AttentionArgs& args, const WorkList<AttentionItem>& work,
                      int32_t blocks, cudaStream_t stream);
void attention_general(const AttentionTypes& types, const AttentionArgs& args, const WorkList<AttentionItem>& work,
                       int32_t blocks, cudaStream_t stream);

/// Parts of split tiles to the output.
void attention_merge(int dtype, const AttentionArgs& args, const WorkList<AttentionMerge>& work, int32_t blocks,
                     cudaStream_t stream);

/// Allows `kernel` its dynamic shared memory; 0 rows where the device has less.
template <class Kernel>
AttentionFit attention_fit(Kernel kernel, int32_t rows, int threads, size_t shared_bytes) {
  int device = 0;
  int most = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "cudaDeviceGetAttribute");
  if (shared_bytes > static_cast<size_t>(most)) return {};
  const auto function = reinterpret_cast<const void*>(kernel);
  check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
        "cudaFuncSetAttribute");
  AttentionFit fit{rows, 0};
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&fit.blocks_per_multiprocessor, function, threads, shared_bytes),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  return fit;
}

/// body(value, element of the cache).
template <class Body>
void for_types(const AttentionTypes& types, Body body) {
  for_dtype(types.values, [&](auto value) {
    if (types.cached == VITRINE_FLOAT8_E4M3) return body(value, __nv_fp8_e4m3{});
    require(types.cached == types.values, "attention: a cache of dtype ", types.cached, " beside queries of dtype ",
            types.values, " is not supported");
    body(value, value);
  });
}

/// body(value, element of the cache, std::integral_constant<int, head_dim>) for the shapes that have kernels of their
/// own; false for others.
template <class Body>
bool for_fast_shape(const AttentionTypes& types, int32_t head_dim, Body body) {
  bool found = false;
  for_types(types, [&](auto value, auto cached) {
    if constexpr (sizeof(value) == 2) {
      const auto with_size = [&](auto size) {
        body(value, cached, size);
        found = true;
      };
      switch (head_dim) {
        case 64: return with_size(std::integral_constant<int, 64>{});
        case 96: return with_size(std::integral_constant<int, 96>{});
        case 128: return with_size(std::integral_constant<int, 128>{});
        case 256: return with_size(std::integral_constant<int, 256>{});
        default: return;
      }
    }
  });
  return found;
}

}  // namespace vitrine::cuda
