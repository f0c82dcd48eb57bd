// Checks between the fields of a ModelSpec.
#include "model/model_spec.h"

#include <algorithm>

#include "core/check.h"

namespace vitrine {

bool ModelSpec::has_moe() const {
  return std::any_of(layers.begin(), layers.end(), [](const LayerSpec& layer) { return layer.moe.has_value(); });
}

bool ModelSpec::has_dense_mlp() const {
  return std::any_of(layers.begin(), layers.end(), [](const LayerSpec& layer) { return !layer.moe.has_value(); });
}

void validate_model_spec(const ModelSpec& spec, const std::string& path) {
  require(spec.num_heads % spec.num_kv_heads == 0, path, ".numKvHeads: expected a divisor of numHeads (",
          spec.num_heads, "), got ", spec.num_kv_heads);
  require(spec.rope.rotary_dim % 2 == 0 && spec.rope.rotary_dim <= spec.head_dim, path,
          ".rope.rotaryDim: expected an even number up to headDim (", spec.head_dim, "), got ", spec.rope.rotary_dim);
  require(spec.rope.inv_freq.size() == static_cast<size_t>(spec.rope.rotary_dim / 2), path, ".rope.invFreq: expected ",
          spec.rope.rotary_dim / 2, " frequencies (rotaryDim / 2), got ", spec.rope.inv_freq.size());
  require(!spec.rope.dynamic_ntk || spec.rope.rotary_dim > 2, path,
          ".rope.dynamicNtk: expected rotaryDim above 2, got ", spec.rope.rotary_dim);
  require(!spec.layers.empty(), path, ".layers: expected at least one layer, got none");
  const KvCacheSpec& kv = spec.kv_cache;
  require(kv.scales.empty() || (kv.dtype == DType::kFloat8E4M3 && kv.scales.size() == spec.layers.size()), path,
          ".kvCache.scales: expected none, or for float8_e4m3fn one a layer (", spec.layers.size(), "), got ",
          kv.scales.size(), " for ", dtype_name(kv.dtype));
  require(!spec.has_dense_mlp() || spec.intermediate_size >= 1, path,
          ".intermediateSize: expected a positive integer (there are dense layers), got ", spec.intermediate_size);
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const auto& moe = spec.layers[i].moe;
    require(!moe || moe->top_k <= moe->num_experts, path, ".layers[", i, "].moe.topK: expected at most numExperts (",
            moe ? moe->num_experts : 0, "), got ", moe ? moe->top_k : 0);
    const Float8Linears& float8 = spec.layers[i].float8;
    require(!moe || (!float8.gate_up_proj && !float8.down_proj), path, ".layers[", i,
            "].float8: expected neither gate_up_proj nor down_proj in a layer of experts");
  }
}

}  // namespace vitrine
