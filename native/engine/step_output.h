// Builds the StepOutput words of one step: all sections are sized from the batch before anything runs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/forward_batch.h"

namespace vitrine {

class StepOutput {
 public:
  /// Lays out `words` for a validated batch: nothing sampled, no log-probability, all CSR sections final.
  StepOutput(const ForwardBatchView& batch, int32_t vocab_size, std::vector<int32_t>& words);

  void set_times(int64_t start_ns, int64_t launched_ns, int64_t end_ns);

  int32_t& sampled_id(size_t request) { return ints(layout::OutputSection::kSampledIds)[request]; }
  float& row_logprob(size_t row) { return floats(layout::OutputSection::kRowLogprobs)[row]; }
  /// Room for the row's entries; empty when it returns none.
  std::span<int32_t> top_ids(size_t row);
  std::span<float> top_logprobs(size_t row);
  std::span<float> watch_logprobs(size_t row);
  std::span<float> logits(size_t row);

 private:
  int32_t* ints(layout::OutputSection section);
  float* floats(layout::OutputSection section) { return reinterpret_cast<float*>(ints(section)); }
  std::span<float> row_floats(layout::OutputSection starts, layout::OutputSection values, size_t row);
  void set_header(layout::OutputHeader word, int64_t value);

  std::vector<int32_t>& words_;  ///< neither grows nor moves
};

}  // namespace vitrine
