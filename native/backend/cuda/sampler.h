// The host's side of sampling: packs parameters into one upload, gives the kernels scratch, reads the results.
#pragma once

#include <span>
#include <vector>

#include "backend/cuda/memory.h"
#include "backend/cuda/sample.h"
#include "backend/cuda/transfers.h"

namespace vitrine::cuda {

class Sampler {
 public:
  Sampler(Transfers& transfers, cudaStream_t stream) : transfers_(transfers), stream_(stream) {}

  /// sampled[i]: of rows[i] with params[i]. Waits. Throws Error as the CPU's sampler does.
  void sample(const VitrineTensor& logits, std::span<const int32_t> rows, std::span<const VitrineSampleParams> params,
              int32_t* sampled);
  /// Fills what the requests point to. Waits.
  void logprobs(const VitrineTensor& logits, std::span<const VitrineLogprobRequest> requests);

  size_t device_bytes() const { return adjusted_.bytes() + outputs_.bytes(); }

 private:
  Transfers& transfers_;
  cudaStream_t stream_;
  Scratch adjusted_;
  Scratch outputs_;
  // Reused from step to step.
  std::vector<SampleRow> rows_;
  std::vector<LogprobRow> logprob_rows_;
  std::vector<int32_t> words_;
  std::vector<float> bias_values_;
  std::vector<SampleResult> results_;
  std::vector<char> read_;
};

}  // namespace vitrine::cuda
