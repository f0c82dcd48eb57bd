// THE layer loop: one decoder-only transformer for every ModelSpec. Runs on the engine thread.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "cache/paged_kv_cache.h"
#include "core/thread_pool.h"
#include "model/decoder_sites.h"
#include "model/forward_context.h"
#include "model/model_spec.h"
#include "model/rope_cache.h"
#include "model/weights.h"
#include "model/workspace.h"
#include "profiler/tracer.h"

namespace vitrine {

/// The largest batches that will come.
struct DecoderLimits {
  int32_t max_tokens = 0;
  int32_t max_requests = 0;
  int32_t max_positions = 0;     ///< of a request
  int32_t max_bias_ids = 0;      ///< of a request
  int32_t max_row_logprobs = 0;  ///< numbers that a row gives beside its target's log-probability
};

class DecoderModel {
 public:
  /// All references must outlive the model. Allocates the activations and the rope table, and has the backend reserve
  /// what such steps need.
  DecoderModel(const ModelSpec& spec, const Weights& weights, const PagedKvCache& cache, Backend& backend,
               ThreadPool& pool, Tracer& tracer, const DecoderLimits& limits);

  /// Runs all layers; K and V of every token are in the cache afterwards. `last_sampled` [slots] resolves slot
  /// references; both are device memory. Returns the logits of the first rows, up to max_logit_rows() of them.
  Tensor forward(const DeviceBatch& batch, const int32_t* last_sampled);

  /// The two halves of forward(): what the host does for each batch, and the ops alone, which can be captured.
  void plan(const DeviceBatch& batch);
  Tensor run(const DeviceBatch& batch, const int32_t* last_sampled);

  /// Logits [count, vocab] of rows [first, first + count) of the last forward; valid until the next call.
  Tensor logits(int32_t first, int32_t count);
  /// Most rows of one logits() call.
  int32_t max_logit_rows() const { return static_cast<int32_t>(workspace_.logits.rows); }

  size_t workspace_bytes() const { return workspace_.bytes() + rope_.bytes() + backend_.scratch_bytes(); }

 private:
  AttentionShape attention_shape() const;
  StepLimits step_limits(const DecoderLimits& decoder) const;
  void run_layers(const ForwardContext& context);
  void run_layer(const ForwardContext& context, int32_t index);
  /// Nothing after the last attention mixes tokens: go on with those whose logits are wanted.
  void select_rows(const ForwardContext& context, Tensor& heads);

  const ModelSpec& spec_;
  const Weights& weights_;
  const PagedKvCache& cache_;
  Backend& backend_;
  Tracer& tracer_;
  const DecoderSites sites_;
  RopeCache rope_;
  Workspace workspace_;
  std::vector<std::vector<ExpertWeights>> experts_;  ///< [layers][experts]

  // The rows that are worked on: all tokens, and after the last attention those that become logits.
  Tensor residual_;
  Tensor delta_;
  Tensor normed_;
};

}  // namespace vitrine
