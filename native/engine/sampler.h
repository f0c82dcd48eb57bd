// What outlives a step: the token last sampled in each request slot and, for penalties, the tokens generated there.
// Turns logits into sampled tokens and log-probabilities. Runs on the engine thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "core/forward_batch.h"
#include "engine/step_output.h"
#include "profiler/tracer.h"

namespace vitrine {

class Sampler {
 public:
  Sampler(Backend& backend, Tracer& tracer, int32_t max_requests);

  /// Device memory [slots]; what -(slot + 1) among the token ids refers to.
  const int32_t* last_sampled() const { return static_cast<const int32_t*>(last_sampled_->data()); }

  /// Before the forward pass: resets slots and checks slot references. Throws Error: a slot used by two requests, a
  /// reference to a slot that has no token.
  void begin(const ForwardBatchView& batch);

  /// Before the forward pass: tells the backend what will be made of the logits, of which process() gets `slice_rows`
  /// rows at a time.
  void plan(const ForwardBatchView& batch, int32_t slice_rows, StepOutput& output);

  /// Rows [first_row, first_row + logits.rows) of the batch, in order from row 0.
  void process(const ForwardBatchView& batch, const Tensor& logits, size_t first_row, StepOutput& output);

  /// When the step is finished, in the order of steps: keeps its tokens for the penalties of later ones.
  void finish(const ForwardBatchView& batch, StepOutput& output);

 private:
  struct Slot {
    int64_t last_step = 0;
    bool has_token = false;
    std::vector<int32_t> history;
  };

  SampleParams params_of(const ForwardBatchView& batch, size_t row) const;
  void plan_logprobs(const ForwardBatchView& batch, size_t row, int32_t slice_rows, StepOutput& output);
  void return_logits(const Tensor& logits, size_t first_row, StepOutput& output);

  Backend& backend_;
  Tracer& tracer_;
  const TraceSite sample_site_;
  const TraceSite logprobs_site_;
  const TraceSite logits_site_;
  std::unique_ptr<DeviceBuffer> last_sampled_;
  std::vector<Slot> slots_;
  int64_t steps_ = 0;

  // Of the step that is being launched; reused from step to step.
  std::vector<SampleRequest> samples_;
  std::vector<LogprobRequest> logprobs_;
  size_t samples_done_ = 0;
  size_t logprobs_done_ = 0;
};

}  // namespace vitrine
