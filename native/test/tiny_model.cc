// Specs, plans and batches for the native tests.
#include "tiny_model.h"

#include <array>
#include <cmath>
#include <cstring>

#include "model/weights.h"

namespace vitrine::test {

ModelSpec tiny_spec() {
  ModelSpec spec;
  spec.vocab_size = 97;
  spec.hidden_size = 40;
  spec.intermediate_size = 56;
  spec.num_heads = 5;
  spec.num_kv_heads = 1;
  spec.head_dim = 12;
  spec.rms_norm_eps = 1e-5f;
  spec.attention_scale = 60;  // dummy weights are small: this makes attention far from uniform
  spec.layers.resize(3);
  set_rope(spec, 12);
  return spec;
}

void set_rope(ModelSpec& spec, int32_t rotary_dim) {
  spec.rope.rotary_dim = rotary_dim;
  spec.rope.inv_freq.clear();
  for (int32_t i = 0; i < rotary_dim / 2; ++i) {
    spec.rope.inv_freq.push_back(1 / std::pow(10000.0f, static_cast<float>(2 * i) / static_cast<float>(rotary_dim)));
  }
}

LoadPlan dummy_plan(const ModelSpec& spec, uint64_t seed) {
  LoadPlan plan;
  plan.dummy_seed = seed;
  Weights weights;
  for (const ParameterSlot& slot : parameter_slots(spec, weights)) {
    plan.parameters.push_back({slot.name, slot.rows, slot.cols, {{-1, 0, DType::kFloat32, slot.rows, "dummy"}}});
  }
  return plan;
}

std::vector<int32_t> forward_batch_words(const std::vector<BatchRequest>& requests, int32_t block_size) {
  using enum layout::BatchSection;
  std::array<std::vector<int32_t>, static_cast<size_t>(kCount)> sections;
  const auto section = [&](layout::BatchSection which) -> std::vector<int32_t>& {
    return sections[static_cast<size_t>(which)];
  };
  section(kQueryStart) = {0};
  section(kBlockStart) = {0};
  for (size_t r = 0; r < requests.size(); ++r) {
    const BatchRequest& request = requests[r];
    const auto first = static_cast<int32_t>(section(kTokenIds).size());
    const auto count = static_cast<int32_t>(request.tokens.size());
    for (int32_t i = 0; i < count; ++i) {
      const int32_t position = request.start + i;
      section(kTokenIds).push_back(request.tokens[static_cast<size_t>(i)]);
      section(kPositions).push_back(position);
      section(kKvSlots).push_back(request.blocks[static_cast<size_t>(position / block_size)] * block_size +
                                  position % block_size);
    }
    section(kReqSlots).push_back(request.slot);
    section(kQueryStart).push_back(first + count);
    section(kSeqLens).push_back(request.start + count);
    section(kReqFlags).push_back(request.flags);
    section(kBlocks).insert(section(kBlocks).end(), request.blocks.begin(), request.blocks.end());
    section(kBlockStart).push_back(static_cast<int32_t>(section(kBlocks).size()));
    for (const int32_t row : request.rows) {
      section(kRowTokens).push_back(first + row);
      section(kRowRequests).push_back(static_cast<int32_t>(r));
      section(kRowTargets).push_back(row == request.rows.back() ? -1 : 0);
    }
  }
  std::vector<int32_t> words(layout::kHeaderWords);
  for (size_t i = 0; i < sections.size(); ++i) {
    words[static_cast<size_t>(layout::kDirectoryStart) + 2 * i] = static_cast<int32_t>(words.size());
    words[static_cast<size_t>(layout::kDirectoryStart) + 2 * i + 1] = static_cast<int32_t>(sections[i].size());
    words.insert(words.end(), sections[i].begin(), sections[i].end());
  }
  const auto header = [&](layout::BatchHeader word, size_t value) {
    words[static_cast<size_t>(word)] = static_cast<int32_t>(value);
  };
  header(layout::BatchHeader::kMagic, layout::kForwardBatchMagic);
  header(layout::BatchHeader::kVersion, layout::kVersion);
  header(layout::BatchHeader::kTotalWords, words.size());
  header(layout::BatchHeader::kNumTokens, section(kTokenIds).size());
  header(layout::BatchHeader::kNumRequests, requests.size());
  header(layout::BatchHeader::kNumLogitRows, section(kRowTokens).size());
  header(layout::BatchHeader::kBlockSize, static_cast<size_t>(block_size));
  return words;
}

std::vector<int32_t> output_ints(const std::vector<int32_t>& words, layout::OutputSection section) {
  const size_t at = static_cast<size_t>(layout::kDirectoryStart) + 2 * static_cast<size_t>(section);
  const auto begin = words.begin() + words[at];
  return {begin, begin + words[at + 1]};
}

std::vector<float> output_floats(const std::vector<int32_t>& words, layout::OutputSection section) {
  const std::vector<int32_t> bits = output_ints(words, section);
  std::vector<float> values(bits.size());
  std::memcpy(values.data(), bits.data(), bits.size() * sizeof(float));
  return values;
}

}  // namespace vitrine::test
