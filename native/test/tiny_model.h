// Small models and batches for the native tests.
#pragma once

#include <cstdint>
#include <vector>

#include "core/forward_batch_layout.h"
#include "model/load_plan.h"
#include "model/model_spec.h"

namespace vitrine::test {

/// A llama-like spec of odd sizes: vocab 97, hidden 40, 5 query and 1 kv head of 12, 3 layers, untied, float32.
ModelSpec tiny_spec();
void set_rope(ModelSpec& spec, int32_t rotary_dim);

/// Dummy weights for every parameter of the spec.
LoadPlan dummy_plan(const ModelSpec& spec, uint64_t seed);

/// One request of a batch: tokens at positions start, start + 1, ...
struct BatchRequest {
  int32_t slot = 0;
  int32_t start = 0;
  std::vector<int32_t> tokens;
  std::vector<int32_t> blocks;
  int32_t flags = layout::kFlagReturnLogits;
  /// Indices into tokens whose logits are computed; the last one samples.
  std::vector<int32_t> rows;
};

/// ForwardBatch words with the required sections only.
std::vector<int32_t> forward_batch_words(const std::vector<BatchRequest>& requests, int32_t block_size);

/// A section of StepOutput words.
std::vector<float> output_floats(const std::vector<int32_t>& words, layout::OutputSection section);
std::vector<int32_t> output_ints(const std::vector<int32_t>& words, layout::OutputSection section);

}  // namespace vitrine::test
