// Grouped-query attention with optional biases, q/k norm and sliding window.
#include "model/attention_block.h"

namespace vitrine {

void project_qkv(const ForwardContext& context, const LayerWeights& weights, int32_t layer, const Tensor& x,
                 const Tensor& qkv) {
  const ModelSpec& spec = context.spec;
  context.backend.linear(*weights.qkv_proj, weights.qkv_bias.get(), x, qkv);
  context.backend.rope_and_store(qkv, spec.num_heads, context.rope, weights.q_norm.get(), weights.k_norm.get(),
                                 spec.rms_norm_eps, context.batch.positions, context.batch.kv_slots,
                                 context.cache.layer(layer));
}

void attend(const ForwardContext& context, int32_t layer, const Tensor& qkv, const Tensor& heads) {
  const int32_t window = context.spec.layers[static_cast<size_t>(layer)].sliding_window;
  context.backend.attention().run(context.cache.layer(layer), qkv, window, heads);
}

void project_output(const ForwardContext& context, const LayerWeights& weights, const Tensor& heads,
                    const Tensor& out) {
  context.backend.linear(*weights.o_proj, weights.o_bias.get(), heads, out);
}

}  // namespace vitrine
