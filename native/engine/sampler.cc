// Sampling state and the translation of a ForwardBatch's sampling sections into a plan and calls of the backend.
#include "engine/sampler.h"

#include "core/check.h"

namespace vitrine {
namespace {

template <class T>
std::span<const T> list_of(std::span<const int32_t> starts, std::span<const T> values, size_t request) {
  if (starts.empty()) return {};
  const auto begin = static_cast<size_t>(starts[request]);
  return values.subspan(begin, static_cast<size_t>(starts[request + 1]) - begin);
}

template <class T>
void set_if_given(T& to, std::span<const T> values, size_t request) {
  if (!values.empty()) to = values[request];
}

bool returns_logprob(const ForwardBatchView& batch, size_t row) {
  const auto request = static_cast<size_t>(batch.row_requests()[row]);
  return (batch.req_flags()[request] & layout::kFlagReturnLogprob) != 0;
}

}  // namespace

Sampler::Sampler(Backend& backend, Tracer& tracer, int32_t max_requests)
    : backend_(backend),
      tracer_(tracer),
      sample_site_(phase_site(tracer, "sample")),
      logprobs_site_(phase_site(tracer, "logprobs")),
      logits_site_(phase_site(tracer, "download_logits")),
      last_sampled_(backend.allocate(static_cast<size_t>(max_requests) * sizeof(int32_t))),
      slots_(static_cast<size_t>(max_requests)) {}

void Sampler::begin(const ForwardBatchView& batch) {
  ++steps_;
  for (size_t r = 0; r < batch.req_slots().size(); ++r) {
    Slot& slot = slots_[static_cast<size_t>(batch.req_slots()[r])];
    require(slot.last_step != steps_, "ForwardBatch.reqSlots[", r, "]: expected a slot of its own, got ",
            batch.req_slots()[r], ", which another request of the batch has");
    slot.last_step = steps_;
    if ((batch.req_flags()[r] & layout::kFlagResetSlot) != 0) {
      const auto history = list_of(batch.history_start(), batch.history_ids(), r);
      slot.history.assign(history.begin(), history.end());
      slot.has_token = false;
    }
  }
  const auto ids = batch.token_ids();
  for (size_t t = 0; t < ids.size(); ++t) {
    require(ids[t] >= 0 || slots_[static_cast<size_t>(-(ids[t] + 1))].has_token, "ForwardBatch.tokenIds[", t,
            "]: expected a slot in which a token was sampled, got slot ", -(ids[t] + 1));
  }
}

SampleParams Sampler::params_of(const ForwardBatchView& batch, size_t row) const {
  const auto r = static_cast<size_t>(batch.row_requests()[row]);
  SampleParams params;
  set_if_given(params.temperature, batch.temperature(), r);
  set_if_given(params.top_k, batch.top_k(), r);
  set_if_given(params.top_p, batch.top_p(), r);
  set_if_given(params.min_p, batch.min_p(), r);
  set_if_given(params.frequency_penalty, batch.frequency_penalty(), r);
  set_if_given(params.presence_penalty, batch.presence_penalty(), r);
  set_if_given(params.repetition_penalty, batch.repetition_penalty(), r);
  if (!batch.seeds().empty()) params.seed = batch.seeds()[2 * r] | (uint64_t{batch.seeds()[2 * r + 1]} << 32);
  params.position = batch.positions()[static_cast<size_t>(batch.row_tokens()[row])] + 1;
  params.history = slots_[static_cast<size_t>(batch.req_slots()[r])].history;
  params.bias_ids = list_of(batch.bias_start(), batch.bias_ids(), r);
  params.bias_values = list_of(batch.bias_start(), batch.bias_values(), r);
  return params;
}

void Sampler::plan(const ForwardBatchView& batch, int32_t slice_rows, StepOutput& output) {
  samples_.clear();
  logprobs_.clear();
  samples_done_ = logprobs_done_ = 0;
  for (size_t row = 0; row < batch.row_targets().size(); ++row) {
    const auto request = static_cast<size_t>(batch.row_requests()[row]);
    if (batch.row_targets()[row] < 0) {
      const int32_t slot = batch.req_slots()[request];
      slots_[static_cast<size_t>(slot)].has_token = true;
      samples_.push_back({static_cast<int32_t>(row) % slice_rows, params_of(batch, row), &output.sampled_id(request),
                          static_cast<int32_t*>(last_sampled_->data()) + slot});
    }
    if (returns_logprob(batch, row)) plan_logprobs(batch, row, slice_rows, output);
  }
  backend_.plan_sampling(samples_, logprobs_);
}

void Sampler::plan_logprobs(const ForwardBatchView& batch, size_t row, int32_t slice_rows, StepOutput& output) {
  const auto request = static_cast<size_t>(batch.row_requests()[row]);
  const int32_t target = batch.row_targets()[row];
  logprobs_.push_back({static_cast<int32_t>(row) % slice_rows,
                       target >= 0 ? target : -static_cast<int32_t>(samples_.size()),
                       static_cast<int32_t>(output.top_ids(row).size()),
                       list_of(batch.watch_start(), batch.watch_ids(), request), &output.row_logprob(row),
                       output.top_ids(row).data(), output.top_logprobs(row).data(), output.watch_logprobs(row).data()});
}

void Sampler::process(const ForwardBatchView& batch, const Tensor& logits, size_t first_row, StepOutput& output) {
  size_t samples = 0;
  size_t logprobs = 0;
  for (size_t row = first_row; row < first_row + static_cast<size_t>(logits.rows); ++row) {
    samples += batch.row_targets()[row] < 0 ? 1 : 0;
    logprobs += returns_logprob(batch, row) ? 1 : 0;
  }
  if (samples > 0) {
    const TraceScope scope(tracer_, sample_site_);
    backend_.sample(logits, samples_done_, samples);
    samples_done_ += samples;
  }
  if (logprobs > 0) {
    const TraceScope scope(tracer_, logprobs_site_);
    backend_.logprobs(logits, logprobs_done_, logprobs);
    logprobs_done_ += logprobs;
  }
  return_logits(logits, first_row, output);
}

void Sampler::return_logits(const Tensor& logits, size_t first_row, StepOutput& output) {
  for (int64_t i = 0; i < logits.rows; ++i) {
    const auto to = output.logits(first_row + static_cast<size_t>(i));
    if (to.empty()) continue;
    const TraceScope scope(tracer_, logits_site_);
    backend_.download(logits.rows_from(i, 1), to.data());
  }
}

void Sampler::finish(const ForwardBatchView& batch, StepOutput& output) {
  for (size_t r = 0; r < batch.req_slots().size(); ++r) {
    if ((batch.req_flags()[r] & layout::kFlagTrackHistory) == 0 || output.sampled_id(r) < 0) continue;
    slots_[static_cast<size_t>(batch.req_slots()[r])].history.push_back(output.sampled_id(r));
  }
}

}  // namespace vitrine
