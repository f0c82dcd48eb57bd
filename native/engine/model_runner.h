// One step from words to words: check the batch, run the model, sample, fill the output. Runs on the engine thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/backend.h"
#include "cache/paged_kv_cache.h"
#include "core/forward_batch.h"
#include "core/thread_pool.h"
#include "engine/sampler.h"
#include "engine/step.h"
#include "model/decoder_model.h"
#include "model/model_spec.h"
#include "model/weights.h"
#include "profiler/tracer.h"

namespace vitrine {

/// As in addon.ts.
struct CacheConfig {
  int32_t num_blocks = 0;
  int32_t block_size = 0;
  int32_t max_requests = 0;
  int32_t max_batch_tokens = 0;
  int32_t max_context_length = 0;
};

class ModelRunner {
 public:
  /// Allocates the KV cache and all workspaces. The references must outlive the runner.
  ModelRunner(const ModelSpec& spec, const Weights& weights, Backend& backend, ThreadPool& pool, Tracer& tracer,
              const CacheConfig& config);

  /// Throws Error when the batch is wrong or an op fails; the state of the slots is undefined afterwards.
  void run(Step& step);

  size_t kv_cache_bytes() const { return cache_.bytes(); }
  size_t workspace_bytes() const { return model_.workspace_bytes(); }

 private:
  BatchLimits limits_;
  Backend& backend_;
  Tracer& tracer_;
  const TraceSite validate_;
  const TraceSite lay_out_output_;
  const TraceSite synchronize_;
  PagedKvCache cache_;
  DecoderModel model_;
  Sampler sampler_;
};

}  // namespace vitrine
