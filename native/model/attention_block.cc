// Grouped-query attention with optional biases, q/k norm and sliding window.
#include "model/attention_block.h"

#include <algorithm>

namespace vitrine {
namespace {

TraceShape queries(const ModelSpec& spec, const Tensor& qkv) { return {qkv.rows, spec.q_size()}; }
TraceShape keys(const ModelSpec& spec, const Tensor& qkv) { return {qkv.rows, (spec.qkv_size() - spec.q_size()) / 2}; }

/// Positions that the queries of the batch see, each request's once.
int64_t visible_tokens(const AttentionBatch& batch, int32_t window) {
  int64_t total = 0;
  for (int32_t r = 0; r < batch.num_requests; ++r) {
    const int32_t queries = batch.host_query_start[r + 1] - batch.host_query_start[r];
    const int64_t length = batch.host_seq_lens[r];
    total += window == 0 ? length : std::min(length, int64_t{window} + queries - 1);
  }
  return total;
}

void describe_attention(SpanRecord& record, const ForwardContext& context, const TraceSite& site, int32_t window) {
  using span_layout::AttentionArgs;
  const KvLayer& kv = context.cache.layer(0);
  const int64_t tokens = visible_tokens(context.batch.attention, window);
  const int64_t bytes_per_token =
      int64_t{2} * kv.num_kv_heads * kv.head_dim * static_cast<int64_t>(dtype_size(kv.dtype));
  record.args[AttentionArgs::kDims1] = static_cast<uint32_t>(context.batch.num_tokens);
  record.args[AttentionArgs::kKvTokens] = static_cast<uint32_t>(tokens);
  record.set_wide(AttentionArgs::kBytes, context.batch.num_tokens * site.bytes_per_row + tokens * bytes_per_token);
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
  const TraceScope scope(context.tracer, sites.attn, queries(spec, qkv), keys(spec, qkv), keys(spec, qkv));
  if (scope.record() != nullptr) describe_attention(*scope.record(), context, sites.attn, window);
  context.backend.attention().run(context.cache.layer(layer), qkv, window, heads);
}

void project_output(const ForwardContext& context, const LayerSites& sites, const LayerWeights& weights,
                    const Tensor& heads, const Tensor& out) {
  const TraceScope scope(context.tracer, sites.o_proj, heads);
  context.backend.linear(*weights.o_proj, weights.o_bias.get(), heads, out);
}

}  // namespace vitrine
