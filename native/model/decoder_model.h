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

class DecoderModel {
 public:
  /// All references must outlive the model. Allocates the activations of `max_tokens` and the rope table.
  DecoderModel(const ModelSpec& spec, const Weights& weights, const PagedKvCache& cache, Backend& backend,
               ThreadPool& pool, Tracer& tracer, int32_t max_tokens, int32_t max_positions);

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

  size_t workspace_bytes() const { return workspace_.bytes() + rope_.bytes(); }

 private:
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
