// The names and shapes of all parameters of a spec.
#include "model/weights.h"

namespace vitrine {
namespace {

class SlotList {
 public:
  explicit SlotList(DType dtype) : dtype_(dtype) {}

  void matrix(std::string name, int64_t rows, int64_t cols, WeightPtr& slot, bool float8 = false) {
    const DType held = float8 ? DType::kFloat8E4M3 : dtype_;
    slots_.push_back({std::move(name), WeightKind::kMatrix, rows, cols, held, &slot});
  }
  void vector(std::string name, int64_t rows, WeightPtr& slot) {
    slots_.push_back({std::move(name), WeightKind::kVector, rows, 1, DType::kFloat32, &slot});
  }
  std::vector<ParameterSlot> take() { return std::move(slots_); }

 private:
  DType dtype_;
  std::vector<ParameterSlot> slots_;
};

void add_attention(SlotList& list, const std::string& prefix, const ModelSpec& spec, const Float8Linears& float8,
                   LayerWeights& layer) {
  list.matrix(prefix + "qkv_proj", spec.qkv_size(), spec.hidden_size, layer.qkv_proj, float8.qkv_proj);
  if (spec.qkv_bias) list.vector(prefix + "qkv_bias", spec.qkv_size(), layer.qkv_bias);
  if (spec.qk_norm) {
    list.vector(prefix + "q_norm", spec.head_dim, layer.q_norm);
    list.vector(prefix + "k_norm", spec.head_dim, layer.k_norm);
  }
  list.matrix(prefix + "o_proj", spec.hidden_size, spec.q_size(), layer.o_proj, float8.o_proj);
  if (spec.output_bias) list.vector(prefix + "o_bias", spec.hidden_size, layer.o_bias);
}

void add_mlp(SlotList& list, const std::string& prefix, const ModelSpec& spec, const Float8Linears& float8,
             LayerWeights& layer) {
  list.matrix(prefix + "gate_up_proj", 2 * spec.intermediate_size, spec.hidden_size, layer.gate_up_proj,
              float8.gate_up_proj);
  if (spec.mlp_bias) list.vector(prefix + "gate_up_bias", 2 * spec.intermediate_size, layer.gate_up_bias);
  list.matrix(prefix + "down_proj", spec.hidden_size, spec.intermediate_size, layer.down_proj, float8.down_proj);
  if (spec.mlp_bias) list.vector(prefix + "down_bias", spec.hidden_size, layer.down_bias);
}

void add_moe(SlotList& list, const std::string& prefix, const ModelSpec& spec, const MoeSpec& moe,
             LayerWeights& layer) {
  list.matrix(prefix + "router", moe.num_experts, spec.hidden_size, layer.router);
  layer.experts.resize(static_cast<size_t>(moe.num_experts));
  for (size_t x = 0; x < layer.experts.size(); ++x) {
    const std::string expert = prefix + "experts." + std::to_string(x) + ".";
    list.matrix(expert + "gate_up_proj", 2 * moe.intermediate_size, spec.hidden_size, layer.experts[x].gate_up_proj);
    list.matrix(expert + "down_proj", spec.hidden_size, moe.intermediate_size, layer.experts[x].down_proj);
  }
}

}  // namespace

std::vector<ParameterSlot> parameter_slots(const ModelSpec& spec, Weights& weights) {
  SlotList list(spec.dtype);
  weights.layers.clear();
  weights.layers.resize(spec.layers.size());
  list.matrix("embed_tokens", spec.vocab_size, spec.hidden_size, weights.embed_tokens);
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    LayerWeights& layer = weights.layers[i];
    const std::string prefix = "layers." + std::to_string(i) + ".";
    list.vector(prefix + "input_norm", spec.hidden_size, layer.input_norm);
    const Float8Linears& float8 = spec.layers[i].float8;
    add_attention(list, prefix, spec, float8, layer);
    list.vector(prefix + "post_attention_norm", spec.hidden_size, layer.post_attention_norm);
    if (const auto& moe = spec.layers[i].moe) {
      add_moe(list, prefix, spec, *moe, layer);
    } else {
      add_mlp(list, prefix, spec, float8, layer);
    }
  }
  list.vector("norm", spec.hidden_size, weights.norm);
  if (!spec.tie_word_embeddings) list.matrix("lm_head", spec.vocab_size, spec.hidden_size, weights.lm_head);
  return list.take();
}

size_t Weights::bytes() const {
  size_t total = 0;
  const auto add = [&total](const WeightPtr& weight) { total += weight ? weight->bytes() : 0; };
  for (const WeightPtr* weight : {&embed_tokens, &norm, &lm_head}) add(*weight);
  for (const LayerWeights& layer : layers) {
    for (const WeightPtr* weight : {&layer.input_norm, &layer.post_attention_norm, &layer.qkv_proj, &layer.qkv_bias,
                                    &layer.q_norm, &layer.k_norm, &layer.o_proj, &layer.o_bias, &layer.gate_up_proj,
                                    &layer.gate_up_bias, &layer.down_proj, &layer.down_bias, &layer.router}) {
      add(*weight);
    }
    for (const ExpertParameters& expert : layer.experts) {
      add(expert.gate_up_proj);
      add(expert.down_proj);
    }
  }
  return total;
}

}  // namespace vitrine
