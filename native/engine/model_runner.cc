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
  device.attention = {batch.num_requests(), batch.num_tokens(),      at(batch.query_start()),
                      at(batch.seq_lens()), at(batch.block_start()), at(batch.blocks())};
  return device;
}

}  // namespace

ModelRunner::ModelRunner(const ModelSpec& spec, const Weights& weights, Backend& backend, ThreadPool& pool,
                         const CacheConfig& config)
    : limits_{spec.vocab_size,     config.num_blocks,       config.block_size,
              config.max_requests, config.max_batch_tokens, config.max_context_length},
      backend_(backend),
      cache_(backend, spec.num_layers(), kv_shape(spec, config)),
      model_(spec, weights, cache_, backend, pool, config.max_batch_tokens, config.max_context_length),
      sampler_(backend, config.max_requests) {}

void ModelRunner::run(Step& step) {
  const int64_t start_ns = monotonic_ns();
  const ForwardBatchView batch(step.batch);
  batch.validate(limits_);
  sampler_.begin(batch);
  StepOutput output(batch, limits_.vocab_size, step.output);

  model_.forward(on_device(batch, backend_), sampler_.last_sampled());
  for (int32_t first = 0; first < batch.num_logit_rows(); first += model_.max_logit_rows()) {
    const int32_t count = std::min(model_.max_logit_rows(), batch.num_logit_rows() - first);
    sampler_.process(batch, model_.logits(first, count), static_cast<size_t>(first), output);
  }
  backend_.synchronize();
  output.set_times(start_ns, monotonic_ns());
}

}  // namespace vitrine
