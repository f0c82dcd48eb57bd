// Padding, capture and replay.
#include "engine/graph_runner.h"

#include <algorithm>
#include <exception>
#include <span>
#include <string>

#include "core/check.h"
#include "core/clock.h"

namespace vitrine {
namespace {

/// Offsets of a padded batch in words; those of one size never change, for its graph has them.
struct InputLayout {
  explicit InputLayout(int32_t requests) : size(static_cast<size_t>(requests)) {}

  size_t token_ids() const { return 0; }
  size_t positions() const { return size; }
  size_t kv_slots() const { return 2 * size; }
  size_t seq_lens() const { return 3 * size; }
  size_t query_start() const { return 4 * size; }
  size_t block_start() const { return 5 * size + 1; }
  size_t blocks() const { return 6 * size + 2; }

  size_t size;
};

}  // namespace

GraphRunner::GraphRunner(DecoderModel& model, Backend& backend, Tracer& tracer, const BatchLimits& limits,
                         const GraphConfig& config)
    : model_(model),
      backend_(backend),
      tracer_(tracer),
      block_size_(limits.block_size),
      padding_block_(limits.num_blocks),
      blocks_per_request_(static_cast<size_t>((limits.max_context_length + limits.block_size - 1) / limits.block_size)),
      stage_site_(phase_site(tracer, "stage_batch")) {
  const int32_t largest = std::min({limits.max_requests, limits.max_batch_tokens, model.max_logit_rows()});
  for (const int32_t requests : config.batch_sizes) {
    if (requests > largest) break;
    Size& size = sizes_.emplace_back();
    size.requests = requests;
    size.replay_site = phase_site(tracer, "cuda_graph_replay bs " + std::to_string(requests));
  }
  if (sizes_.empty()) return;
  const InputLayout layout(sizes_.back().requests);
  inputs_ = backend.allocate((layout.blocks() + layout.size * blocks_per_request_) * sizeof(int32_t));
}

int32_t GraphRunner::padded_size(int32_t requests) const {
  const auto found = std::ranges::lower_bound(sizes_, requests, {}, &Size::requests);
  return found == sizes_.end() ? 0 : found->requests;
}

bool GraphRunner::takes(const ForwardBatchView& batch) const {
  const int32_t requests = batch.num_requests();
  return batch.num_tokens() == requests && batch.num_logit_rows() == requests && padded_size(requests) > 0 &&
         batch.blocks().size() <= static_cast<size_t>(requests) * blocks_per_request_;
}

Tensor GraphRunner::run(const ForwardBatchView& batch, const int32_t* last_sampled) {
  Size& size = *std::ranges::lower_bound(sizes_, batch.num_requests(), {}, &Size::requests);
  const DeviceBatch padded = stage(batch, size.requests);
  if (size.graph == nullptr) return model_.forward(padded, last_sampled).first_rows(batch.num_requests());
  model_.plan(padded);
  const ReplayScope scope(tracer_, size.replay_site, size.ops, size.requests, {batch.query_start(), batch.seq_lens()});
  size.graph->replay();
  return size.logits.first_rows(batch.num_requests());
}

DeviceBatch GraphRunner::stage(const ForwardBatchView& batch, int32_t size) {
  const TraceScope scope(tracer_, stage_site_);
  const InputLayout layout(size);
  const auto requests = static_cast<size_t>(batch.num_requests());
  const size_t padding = layout.size - requests;
  words_.assign(layout.blocks(), 0);
  const auto put = [&](size_t offset, std::span<const int32_t> values) {
    std::ranges::copy(values, words_.begin() + static_cast<ptrdiff_t>(offset));
  };
  const auto pad = [&](size_t offset, int32_t value) { std::fill_n(&words_[offset] + requests, padding, value); };
  put(layout.token_ids(), batch.token_ids());
  put(layout.positions(), batch.positions());
  put(layout.kv_slots(), batch.kv_slots());
  pad(layout.kv_slots(), padding_block_ * block_size_);
  put(layout.seq_lens(), batch.seq_lens());
  pad(layout.seq_lens(), 1);
  put(layout.block_start(), batch.block_start());
  for (size_t r = 0; r <= layout.size; ++r) words_[layout.query_start() + r] = static_cast<int32_t>(r);
  for (size_t r = requests; r < layout.size; ++r) {
    words_[layout.block_start() + r + 1] = words_[layout.block_start() + r] + 1;
  }
  words_.insert(words_.end(), batch.blocks().begin(), batch.blocks().end());
  words_.insert(words_.end(), padding, padding_block_);
  return upload(size);
}

/// Nothing but padding.
DeviceBatch GraphRunner::stage_padding(int32_t size) {
  const InputLayout layout(size);
  words_.assign(layout.blocks(), 0);
  std::fill_n(&words_[layout.kv_slots()], layout.size, padding_block_ * block_size_);
  std::fill_n(&words_[layout.seq_lens()], layout.size, 1);
  for (size_t r = 0; r <= layout.size; ++r) {
    words_[layout.query_start() + r] = words_[layout.block_start() + r] = static_cast<int32_t>(r);
  }
  words_.insert(words_.end(), layout.size, padding_block_);
  return upload(size);
}

DeviceBatch GraphRunner::upload(int32_t size) {
  auto* const base = static_cast<int32_t*>(inputs_->data());
  backend_.upload_to(base, words_);
  const InputLayout layout(size);
  DeviceBatch device;
  device.num_tokens = device.num_rows = size;
  device.token_ids = base + layout.token_ids();
  device.positions = base + layout.positions();
  device.kv_slots = base + layout.kv_slots();
  device.row_tokens = base + layout.query_start();  // row i is token i
  device.attention = {size,
                      size,
                      base + layout.query_start(),
                      base + layout.seq_lens(),
                      base + layout.block_start(),
                      base + layout.blocks(),
                      &words_[layout.query_start()],
                      &words_[layout.seq_lens()]};
  return device;
}

GraphCost GraphRunner::capture(const int32_t* last_sampled) {
  const int64_t start_ns = monotonic_ns();
  const size_t available = backend_.available_bytes();
  for (auto size = sizes_.rbegin(); size != sizes_.rend(); ++size) {
    std::string why;
    try {
      capture(*size, last_sampled);
    } catch (const OutOfMemory& thrown) {
      throw OutOfMemory(sentence("the graph of batch size ", size->requests, ": ", thrown.what()));
    } catch (const std::exception& thrown) {
      why = thrown.what();
    }
    require(why.empty(), "cannot capture the graph of batch size ", size->requests, ": ", why);
  }
  const size_t left = backend_.available_bytes();
  return {sizes_.size(), available - std::min(available, left), static_cast<double>(monotonic_ns() - start_ns) / 1e9};
}

void GraphRunner::capture(Size& size, const int32_t* last_sampled) {
  // Once op by op: allocates scratch, chooses algorithms, loads kernels; none of it may happen within a capture.
  backend_.begin_step(StepMemory::kFixed);
  const DeviceBatch padding = stage_padding(size.requests);
  model_.forward(padding, last_sampled);
  backend_.end_step();
  backend_.finish_step();

  int32_t nodes = 0;
  const OpListener listener(tracer_, [&](const TraceSite& site) {
    const int32_t captured = backend_.captured_nodes();
    if (captured > nodes) size.ops.push_back({&site, captured - nodes});
    nodes = captured;
  });
  size.graph = backend_.capture([&] { size.logits = model_.run(padding, last_sampled); });
  require(size.graph != nullptr, "the backend ", backend_.name(), " has no graphs");
}

}  // namespace vitrine
