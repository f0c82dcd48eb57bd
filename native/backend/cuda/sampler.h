// The host's side of sampling: packs the parameters of a step into its inputs, gives the kernels scratch, reads what
// they have from its results.
#pragma once

#include <span>
#include <vector>

#include "backend/cuda/memory.h"
#include "backend/cuda/sample.h"
#include "backend/cuda/step_inputs.h"
#include "backend/cuda/step_results.h"

namespace vitrine::cuda {

class Sampler {
 public:
  Sampler(StepInputs& inputs, StepResults& results) : inputs_(inputs), results_(results) {}

  /// See Backend::plan_sampling(). The results' readers throw Error as the CPU's sampler does.
  void plan(std::span<const VitrineSampleRequest> samples, std::span<const VitrineLogprobRequest> logprobs);
  void sample(const VitrineTensor& logits, size_t first, size_t count, cudaStream_t stream);
  void logprobs(const VitrineTensor& logits, size_t first, size_t count, cudaStream_t stream);

 private:
  void plan_samples(std::span<const VitrineSampleRequest> samples);
  void plan_logprobs(std::span<const VitrineLogprobRequest> requests);

  StepInputs& inputs_;
  StepResults& results_;
  Scratch adjusted_;
  SampleBatch samples_;  ///< all that are planned
  LogprobBatch logprobs_;
  // Reused from step to step.
  std::vector<SampleRow> rows_;
  std::vector<LogprobRow> logprob_rows_;
  std::vector<int32_t> words_;
  std::vector<float> bias_values_;
};

}  // namespace vitrine::cuda
