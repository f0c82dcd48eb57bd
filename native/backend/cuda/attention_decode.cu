#include "backend/cuda/attention_decode.cuh"

#include "backend/cuda/attention.h"

namespace vitrine::cuda {

AttentionFit attention_decode_fit(const AttentionTypes& types, int32_t head_dim) {
  AttentionFit fit;
  for_fast_shape(types, head_dim, [&](auto value, auto cached, auto size) {
    using Shape = DecodeShape<size(), sizeof(cached)>;
    fit = attention_fit(attention_decode_kernel<decltype(value), decltype(cached), size()>, Shape::kRows,
                        Shape::kWarps * 32, Shape::kSharedBytes);
  });
  return fit;
}

void attention_decode(const AttentionTypes& types, const AttentionArgs& args, const WorkList<AttentionItem>& work,
                      int32_t blocks, cudaStream_t stream) {
  if (blocks == 0) return;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(args.kv_heads));
  const bool launched = for_fast_shape(types, args.head_dim, [&](auto value, auto cached, auto size) {
    using Shape = DecodeShape<size(), sizeof(cached)>;
    launch_kernel("attention_decode", attention_decode_kernel<decltype(value), decltype(cached), size()>, grid,
                  Shape::kWarps * 32, Shape::kSharedBytes, stream, args, work);
  });
  require(launched, "attention_decode: no kernel for head_dim ", args.head_dim, " of dtype ", types.values);
}

}  // namespace vitrine::cuda
