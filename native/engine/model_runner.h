// One step from words to words, in two halves: launch() checks the batch and queues its ops, finish() waits for what
// they give and completes the output. Runs on the engine thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "backend/backend.h"
#include "cache/kv_prefaulter.h"
#include "cache/paged_kv_cache.h"
#include "core/forward_batch.h"
#include "core/thread_pool.h"
#include "engine/graph_runner.h"
#include "engine/sampler.h"
#include "engine/step.h"
#include "engine/step_output.h"
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
  GraphConfig graphs{};  ///< where the backend has none: no batch is padded
  int32_t max_bias_ids = 0;
  int32_t max_row_logprobs = 0;
};

class ModelRunner {
 public:
  /// Allocates the KV cache and all workspaces, and captures graphs. The references must outlive the runner.
  ModelRunner(const ModelSpec& spec, const Weights& weights, Backend& backend, ThreadPool& pool, Tracer& tracer,
              const CacheConfig& config);

  /// How many steps may be launched before the oldest is finished: 1 where ops are done on return.
  size_t most_launched() const { return backend_.queues_steps() ? 2 : 1; }
  /// The step samples by what steps before it generate: they must be finished before it is launched. For any words.
  static bool needs_finished(const Step& step) { return ForwardBatchView(step.batch).tracks_history(); }

  /// `step` must stay until it is finished. Throws Error when the batch is wrong or an op fails; nothing can be
  /// launched afterwards, but what was launched before can be finished.
  void launch(Step& step);
  /// The oldest launched step is done: finish() will not wait.
  bool step_done() const { return backend_.step_done(); }
  /// The oldest launched step. Throws Error for what was found wrong while it ran.
  void finish(Step& step);

  /// Does a few milliseconds of what later steps would wait for; false when there is nothing to do.
  bool prepare_ahead() { return prefaulter_.advance(); }

  size_t kv_cache_bytes() const { return cache_.bytes(); }
  size_t workspace_bytes() const { return model_.workspace_bytes(); }
  const GraphCost& graph_cost() const { return graph_cost_; }
  /// Null where the backend has no graphs.
  const GraphRunner* graphs() const { return graphs_.get(); }

 private:
  struct Launched {
    int64_t start_ns;
    int64_t launched_ns;
    StepOutput output;
  };

  BatchLimits limits_;
  Backend& backend_;
  Tracer& tracer_;
  const TraceSite validate_;
  const TraceSite lay_out_output_;
  const TraceSite plan_sampling_;
  PagedKvCache cache_;
  KvPrefaulter prefaulter_;
  DecoderModel model_;
  Sampler sampler_;
  std::unique_ptr<GraphRunner> graphs_;
  GraphCost graph_cost_;
  std::deque<Launched> launched_;  ///< oldest first
};

}  // namespace vitrine
