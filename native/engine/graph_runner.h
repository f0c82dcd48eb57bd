// Decode steps in a few sizes: a batch of single tokens is padded to the next capture size, and that step is either
// replayed from the graph it was captured in or, without graphs, run op by op. Both run the same ops on the same
// memory: graphs change no token. Runs on the engine thread.
//
// The padding is requests of their own, one token each, that read and write a block of the KV cache that belongs to
// nobody; nothing is sampled from them, and no request sees them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "core/forward_batch.h"
#include "model/decoder_model.h"
#include "profiler/captured_op.h"
#include "profiler/tracer.h"

namespace vitrine {

/// Which decode batches are padded to what, and whether they are captured.
struct GraphConfig {
  std::vector<int32_t> batch_sizes{};  ///< ascending; empty: no batch is padded
  bool capture = false;
};

/// What capturing at start-up took.
struct GraphCost {
  size_t count = 0;
  size_t bytes = 0;  ///< of device memory
  double seconds = 0;
};

class GraphRunner {
 public:
  /// `limits` name the cache's blocks without the padding's, which is the next one. The references must outlive it.
  GraphRunner(DecoderModel& model, Backend& backend, Tracer& tracer, const BatchLimits& limits,
              const GraphConfig& config);

  /// Captures a graph for every size, the largest first, so that memory which all of them use is allocated once.
  /// Throws Error naming the size whose capture failed.
  GraphCost capture(const int32_t* last_sampled);

  /// The size that `requests` are padded to; 0: too many, they run as they are.
  int32_t padded_size(int32_t requests) const;

  /// One token a request, each with a row of logits, and a size for so many.
  bool takes(const ForwardBatchView& batch) const;
  /// Queues a batch that it takes, in a step of StepMemory::kFixed. Returns the logits of the batch's rows.
  Tensor run(const ForwardBatchView& batch, const int32_t* last_sampled);

  /// A size and what its graph was captured from.
  struct Size {
    int32_t requests = 0;
    std::unique_ptr<OpGraph> graph;  ///< null: runs op by op
    Tensor logits;
    TraceSite replay_site;
    std::vector<CapturedOp> ops;
  };
  /// Ascending.
  const std::vector<Size>& sizes() const { return sizes_; }

 private:
  DeviceBatch stage(const ForwardBatchView& batch, int32_t size);
  DeviceBatch stage_padding(int32_t size);
  DeviceBatch upload(int32_t size);
  void capture(Size& size, const int32_t* last_sampled);

  DecoderModel& model_;
  Backend& backend_;
  Tracer& tracer_;
  const int32_t block_size_;
  const int32_t padding_block_;
  const size_t blocks_per_request_;  ///< of the longest sequence
  const TraceSite stage_site_;
  std::vector<Size> sizes_;
  std::unique_ptr<DeviceBuffer> inputs_;  ///< where the ops of every size find their batch
  std::vector<int32_t> words_;            ///< the padded batch, as it goes to inputs_
};

}  // namespace vitrine
