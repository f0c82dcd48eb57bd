// Grouped-query attention with optional biases, q/k norm and sliding window.
#include "model/attention_block.h"

#include "profiler/op_work.h"

namespace vitrine {
namespace {

TraceShape queries(const ModelSpec& spec, const Tensor& qkv) { return {qkv.rows, spec.q_size()}; }
TraceShape keys(const ModelSpec& spec, const Tensor& qkv) { return {qkv.rows, (spec.qkv_size() - spec.q_size()) / 2}; }

void describe_attention(TraceScope& scope, const ForwardContext& context, const TraceSite& site) {
  using span_layout::AttentionArgs;
  const AttentionBatch& batch = context.batch.attention;
  const auto requests = static_cast<size_t>(batch.num_requests);
  const AttentionLengths lengths{{batch.host_query_start, requests + 1}, {batch.host_seq_lens, requests}};
  const OpWork work = op_work(site, batch.num_tokens, lengths);
  SpanRecord& record = *scope.record();
  record.args[AttentionArgs::kDims1] = static_cast<uint32_t>(batch.num_tokens);
  record.args[AttentionArgs::kKvTokens] = static_cast<uint32_t>(visible_tokens(lengths, site.sliding_window));
  record.set_wide(AttentionArgs::kBytes, work.bytes);
  scope.add_flops(work.flops);
}

}  // namespace

void project_qkv(const ForwardContext& context, const LayerSites& sites, const LayerWeights& weights, int32_t layer,
                 const Tensor& x, const Tensor& qkv) {
  const ModelSpec& spec = context.spec;
  {
    const TraceScope scope(context.tracer, sites.qkv_proj, x);
    context.backend.linear(*weights.qkv_proj, weights.qkv_bias.get(), x, qkv);
  }
  const TraceScope scope(context.tracer, sites.rotary_emb, TraceShape{qkv.rows}, queries(spec, qkv), keys(spec, qkv));
  context.backend.rope_and_store(qkv, spec.num_heads, context.rope, weights.q_norm.get(), weights.k_norm.get(),
                                 spec.rms_norm_eps, context.batch.positions, context.batch.kv_slots,
                                 context.cache.layer(layer));
}

void attend(const ForwardContext& context, const LayerSites& sites, int32_t layer, const Tensor& qkv,
            const Tensor& heads) {
  const ModelSpec& spec = context.spec;
  const int32_t window = spec.layers[static_cast<size_t>(layer)].sliding_window;
  TraceScope scope(context.tracer, sites.attn, queries(spec, qkv), keys(spec, qkv), keys(spec, qkv));
  if (scope.record() != nullptr) describe_attention(scope, context, sites.attn);
  context.backend.attention().run(context.cache.layer(layer), qkv, window, heads);
}

void project_output(const ForwardContext& context, const LayerSites& sites, const LayerWeights& weights,
                    const Tensor& heads, const Tensor& out) {
  const TraceScope scope(context.tracer, sites.o_proj, heads);
  context.backend.linear(*weights.o_proj, weights.o_bias.get(), heads, out);
}

}  // namespace vitrine
