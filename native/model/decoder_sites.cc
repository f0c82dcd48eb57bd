// Names, shapes and bytes of every site. Bytes are what an op must read and write at least: each operand once.
#include "model/decoder_sites.h"

#include <string>

#include "core/dtype.h"
#include "profiler/module_range.h"

namespace vitrine {
namespace {

using span_layout::AttentionArgs;
using span_layout::ExpertsArgs;
using span_layout::GemmArgs;
using span_layout::ModuleArgs;
using span_layout::RowsArgs;

constexpr int64_t kIdBytes = sizeof(int32_t);
constexpr int64_t kVectorBytes = sizeof(float);  // an element of a gain, a bias, or the rope table

class SiteFactory {
 public:
  SiteFactory(const ModelSpec& spec, DType activation, Tracer& tracer)
      : spec_(spec),
        value_(static_cast<int64_t>(dtype_size(activation))),
        stored_(static_cast<int64_t>(dtype_size(spec.dtype))),
        cached_(static_cast<int64_t>(dtype_size(spec.kv_cache.dtype))),
        tracer_(tracer) {}

  DecoderSites decoder() {
    const int64_t hidden = spec_.hidden_size;
    DecoderSites sites;
    sites.root = block("forward", "");
    sites.root.record.schema = span_layout::kSchemaNone;
    sites.root.range = module_range_head("model", {});
    sites.plan_attention = phase_site(tracer_, "plan_attention");
    sites.resolve_token_ids = phase_site(tracer_, "resolve_token_ids");
    sites.model = block("model", "model");
    sites.embed_tokens = rows("model.embed_tokens", hidden, kIdBytes + (stored_ + value_) * hidden,
                              {{"weight", {spec_.vocab_size, hidden}}});
    for (layer_ = 0; layer_ < spec_.num_layers(); ++layer_) sites.layers.push_back(layer());
    layer_ = -1;
    sites.gather_rows = phase_site(tracer_, "gather_rows");
    sites.norm = norm("model.norm", true);
    sites.logits_processor = block("logits_processor", "logits_processor");
    sites.lm_head = gemm("lm_head", spec_.vocab_size, hidden, false);
    return sites;
  }

 private:
  LayerSites layer() {
    const std::string path = "model.layers." + std::to_string(layer_);
    const LayerSpec& layer_spec = spec_.layers[static_cast<size_t>(layer_)];
    LayerSites sites;
    sites.layer = block(path.substr(path.find('.') + 1), path);
    sites.input_layernorm = norm(path + ".input_layernorm", layer_ > 0);
    attention(path + ".self_attn", layer_spec, sites);
    sites.post_attention_layernorm = norm(path + ".post_attention_layernorm", true);
    if (layer_spec.moe) {
      mixture(path + "." + layer_spec.moe->module, *layer_spec.moe, sites);
    } else {
      mlp(path + ".mlp", layer_spec.float8, sites);
    }
    return sites;
  }

  void attention(const std::string& path, const LayerSpec& layer, LayerSites& sites) {
    const int64_t q = spec_.q_size();
    const int64_t kv = (spec_.qkv_size() - q) / 2;
    sites.self_attn = block("self_attn", path);
    const Float8Linears& float8 = layer.float8;
    sites.qkv_proj = gemm(path + ".qkv_proj", spec_.qkv_size(), spec_.hidden_size, spec_.qkv_bias, float8.qkv_proj);
    // q and k in place, k and v into the cache, the angles of one position.
    sites.rotary_emb = rows(path + ".rotary_emb", spec_.qkv_size(),
                            value_ * (2 * q + 3 * kv) + cached_ * 2 * kv + kVectorBytes * spec_.rope.rotary_dim);
    if (spec_.qk_norm) sites.rotary_emb.fixed_bytes = kVectorBytes * 2 * spec_.head_dim;
    sites.attn = op(path + ".attn", span_layout::kSchemaAttention, AttentionArgs::kModule);
    sites.attn.record.args[AttentionArgs::kDims1 + 1] = static_cast<uint32_t>(spec_.num_heads);
    sites.attn.record.args[AttentionArgs::kDims1 + 2] = static_cast<uint32_t>(spec_.head_dim);
    sites.attn.bytes_per_row = value_ * 2 * q;
    sites.attn.bytes_per_kv_token = cached_ * 2 * kv;
    sites.attn.flops_per_pair = 4 * q;  // q times k, and the scores times v
    sites.attn.sliding_window = layer.sliding_window;
    sites.o_proj = gemm(path + ".o_proj", spec_.hidden_size, q, spec_.output_bias, float8.o_proj);
  }

  void mlp(const std::string& path, const Float8Linears& float8, LayerSites& sites) {
    const int64_t inner = spec_.intermediate_size;
    sites.mlp = block("mlp", path);
    sites.gate_up_proj =
        gemm(path + ".gate_up_proj", 2 * inner, spec_.hidden_size, spec_.mlp_bias, float8.gate_up_proj);
    sites.act_fn = rows(path + ".act_fn", 2 * inner, value_ * 3 * inner);
    sites.down_proj = gemm(path + ".down_proj", spec_.hidden_size, inner, spec_.mlp_bias, float8.down_proj);
  }

  void mixture(const std::string& path, const MoeSpec& moe, LayerSites& sites) {
    const int64_t hidden = spec_.hidden_size;
    sites.mlp = block(moe.module, path);
    sites.gate = gemm(path + ".gate", moe.num_experts, hidden, false);
    sites.topk = rows(path + ".topk", moe.num_experts,
                      value_ * moe.num_experts + (kIdBytes + kVectorBytes) * int64_t{moe.top_k});
    const int64_t inner = moe.intermediate_size;
    const Parameters weights = {{"w13_weight", {moe.num_experts, 2 * inner, hidden}},
                                {"w2_weight", {moe.num_experts, hidden, inner}}};
    const int64_t expert_elements = 3 * inner * hidden;
    sites.experts = op(path + ".experts", span_layout::kSchemaExperts, ExpertsArgs::kModule, weights);
    sites.experts.record.args[ExpertsArgs::kDims1 + 1] = static_cast<uint32_t>(hidden);
    sites.experts.bytes_per_row = value_ * 2 * hidden;
    sites.experts.flops_per_row = 2 * expert_elements * moe.top_k;
    sites.experts.bytes_per_expert = stored_ * expert_elements;
    sites.experts.num_experts = moe.num_experts;
    sites.experts.top_k = moe.top_k;
  }

  using Parameters = std::vector<ModuleParameter>;

  TraceSite site(std::string_view name, const std::string& path, uint16_t schema, size_t module_word,
                 const Parameters& parameters) {
    TraceSite made = phase_site(tracer_, name);
    made.record.schema = schema;
    made.record.layer = static_cast<int16_t>(layer_);
    made.record.args[module_word] = tracer_.name_id(path);
    made.range = module_range_head("model." + path, parameters);
    made.is_module = true;
    return made;
  }

  TraceSite block(std::string_view name, const std::string& path) {
    TraceSite made = site(name, path, span_layout::kSchemaModule, ModuleArgs::kModule, {});
    made.record.category = span_layout::kCategoryUserAnnotation;
    made.is_op = false;
    return made;
  }

  /// Called like the last part of its path.
  TraceSite op(const std::string& path, uint16_t schema, size_t module_word, const Parameters& parameters = {}) {
    return site(path.substr(path.rfind('.') + 1), path, schema, module_word, parameters);
  }

  TraceSite rows(const std::string& path, int64_t cols, int64_t bytes_per_row, const Parameters& parameters = {}) {
    TraceSite made = op(path, span_layout::kSchemaRows, RowsArgs::kModule, parameters);
    made.record.args[RowsArgs::kDims1 + 1] = static_cast<uint32_t>(cols);
    made.bytes_per_row = bytes_per_row;
    return made;
  }

  /// `adds`: the residual is read and written as well.
  TraceSite norm(const std::string& path, bool adds) {
    const int64_t hidden = spec_.hidden_size;
    TraceSite made = rows(path, hidden, value_ * (adds ? 4 : 2) * hidden, {{"weight", {hidden}}});
    made.fixed_bytes = kVectorBytes * hidden;
    return made;
  }

  /// float8: a weight of one byte an element and a scale for each row, else one of the model's dtype.
  TraceSite gemm(const std::string& path, int64_t n, int64_t k, bool bias, bool float8 = false) {
    Parameters parameters = {{"weight", {n, k}}};
    if (bias) parameters.push_back({"bias", {n}});
    TraceSite made = op(path, span_layout::kSchemaGemm, GemmArgs::kModule, parameters);
    made.record.args[GemmArgs::kDims1 + 1] = static_cast<uint32_t>(k);
    made.record.args[GemmArgs::kDims2] = static_cast<uint32_t>(n);
    made.record.args[GemmArgs::kDims2 + 1] = static_cast<uint32_t>(k);
    made.fixed_bytes = (float8 ? n * k + kVectorBytes * n : stored_ * n * k) + (bias ? kVectorBytes * n : 0);
    made.bytes_per_row = value_ * (n + k);
    return made;
  }

  const ModelSpec& spec_;
  int64_t value_;   ///< bytes of an activation
  int64_t stored_;  ///< bytes of a weight
  int64_t cached_;  ///< bytes of an element of the KV cache
  Tracer& tracer_;
  int32_t layer_ = -1;
};

}  // namespace

DecoderSites decoder_sites(const ModelSpec& spec, DType activation, Tracer& tracer) {
  return SiteFactory(spec, activation, tracer).decoder();
}

}  // namespace vitrine
