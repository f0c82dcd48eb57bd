// Turns a row of logits into a token (SampleParams) and into log-probabilities (LogprobRequest). One object per lane:
// it owns the scratch of one row.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"

namespace vitrine {

class TokenSampler {
 public:
  explicit TokenSampler(const CpuKernels& kernels) : kernels_(kernels) {}

  /// Order: repetition, frequency and presence penalty, bias; greedy, or softmax(x / temperature), top_k, top_p of what
  /// top_k left, min_p relative to the largest, and the inverse distribution function at uniform(seed, position).
  /// `row` names the row in errors. Throws Error for NaN or infinite logits and when everything is suppressed.
  int32_t sample(const float* logits, int64_t vocab, const SampleParams& params, int32_t row);

  void logprobs(const float* logits, int64_t vocab, const LogprobRequest& request);

 private:
  const float* adjust(const float* logits, int64_t vocab, const SampleParams& params);
  int32_t sample_all(const float* x, int64_t vocab, float maximum, const SampleParams& params);
  int32_t sample_sorted(const float* x, int64_t vocab, float maximum, const SampleParams& params);
  void nucleus_of_all(const float* x, int64_t vocab, float maximum, const SampleParams& params);
  int32_t pick(const SampleParams& params, size_t count) const;

  const CpuKernels& kernels_;
  std::vector<float> adjusted_;  // logits after penalties and bias
  std::vector<int32_t> counts_;  // occurrences of each id in the history; 0 between calls
  std::vector<float> weights_;   // exp((x - max) / temperature), of all ids
  std::vector<double> blocks_;   // sums of kBlock of them
  std::vector<int32_t> ids_;     // candidates
  std::vector<float> candidate_logits_;
  std::vector<float> candidate_weights_;
};

}  // namespace vitrine
