// The pre-norm decoder: x += attention(norm(x)); x += mlp(norm(x)); each sum is fused with the norm that follows it.
#include "model/decoder_model.h"

#include <utility>

#include "model/attention_block.h"
#include "model/mlp_block.h"
#include "model/moe_block.h"

namespace vitrine {

DecoderModel::DecoderModel(const ModelSpec& spec, const Weights& weights, const PagedKvCache& cache, Backend& backend,
                           ThreadPool& pool, int32_t max_tokens, int32_t max_positions)
    : spec_(spec),
      weights_(weights),
      cache_(cache),
      backend_(backend),
      rope_(spec.rope, max_positions, backend, pool),
      workspace_(backend, spec, max_tokens) {
  for (const LayerWeights& layer : weights.layers) {
    auto& views = experts_.emplace_back();
    for (const ExpertParameters& expert : layer.experts) {
      views.push_back({expert.gate_up_proj.get(), expert.down_proj.get()});
    }
  }
}

void DecoderModel::forward(const DeviceBatch& batch, const int32_t* last_sampled) {
  const ForwardContext context{spec_, backend_, workspace_, cache_, rope_.table(), batch};
  const KvLayer& kv = cache_.layer(0);
  backend_.attention().plan({spec_.num_heads, spec_.num_kv_heads, spec_.head_dim, kv.block_size, spec_.attention_scale},
                            batch.attention);

  residual_ = workspace_.residual.first_rows(batch.num_tokens);
  normed_ = workspace_.normed.first_rows(batch.num_tokens);
  delta_ = workspace_.delta.first_rows(batch.num_tokens);
  const Tensor qkv = workspace_.qkv.first_rows(batch.num_tokens);
  Tensor heads = workspace_.heads.first_rows(batch.num_tokens);

  backend_.resolve_token_ids(batch.token_ids, last_sampled, batch.num_tokens, workspace_.token_ids);
  backend_.embed(*weights_.embed_tokens, workspace_.token_ids, residual_);
  const float eps = spec_.rms_norm_eps;
  const int32_t last = spec_.num_layers() - 1;
  for (int32_t i = 0; i <= last; ++i) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(i)];
    if (i == 0) {
      backend_.rms_norm(residual_, *layer.input_norm, eps, normed_);
    } else {
      backend_.add_rms_norm(residual_, delta_, *layer.input_norm, eps, normed_);
    }
    project_qkv(context, layer, i, normed_, qkv);
    if (i == last && batch.num_rows == 0) return;
    attend(context, i, qkv, heads);
    if (i == last && batch.num_rows < batch.num_tokens) {
      // Nothing after the last attention mixes tokens: go on with those whose logits are wanted.
      const Tensor selected = workspace_.selected_heads.first_rows(batch.num_rows);
      backend_.gather_rows(heads, batch.row_tokens, selected);
      normed_ = normed_.first_rows(batch.num_rows);
      backend_.gather_rows(residual_, batch.row_tokens, normed_);
      std::swap(residual_, normed_);
      normed_ = normed_.first_rows(batch.num_rows);
      delta_ = delta_.first_rows(batch.num_rows);
      heads = selected;
    }
    project_output(context, layer, heads, delta_);
    backend_.add_rms_norm(residual_, delta_, *layer.post_attention_norm, eps, normed_);
    if (const auto& spec = spec_.layers[static_cast<size_t>(i)].moe) {
      moe(context, *spec, layer, experts_[static_cast<size_t>(i)], normed_, delta_);
    } else {
      mlp(context, layer, normed_, delta_);
    }
  }
}

Tensor DecoderModel::logits(int32_t first, int32_t count) {
  const Tensor normed = normed_.rows_from(first, count);
  const Tensor logits = workspace_.logits.first_rows(count);
  backend_.add_rms_norm(residual_.rows_from(first, count), delta_.rows_from(first, count), *weights_.norm,
                        spec_.rms_norm_eps, normed);
  backend_.linear(weights_.head(), nullptr, normed, logits);
  return logits;
}

}  // namespace vitrine
