#include "backend/cuda/attention_prefill.cuh"

#include "backend/cuda/attention.h"

namespace vitrine::cuda {

AttentionFit attention_prefill_fit(int dtype, int32_t head_dim) {
  AttentionFit fit;
  for_fast_shape(dtype, head_dim, [&](auto element, auto size) {
    using Shape = PrefillShape<size()>;
    fit = attention_fit(attention_prefill_kernel<decltype(element), size()>, Shape::kRows, Shape::kWarps * 32,
                        Shape::kSharedBytes);
  });
  return fit;
}

void attention_prefill(int dtype, const AttentionArgs& args, const WorkList<AttentionItem>& work, int32_t blocks,
                       cudaStream_t stream) {
  if (blocks == 0) return;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(args.kv_heads));
  const bool launched = for_fast_shape(dtype, args.head_dim, [&](auto element, auto size) {
    using Shape = PrefillShape<size()>;
    attention_prefill_kernel<decltype(element), size()>
        <<<grid, Shape::kWarps * 32, Shape::kSharedBytes, stream>>>(args, work);
  });
  require(launched, "attention_prefill: no kernel for head_dim ", args.head_dim, " of dtype ", dtype);
  check_launch("attention_prefill");
}

}  // namespace vitrine::cuda
