#include "backend/cuda/attention_general.cuh"

#include "backend/cuda/attention.h"

namespace vitrine::cuda {
namespace {

constexpr int kThreads = kGeneralWarps * 32;

template <class T, class C>
auto* general_kernel(int32_t head_dim) {
  if (head_dim <= 64) return attention_general_kernel<T, C, 2>;
  if (head_dim <= 128) return attention_general_kernel<T, C, 4>;
  if (head_dim <= 256) return attention_general_kernel<T, C, 8>;
  return attention_general_kernel<T, C, kGeneralLargestHeadDim / 32>;
}

}  // namespace

AttentionFit attention_general_fit(const AttentionTypes& types, int32_t head_dim) {
  AttentionFit fit;
  if (head_dim > kGeneralLargestHeadDim) return fit;
  for_types(types, [&](auto value, auto cached) {
    fit = attention_fit(general_kernel<decltype(value), decltype(cached)>(head_dim), kGeneralRows, kThreads,
                        general_shared_bytes(head_dim));
  });
  return fit;
}

void attention_general(const AttentionTypes& types, const AttentionArgs& args, const WorkList<AttentionItem>& work,
                       int32_t blocks, cudaStream_t stream) {
  if (blocks == 0) return;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(args.kv_heads));
  for_types(types, [&](auto value, auto cached) {
    launch_kernel("attention_general", general_kernel<decltype(value), decltype(cached)>(args.head_dim), grid, kThreads,
                  general_shared_bytes(args.head_dim), stream, args, work);
  });
}

void attention_merge(int dtype, const AttentionArgs& args, const WorkList<AttentionMerge>& work, int32_t blocks,
                     cudaStream_t stream) {
  if (blocks == 0) return;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(args.kv_heads));
  for_dtype(dtype, [&](auto element) {
    launch_kernel("attention_merge", attention_merge_kernel<decltype(element)>, grid, kThreads, 0, stream, args, work);
  });
}

}  // namespace vitrine::cuda
