#include "backend/cuda/attention_hopper.cuh"

#include "backend/cuda/attention.h"

namespace vitrine::cuda {
namespace {

/// Whether the kernel that the current device would run is more than the trap that other architectures than sm_90a get:
/// a body of a trap needs next to no registers. The library may have been built for others, and a driver may have
/// compiled it from PTX.
bool has_body(const void* kernel) {
  constexpr int kRegistersOfATrap = 32;
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
  return attributes.numRegs > kRegistersOfATrap;
}

template <class Body>
bool for_hopper_shape(const AttentionTypes& types, int32_t head_dim, Body body) {
  bool found = false;
  for_fast_shape(types, head_dim, [&](auto element, auto cached, auto size) {
    if constexpr (std::is_same_v<decltype(element), decltype(cached)> && size() <= 128) {  // more: too few registers
      body(element, size);
      found = true;
    }
  });
  return found;
}

}  // namespace

AttentionFit attention_hopper_fit(const AttentionTypes& types, int32_t head_dim) {
  AttentionFit fit;
  for_hopper_shape(types, head_dim, [&](auto element, auto size) {
    using Shape = HopperShape<size()>;
    const auto kernel = attention_hopper_kernel<decltype(element), size()>;
    if (!has_body(reinterpret_cast<const void*>(kernel))) return;
    fit = attention_fit(kernel, Shape::kRows, Shape::kThreads, kHopperSharedBytes<size()>);
  });
  return fit;
}

void attention_hopper(const AttentionTypes& types, const AttentionArgs& args, const WorkList<AttentionItem>& work,
                      int32_t blocks, cudaStream_t stream) {
  if (blocks == 0) return;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(args.kv_heads));
  const bool launched = for_hopper_shape(types, args.head_dim, [&](auto element, auto size) {
    launch_kernel("attention_hopper", attention_hopper_kernel<decltype(element), size()>, grid,
                  HopperShape<size()>::kThreads, kHopperSharedBytes<size()>, stream, args, work);
  });
  require(launched, "attention_hopper: no kernel for head_dim ", args.head_dim, " of dtype ", types.values);
}

}  // namespace vitrine::cuda
