// The pre-norm decoder: x += attention(norm(x)); x += mlp(norm(x)); each sum is fused with the norm that follows it.
#include "model/decoder_model.h"

#include <algorithm>
#include <utility>

#include "model/attention_block.h"
#include "model/mlp_block.h"
#include "model/moe_block.h"

namespace vitrine {

DecoderModel::DecoderModel(const ModelSpec& spec, const Weights& weights, const PagedKvCache& cache, Backend& backend,
                           ThreadPool& pool, Tracer& tracer, const DecoderLimits& limits)
    : spec_(spec),
      weights_(weights),
      cache_(cache),
      backend_(backend),
      tracer_(tracer),
      sites_(decoder_sites(spec, backend.activation_dtype(), tracer)),
      rope_(spec.rope, limits.max_positions, backend, pool),
      workspace_(backend, spec, limits.max_tokens) {
  for (const LayerWeights& layer : weights.layers) {
    auto& views = experts_.emplace_back();
    for (const ExpertParameters& expert : layer.experts) {
      views.push_back({expert.gate_up_proj.get(), expert.down_proj.get()});
    }
  }
  backend_.reserve(step_limits(limits));
}

StepLimits DecoderModel::step_limits(const DecoderLimits& decoder) const {
  const KvLayer& cache = cache_.layer(0);
  // Of a request; they may be shared.
  const int64_t blocks = (decoder.max_positions + cache.block_size - 1) / cache.block_size;
  const int64_t lists = 2 * int64_t{decoder.max_bias_ids} + decoder.max_row_logprobs;  // biases, and watched tokens
  StepLimits limits;
  limits.max_requests = decoder.max_requests;
  limits.max_tokens = decoder.max_tokens;
  // Token histories hold what was generated, and so no more than the cache or all contexts.
  const int64_t history =
      std::min(cache.num_blocks * cache.block_size, int64_t{decoder.max_requests} * decoder.max_positions);
  limits.max_input_words = 6 * int64_t{decoder.max_tokens} + (32 + blocks + lists) * decoder.max_requests + history;
  // Of a row a status and the target's log-probability, of a request a status and its token.
  limits.max_result_words =
      (2 + int64_t{decoder.max_row_logprobs}) * decoder.max_tokens + 2 * int64_t{decoder.max_requests};
  limits.vocab_size = spec_.vocab_size;
  limits.attention = attention_shape();
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    const LayerSpec& layer = spec_.layers[i];
    if (std::ranges::find(limits.windows, layer.sliding_window) == limits.windows.end()) {
      limits.windows.push_back(layer.sliding_window);
    }
    if (layer.moe) limits.moe_layers.push_back({experts_[i], layer.moe->top_k});
  }
  return limits;
}

AttentionShape DecoderModel::attention_shape() const {
  return {spec_.num_heads,       spec_.num_kv_heads,  spec_.head_dim, cache_.layer(0).block_size,
          spec_.attention_scale, spec_.kv_cache.dtype};
}

Tensor DecoderModel::forward(const DeviceBatch& batch, const int32_t* last_sampled) {
  const TraceShape tokens{batch.num_tokens};
  const TraceScope root(tracer_, sites_.root, tokens, tokens);
  plan(batch);
  return run(batch, last_sampled);
}

void DecoderModel::plan(const DeviceBatch& batch) {
  const TraceScope scope(tracer_, sites_.plan_attention);
  backend_.attention().plan(attention_shape(), batch.attention);
}

Tensor DecoderModel::run(const DeviceBatch& batch, const int32_t* last_sampled) {
  const ForwardContext context{spec_, backend_, workspace_, cache_, rope_.table(), batch, tracer_};
  {
    const TraceScope scope(tracer_, sites_.resolve_token_ids);
    backend_.resolve_token_ids(batch.token_ids, last_sampled, batch.num_tokens, workspace_.token_ids);
  }
  run_layers(context);
  return logits(0, std::min(batch.num_rows, max_logit_rows()));
}

void DecoderModel::run_layers(const ForwardContext& context) {
  const DeviceBatch& batch = context.batch;
  const TraceShape tokens{batch.num_tokens};
  const TraceScope block(tracer_, sites_.model, tokens, tokens);
  residual_ = workspace_.residual.first_rows(batch.num_tokens);
  normed_ = workspace_.normed.first_rows(batch.num_tokens);
  delta_ = workspace_.delta.first_rows(batch.num_tokens);
  {
    const TraceScope scope(tracer_, sites_.embed_tokens, tokens);
    backend_.embed(*weights_.embed_tokens, workspace_.token_ids, residual_);
  }
  for (int32_t i = 0; i < spec_.num_layers(); ++i) run_layer(context, i);
  if (batch.num_rows == 0) return;
  const TraceScope scope(tracer_, sites_.norm, residual_, delta_);
  backend_.add_rms_norm(residual_, delta_, *weights_.norm, spec_.rms_norm_eps, normed_);
}

void DecoderModel::run_layer(const ForwardContext& context, int32_t index) {
  const DeviceBatch& batch = context.batch;
  const LayerWeights& weights = weights_.layers[static_cast<size_t>(index)];
  const LayerSites& sites = sites_.layers[static_cast<size_t>(index)];
  const bool last = index + 1 == spec_.num_layers();
  const float eps = spec_.rms_norm_eps;
  const TraceShape residual = index == 0 ? TraceShape{} : trace_shape(residual_);
  const TraceScope block(tracer_, sites.layer, TraceShape{batch.num_tokens}, delta_, residual);
  if (index == 0) {
    const TraceScope scope(tracer_, sites.input_layernorm, residual_);
    backend_.rms_norm(residual_, *weights.input_norm, eps, normed_);
  } else {
    const TraceScope scope(tracer_, sites.input_layernorm, residual_, delta_);
    backend_.add_rms_norm(residual_, delta_, *weights.input_norm, eps, normed_);
  }
  {
    const TraceScope self_attn(tracer_, sites.self_attn);
    const Tensor qkv = workspace_.qkv.first_rows(batch.num_tokens);
    Tensor heads = workspace_.heads.first_rows(batch.num_tokens);
    project_qkv(context, sites, weights, index, normed_, qkv);
    if (last && batch.num_rows == 0) return;
    attend(context, sites, index, qkv, heads);
    if (last && batch.num_rows < batch.num_tokens) select_rows(context, heads);
    project_output(context, sites, weights, heads, delta_);
  }
  {
    const TraceScope scope(tracer_, sites.post_attention_layernorm, residual_, delta_);
    backend_.add_rms_norm(residual_, delta_, *weights.post_attention_norm, eps, normed_);
  }
  if (const auto& spec = spec_.layers[static_cast<size_t>(index)].moe) {
    moe(context, sites, *spec, weights, experts_[static_cast<size_t>(index)], normed_, delta_);
  } else {
    mlp(context, sites, weights, normed_, delta_);
  }
}

void DecoderModel::select_rows(const ForwardContext& context, Tensor& heads) {
  const TraceScope scope(tracer_, sites_.gather_rows, heads);
  const DeviceBatch& batch = context.batch;
  const Tensor selected = workspace_.selected_heads.first_rows(batch.num_rows);
  backend_.gather_rows(heads, batch.row_tokens, selected);
  normed_ = normed_.first_rows(batch.num_rows);
  backend_.gather_rows(residual_, batch.row_tokens, normed_);
  std::swap(residual_, normed_);
  normed_ = normed_.first_rows(batch.num_rows);
  delta_ = delta_.first_rows(batch.num_rows);
  heads = selected;
}

Tensor DecoderModel::logits(int32_t first, int32_t count) {
  const Tensor logits = workspace_.logits.first_rows(count);
  if (count == 0) return logits;
  const Tensor normed = normed_.rows_from(first, count);
  const TraceScope block(tracer_, sites_.logits_processor, normed);
  const TraceScope scope(tracer_, sites_.lm_head, normed);
  backend_.linear(weights_.head(), nullptr, normed, logits);
  return logits;
}

}  // namespace vitrine
