// Which pieces of the KV cache are asked for, and when it is enough.
#include "cache/kv_prefaulter.h"

#include <algorithm>
#include <atomic>

namespace vitrine {
namespace {

constexpr int64_t kPieceBytes = int64_t{2} << 20;        // a huge page
constexpr int64_t kMostAheadBytes = int64_t{128} << 20;  // of all regions together, but for whole pieces
constexpr int64_t kStepsAhead = 2;

}  // namespace

KvPrefaulter::KvPrefaulter(const PagedKvCache& cache, Backend& backend, ThreadPool& pool, int32_t step_tokens)
    : cache_(cache), backend_(backend), pool_(pool), regions_(2 * int64_t{cache.num_layers()}) {
  const KvLayer& layer = cache.layer(0);
  bytes_per_slot_ = int64_t{layer.num_kv_heads} * layer.head_dim * static_cast<int64_t>(dtype_size(layer.dtype));
  region_bytes_ = bytes_per_slot_ * layer.num_blocks * layer.block_size;
  ahead_bytes_ = std::min(kMostAheadBytes / regions_, kStepsAhead * step_tokens * bytes_per_slot_);
}

void KvPrefaulter::step_uses(std::span<const int32_t> kv_slots) {
  for (const int32_t slot : kv_slots) used_slots_ = std::max(used_slots_, int64_t{slot} + 1);
}

bool KvPrefaulter::advance() {
  if (used_slots_ == 0) return false;
  const int64_t used_bytes = used_slots_ * bytes_per_slot_;
  next_piece_ = std::max(next_piece_, used_bytes / kPieceBytes * regions_);  // steps got those themselves
  const int64_t wanted = std::min(region_bytes_, used_bytes + ahead_bytes_);
  const int64_t end = (wanted + kPieceBytes - 1) / kPieceBytes * regions_;
  if (!supported_ || next_piece_ >= end) return false;
  const int64_t count = std::min<int64_t>(pool_.size(), end - next_piece_);
  std::atomic<bool> done{true};
  pool_.parallel_for(count, [&](int64_t i) {
    const int64_t piece = next_piece_ + i;
    const KvLayer& layer = cache_.layer(static_cast<int32_t>(piece % regions_ / 2));
    const int64_t offset = piece / regions_ * kPieceBytes;
    char* const region = static_cast<char*>(piece % 2 == 0 ? layer.k : layer.v);
    const auto bytes = static_cast<size_t>(std::min(kPieceBytes, region_bytes_ - offset));
    if (!backend_.prefault(region + offset, bytes)) done.store(false, std::memory_order_relaxed);
  });
  supported_ = done.load(std::memory_order_relaxed);
  next_piece_ += count;
  return supported_;
}

}  // namespace vitrine
