// Launchers of the attention kernels, one per family (attention_decode.cu, attention_prefill.cu,
// attention_hopper.cu, attention_general.cu).
#pragma once

#include "backend/cuda/attention_args.h"
#include "backend/cuda/launch.h"

namespace vitrine::cuda {

/// How a family's kernel for a dtype and head_dim fits the current device. Asking also allows it its shared memory.
struct AttentionFit {
  int32_t rows = 0;  ///< of a tile; 0: the family has no kernel for it, or it does not fit
  int32_t blocks_per_multiprocessor = 0;
};
AttentionFit attention_decode_fit(int dtype, int32_t head_dim);
AttentionFit attention_prefill_fit(int dtype, int32_t head_dim);
AttentionFit attention_hopper_fit(int dtype, int32_t head_dim);  ///< on Hopper, instead of attention_prefill
AttentionFit attention_general_fit(int dtype, int32_t head_dim);

/// One list of a plan. `blocks`: as many as there are items, or any number if that must not depend on the step.
using AttentionLauncher = void (*)(int dtype, const AttentionArgs& args, const WorkList<AttentionItem>& work,
                                   int32_t blocks, cudaStream_t stream);
void attention_decode(int dtype, const AttentionArgs& args, const WorkList<AttentionItem>& work, int32_t blocks,
                      cudaStream_t stream);
void attention_prefill(int dtype, const AttentionArgs& args, const WorkList<AttentionItem>& work, int32_t blocks,
                       cudaStream_t stream);
void attention_hopper(int dtype, const AttentionArgs& args, const WorkList<AttentionItem>& work, int32_t blocks,
                      cudaStream_t stream);
void attention_general(int dtype, const AttentionArgs& args, const WorkList<AttentionItem>& work, int32_t blocks,
                       cudaStream_t stream);

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

/// body(element, std::integral_constant<int, head_dim>) for the shapes that have kernels of their own; false for
/// others.
template <class Body>
bool for_fast_shape(int dtype, int32_t head_dim, Body body) {
  const auto with_type = [&](auto element) {
    switch (head_dim) {
      case 64: body(element, std::integral_constant<int, 64>{}); return true;
      case 96: body(element, std::integral_constant<int, 96>{}); return true;
      case 128: body(element, std::integral_constant<int, 128>{}); return true;
      case 256: body(element, std::integral_constant<int, 256>{}); return true;
      default: return false;
    }
  };
  if (dtype == VITRINE_FLOAT16) return with_type(__half{});
  if (dtype == VITRINE_BFLOAT16) return with_type(__nv_bfloat16{});
  return false;
}

}  // namespace vitrine::cuda
