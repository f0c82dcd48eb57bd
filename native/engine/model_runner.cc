// The two halves of a step.
#include "engine/model_runner.h"

#include <algorithm>
#include <vector>

#include "core/clock.h"

namespace vitrine {
namespace {

/// With one more block for the padding of decode steps, where they are padded.
std::vector<KvLayer> kv_layers(const ModelSpec& spec, const CacheConfig& config, bool pads) {
  const int64_t blocks = int64_t{config.num_blocks} + (pads ? 1 : 0);
  const KvLayer shape{nullptr,           nullptr,           spec.kv_cache.dtype, blocks,
                      config.block_size, spec.num_kv_heads, spec.head_dim};
  std::vector<KvLayer> layers(spec.layers.size(), shape);
  for (size_t i = 0; i < spec.kv_cache.scales.size(); ++i) {
    layers[i].k_scale = spec.kv_cache.scales[i].k;
    layers[i].v_scale = spec.kv_cache.scales[i].v;
  }
  return layers;
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
      plan_sampling_(phase_site(tracer, "plan_sampling")),
      cache_(backend, kv_layers(spec, config, backend.queues_steps())),
      prefaulter_(cache_, backend, pool, config.max_batch_tokens),
      model_(spec, weights, cache_, backend, pool, tracer,
             {config.max_batch_tokens, config.max_requests, config.max_context_length, config.max_bias_ids,
              config.max_row_logprobs}),
      sampler_(backend, tracer, config.max_requests) {
  if (!backend.queues_steps()) return;
  graphs_ = std::make_unique<GraphRunner>(model_, backend, tracer, limits_, config.graphs);
  if (config.graphs.capture) graph_cost_ = graphs_->capture(sampler_.last_sampled());
}

void ModelRunner::launch(Step& step) {
  const int64_t start_ns = monotonic_ns();
  const ForwardBatchView batch(step.batch);
  StepTrace trace(tracer_, batch, start_ns);
  {
    const TraceScope scope(tracer_, validate_);
    batch.validate(limits_);
    sampler_.begin(batch);
    prefaulter_.step_uses(batch.kv_slots());
  }
  StepOutput output = [&] {
    const TraceScope scope(tracer_, lay_out_output_);
    return StepOutput(batch, limits_.vocab_size, step.output);
  }();
  const bool padded = graphs_ != nullptr && graphs_->takes(batch);
  backend_.begin_step(padded ? StepMemory::kFixed : StepMemory::kShared);
  {
    const TraceScope scope(tracer_, plan_sampling_);
    sampler_.plan(batch, model_.max_logit_rows(), output);
  }
  Tensor logits = padded ? graphs_->run(batch, sampler_.last_sampled())
                         : model_.forward(on_device(batch, backend_), sampler_.last_sampled());
  for (int32_t first = 0; first < batch.num_logit_rows();) {
    sampler_.process(batch, logits, static_cast<size_t>(first), output);
    first += static_cast<int32_t>(logits.rows);
    const int32_t left = batch.num_logit_rows() - first;
    if (left > 0) logits = model_.logits(first, std::min(model_.max_logit_rows(), left));
  }
  backend_.end_step();
  const int64_t launched_ns = trace.finish(step.spans);
  launched_.push_back({start_ns, launched_ns, output});
}

void ModelRunner::finish(Step& step) {
  Launched launched = launched_.front();
  launched_.pop_front();
  backend_.finish_step();
  sampler_.finish(ForwardBatchView(step.batch), launched.output);
  const int64_t end_ns = backend_.queues_steps() ? monotonic_ns() : launched.launched_ns;
  launched.output.set_times(launched.start_ns, launched.launched_ns, end_ns);
}

}  // namespace vitrine
