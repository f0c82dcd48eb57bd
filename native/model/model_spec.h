// The description of a decoder-only transformer, as src/native/addon.ts defines it (shapes and meanings there).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "core/dtype.h"

namespace vitrine {

struct DynamicNtk {
  double theta = 0;
  double factor = 0;
  double original_max_positions = 0;
};

struct RopeSpec {
  int32_t rotary_dim = 0;
  std::vector<float> inv_freq;
  float attention_factor = 1.0f;
  std::optional<DynamicNtk> dynamic_ntk;
};

struct MoeSpec {
  int32_t num_experts = 0;
  int32_t top_k = 0;
  bool norm_topk_prob = false;
  int64_t intermediate_size = 0;
  std::string module = "mlp";  ///< its name in the checkpoint, for traces
};

/// Which of a layer's matrices are held in float8_e4m3fn; the others are in the model's dtype.
struct Float8Linears {
  bool qkv_proj = false;
  bool o_proj = false;
  bool gate_up_proj = false;  ///< of the dense MLP
  bool down_proj = false;
};

struct LayerSpec {
  int32_t sliding_window = 0;
  std::optional<MoeSpec> moe;
  Float8Linears float8 = {};
};

/// Keys and values are kept divided by their layer's.
struct KvScales {
  float k = 1.0f;
  float v = 1.0f;
};

struct KvCacheSpec {
  DType dtype = DType::kFloat32;
  std::vector<KvScales> scales;  ///< of each layer, for kFloat8E4M3; empty: 1
};

struct ModelSpec {
  int32_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  float rms_norm_eps = 0;
  float attention_scale = 0;
  bool qkv_bias = false;
  bool output_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;
  Activation activation = Activation::kSilu;
  bool tie_word_embeddings = false;
  RopeSpec rope;
  std::vector<LayerSpec> layers;
  DType dtype = DType::kFloat32;
  KvCacheSpec kv_cache;

  int64_t q_size() const { return int64_t{num_heads} * head_dim; }
  int64_t qkv_size() const { return (int64_t{num_heads} + 2 * int64_t{num_kv_heads}) * head_dim; }
  int32_t num_layers() const { return static_cast<int32_t>(layers.size()); }
  bool has_moe() const;
  bool has_dense_mlp() const;
};

/// Checks what one field alone cannot show; messages start with `path` ("config.spec").
void validate_model_spec(const ModelSpec& spec, const std::string& path);

}  // namespace vitrine
