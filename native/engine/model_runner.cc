// A step of the engine.
#include "engine/model_runner.h"

#include <algorithm>

#include "core/clock.h"
#include "engine/step_output.h"

namespace vitrine {
namespace {

KvLayer kv_shape(const ModelSpec& spec, const CacheConfig& config) {
  return {nullptr, nullptr, spec.dtype, config.num_blocks, config.block_size, spec.num_kv_heads, spec.head_dim};
}

DeviceBatch on_device(const ForwardBatchView& batch, Backend& backend) {
  const int32_t* base = backend.upload(batch.all_words());
  const auto at = [&](std::span<const int32_t> section) { return base + (section.data() - batch.all_words().data()); };
  DeviceBatch device;
  device.num_tokens = batch.num_tokens();
  device.num_rows = batch.num_logit_rows();
  device.token_ids = at(batch.token_ids());
  device.positions = at(batch.positions());
  device.kv_slots = at(batch.kv_slots());
  device.row_tokens = at(batch.row_tokens());
  device.attention = {batch.num_requests(),    batch.num_tokens(), at(batch.query_start()),    at(batch.seq_lens()),
                      at(batch.block_start()), at(batch.blocks()), batch.query_start().data(), batch.seq_lens().data()};
  return device;
}

}  // namespace

ModelRunner::ModelRunner(const ModelSpec& spec, const Weights& weights, Backend& backend, ThreadPool& pool,
                         Tracer& tracer, const CacheConfig& config)
    : limits_{spec.vocab_size,     config.num_blocks,       config.block_size,
              config.max_requests, config.max_batch_tokens, config.max_context_length},
      backend_(backend),
      tracer_(tracer),
      validate_(phase_site(tracer, "validate_batch")),
      lay_out_output_(phase_site(tracer, "lay_out_output")),
      synchronize_(phase_site(tracer, "synchronize")),
      cache_(backend, spec.num_layers(), kv_shape(spec, config)),
      model_(spec, weights, cache_, backend, pool, tracer, config.max_batch_tokens, config.max_requests,
             config.max_context_length),
      sampler_(backend, tracer, config.max_requests) {}

void ModelRunner::run(Step& step) {
  const int64_t start_ns = monotonic_ns();
  const ForwardBatchView batch(step.batch);
  StepTrace trace(tracer_, batch, start_ns);
  {
    const TraceScope scope(tracer_, validate_);
    batch.validate(limits_);
    sampler_.begin(batch);
  }
  StepOutput output = [&] {
    const TraceScope scope(tracer_, lay_out_output_);
    return StepOutput(batch, limits_.vocab_size, step.output);
  }();
  Tensor logits = model_.forward(on_device(batch, backend_), sampler_.last_sampled());
  for (int32_t first = 0; first < batch.num_logit_rows();) {
    sampler_.process(batch, logits, static_cast<size_t>(first), output);
    first += static_cast<int32_t>(logits.rows);
    const int32_t left = batch.num_logit_rows() - first;
    if (left > 0) logits = model_.logits(first, std::min(model_.max_logit_rows(), left));
  }
  {
    const TraceScope scope(tracer_, synchronize_);
    backend_.synchronize();
  }
  output.set_times(start_ns, trace.finish(step.spans));
}

}  // namespace vitrine
