// Field by field, in the order of addon.ts.
#include "binding/read_config.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda_adapter/cuda_backend.h"
#include "binding/value_reader.h"

namespace vitrine {
namespace {

constexpr int32_t kMaxWidth = 1 << 24;  // products of two widths stay far inside 64 bits
constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;

template <class Value, size_t N>
Value one_of(const ValueReader& reader, const std::pair<std::string_view, Value> (&choices)[N]) {
  const std::string text = reader.string();
  std::string expected;
  for (const auto& [name, value] : choices) {
    if (text == name) return value;
    expected += (expected.empty() ? "" : ", ") + std::string(name);
  }
  reader.reject("one of " + expected);
}

DType read_dtype(const ValueReader& reader) {
  return one_of<DType>(reader, {{dtype_name(DType::kFloat32), DType::kFloat32},
                                {dtype_name(DType::kFloat16), DType::kFloat16},
                                {dtype_name(DType::kBFloat16), DType::kBFloat16}});
}

/// As read_dtype(), and what weights, keys and values may be stored in beside.
DType read_stored_dtype(const ValueReader& reader) {
  return one_of<DType>(reader, {{dtype_name(DType::kFloat32), DType::kFloat32},
                                {dtype_name(DType::kFloat16), DType::kFloat16},
                                {dtype_name(DType::kBFloat16), DType::kBFloat16},
                                {dtype_name(DType::kFloat8E4M3), DType::kFloat8E4M3}});
}

KvCacheSpec read_kv_cache(const ValueReader& reader) {
  KvCacheSpec cache;
  cache.dtype = read_stored_dtype(reader["dtype"]);
  reader["scales"].each([&](const ValueReader& scales) {
    cache.scales.push_back(
        {static_cast<float>(scales["k"].positive_number()), static_cast<float>(scales["v"].positive_number())});
  });
  return cache;
}

Activation read_activation(const ValueReader& reader) {
  return one_of<Activation>(
      reader, {{"silu", Activation::kSilu}, {"gelu", Activation::kGelu}, {"gelu_tanh", Activation::kGeluTanh}});
}

RopeSpec read_rope(const ValueReader& reader) {
  RopeSpec rope;
  rope.rotary_dim = reader["rotaryDim"].int32(2, kMaxWidth);
  reader["invFreq"].each(
      [&](const ValueReader& value) { rope.inv_freq.push_back(static_cast<float>(value.number())); });
  rope.attention_factor = static_cast<float>(reader["attentionFactor"].positive_number());
  if (const ValueReader ntk = reader["dynamicNtk"]; !ntk.is_null()) {
    rope.dynamic_ntk = DynamicNtk{ntk["theta"].positive_number(), ntk["factor"].positive_number(),
                                  ntk["originalMaxPositions"].positive_number()};
  }
  return rope;
}

LayerSpec read_layer(const ValueReader& reader) {
  LayerSpec layer;
  layer.sliding_window = reader["slidingWindow"].int32(0);
  if (const ValueReader moe = reader["moe"]; !moe.is_null()) {
    layer.moe =
        MoeSpec{moe["numExperts"].int32(1, kMaxWidth), moe["topK"].int32(1, kMaxWidth), moe["normTopkProb"].boolean(),
                moe["intermediateSize"].int32(1, kMaxWidth), moe["module"].string()};
  }
  if (const ValueReader names = reader["float8"]; !names.is_undefined()) {
    names.each([&](const ValueReader& name) {
      const auto linear = one_of<bool Float8Linears::*>(name, {{"qkv_proj", &Float8Linears::qkv_proj},
                                                               {"o_proj", &Float8Linears::o_proj},
                                                               {"gate_up_proj", &Float8Linears::gate_up_proj},
                                                               {"down_proj", &Float8Linears::down_proj}});
      layer.float8.*linear = true;
    });
  }
  return layer;
}

TensorPiece read_piece(const ValueReader& reader, int32_t num_files) {
  TensorPiece piece{reader["file"].int32(-1, num_files - 1), reader["offset"].integer(0, kMaxSafeInteger),
                    read_stored_dtype(reader["dtype"]), reader["rows"].integer(1), reader["source"].string()};
  if (const ValueReader scales = reader["scales"]; !scales.is_undefined()) {
    piece.scales = PieceScales{scales["file"].int32(0, num_files - 1), scales["offset"].integer(0, kMaxSafeInteger),
                               read_dtype(scales["dtype"]), scales["count"].integer(1), scales["source"].string()};
  }
  return piece;
}

ModelSpec read_spec(const ValueReader& reader) {
  ModelSpec spec;
  spec.vocab_size = reader["vocabSize"].int32(1, kMaxWidth);
  spec.hidden_size = reader["hiddenSize"].int32(1, kMaxWidth);
  spec.intermediate_size = reader["intermediateSize"].int32(0, kMaxWidth);
  spec.num_heads = reader["numHeads"].int32(1, kMaxWidth);
  spec.num_kv_heads = reader["numKvHeads"].int32(1, kMaxWidth);
  spec.head_dim = reader["headDim"].int32(1, kMaxWidth);
  spec.rms_norm_eps = static_cast<float>(reader["rmsNormEps"].positive_number());
  spec.attention_scale = static_cast<float>(reader["attentionScale"].positive_number());
  spec.qkv_bias = reader["qkvBias"].boolean();
  spec.output_bias = reader["outputBias"].boolean();
  spec.mlp_bias = reader["mlpBias"].boolean();
  spec.qk_norm = reader["qkNorm"].boolean();
  spec.activation = read_activation(reader["activation"]);
  spec.tie_word_embeddings = reader["tieWordEmbeddings"].boolean();
  spec.rope = read_rope(reader["rope"]);
  reader["layers"].each([&](const ValueReader& layer) { spec.layers.push_back(read_layer(layer)); });
  spec.dtype = read_dtype(reader["dtype"]);
  spec.kv_cache = read_kv_cache(reader["kvCache"]);
  validate_model_spec(spec, reader.path());
  return spec;
}

CpuIsa read_isa(const ValueReader& reader) {
  const std::vector<CpuIsa> supported = supported_cpu_isas();
  const CpuIsa best = best_cpu_isa(supported);
  const std::string name = reader.string();
  if (name == "auto") return best;
  const auto isa = parse_cpu_isa(name);
  if (isa && std::find(supported.begin(), supported.end(), *isa) != supported.end()) return *isa;
  std::string names = "auto";
  for (const CpuIsa each : supported) names += ", " + std::string(cpu_isa_name(each));
  reader.reject("one of " + names + " (what this processor can run)");
}

std::function<std::unique_ptr<Backend>(ThreadPool&)> read_backend(const ValueReader& reader, DType dtype) {
  enum class Device { kCpu, kCuda };
  if (one_of<Device>(reader["device"], {{"cpu", Device::kCpu}, {"cuda", Device::kCuda}}) == Device::kCpu) {
    return [isa = read_isa(reader["cpuIsa"])](ThreadPool& pool) { return make_cpu_backend(isa, pool); };
  }
  const int index = reader["cudaDevice"].int32(0);
  return [library = CudaLibrary(reader["cudaLibrary"].string()), index, dtype](ThreadPool&) {
    return make_cuda_backend(library, index, dtype);
  };
}

}  // namespace

EngineOptions read_engine_config(Napi::Value value) {
  const ValueReader reader(value, "config");
  EngineOptions options;
  options.spec = read_spec(reader["spec"]);
  options.threads = reader["cpuThreads"].int32(0, 1024);
  if (const ValueReader markers = reader["nvtxMarkers"]; !markers.is_undefined()) {
    options.nvtx_markers = markers.boolean();
  }
  options.make_backend = read_backend(reader, options.spec.dtype);
  return options;
}

LoadPlan read_load_plan(Napi::Value value) {
  const ValueReader reader(value, "plan");
  LoadPlan plan;
  reader["files"].each([&](const ValueReader& file) {
    plan.files.push_back({file["path"].string(), file["bytes"].integer(0, kMaxSafeInteger)});
  });
  const auto num_files = static_cast<int32_t>(plan.files.size());
  reader["parameters"].each([&](const ValueReader& item) {
    ParameterPlan& parameter = plan.parameters.emplace_back();
    parameter.name = item["name"].string();
    parameter.rows = item["rows"].integer(1);
    parameter.cols = item["cols"].integer(1);
    item["pieces"].each([&](const ValueReader& piece) { parameter.pieces.push_back(read_piece(piece, num_files)); });
  });
  plan.dummy_seed = static_cast<uint64_t>(reader["dummySeed"].integer(0, kMaxSafeInteger));
  if (const ValueReader cache = reader["cache"]; !cache.is_undefined()) {
    plan.cache = WeightCachePlan{cache["directory"].string(), cache["identity"].string()};
    if (const ValueReader wait = cache["wait"]; !wait.is_undefined()) plan.cache->wait = wait.boolean();
  }
  return plan;
}

CacheConfig read_cache_config(Napi::Value value) {
  const ValueReader reader(value, "config");
  CacheConfig config;
  config.num_blocks = reader["numBlocks"].int32(1);
  config.block_size = reader["blockSize"].int32(1, 1 << 16);
  config.max_requests = reader["maxRequests"].int32(1, 1 << 20);
  config.max_batch_tokens = reader["maxBatchTokens"].int32(1, 1 << 24);
  config.max_context_length = reader["maxContextLength"].int32(1, 1 << 24);
  if (const ValueReader ids = reader["maxBiasIds"]; !ids.is_undefined()) config.max_bias_ids = ids.int32(0, 1 << 20);
  if (const ValueReader numbers = reader["maxRowLogprobs"]; !numbers.is_undefined()) {
    config.max_row_logprobs = numbers.int32(0, 1 << 20);
  }
  if (const ValueReader sizes = reader["graphBatchSizes"]; !sizes.is_undefined()) {
    int32_t least = 1;
    sizes.each([&](const ValueReader& size) {
      config.graphs.batch_sizes.push_back(size.int32(least, 1 << 20));
      least = config.graphs.batch_sizes.back() + 1;
    });
  }
  if (const ValueReader capture = reader["captureGraphs"]; !capture.is_undefined()) {
    config.graphs.capture = capture.boolean();
  }
  return config;
}

}  // namespace vitrine
