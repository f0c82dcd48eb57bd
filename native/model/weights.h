// Every parameter of a model in the backend's layout. Built by load_weights, read-only afterwards.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "core/mapped_file.h"
#include "model/model_spec.h"

namespace vitrine {

using WeightPtr = std::unique_ptr<Weight>;

struct ExpertParameters {
  WeightPtr gate_up_proj;
  WeightPtr down_proj;
};

/// Parameters of one layer; null where the spec has none.
struct LayerWeights {
  WeightPtr input_norm, post_attention_norm;
  WeightPtr qkv_proj, qkv_bias;
  WeightPtr q_norm, k_norm;
  WeightPtr o_proj, o_bias;
  WeightPtr gate_up_proj, gate_up_bias;
  WeightPtr down_proj, down_bias;
  WeightPtr router;
  std::vector<ExpertParameters> experts;
};

/// Where the bytes of loaded weights are.
struct WeightOrigin {
  enum class Place : uint8_t {
    kMemory,   ///< of this process alone
    kMapped,   ///< in a cache file that was there
    kWritten,  ///< in a cache file that this process wrote
  };
  Place place = Place::kMemory;
  std::string path;     ///< of the cache file
  std::string problem;  ///< why the cache is not used, or what was wrong with the file that was replaced
};

struct Weights {
  WeightOrigin origin;
  std::unique_ptr<const MappedFile> mapping;  ///< what the others borrow, if it is not null: it goes last

  WeightPtr embed_tokens;
  WeightPtr norm;
  WeightPtr lm_head;  ///< null when tied: embed_tokens is the head
  std::vector<LayerWeights> layers;

  const Weight& head() const { return lm_head ? *lm_head : *embed_tokens; }
  size_t bytes() const;
};

/// A parameter that the spec asks for, and the place it belongs to.
struct ParameterSlot {
  std::string name;
  WeightKind kind;
  int64_t rows;
  int64_t cols;
  DType dtype;  ///< that it is held in
  WeightPtr* slot;
};

/// Sizes `weights` for the spec and lists all its parameters, by the names of addon.ts.
std::vector<ParameterSlot> parameter_slots(const ModelSpec& spec, Weights& weights);

}  // namespace vitrine
