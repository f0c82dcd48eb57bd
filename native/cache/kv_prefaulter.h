// Pages of the KV cache before they are needed. The kernel gives memory on the first write and clears it then, huge
// pages at a time: at the block where all layers come to their next page, a step would wait for tens of milliseconds.
// From the first step on, the memory of the blocks that the next steps may need is asked for between steps, no more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "backend/backend.h"
#include "cache/paged_kv_cache.h"
#include "core/thread_pool.h"

namespace vitrine {

class KvPrefaulter {
 public:
  /// The references must outlive it.
  /// The largest step writes `step_tokens` slots.
  KvPrefaulter(const PagedKvCache& cache, Backend& backend, ThreadPool& pool, int32_t step_tokens);

  /// A step writes to these slots.
  void step_uses(std::span<const int32_t> kv_slots);
  /// Asks for one piece of 2 MiB a thread. False when enough is there.
  bool advance();

 private:
  const PagedKvCache& cache_;
  Backend& backend_;
  ThreadPool& pool_;
  int64_t regions_;         ///< K and V of every layer
  int64_t bytes_per_slot_;  ///< of a region
  int64_t region_bytes_;
  int64_t ahead_bytes_;     ///< of a region
  int64_t used_slots_ = 0;  ///< all that were ever used lie below: low blocks are handed out first
  int64_t next_piece_ = 0;  ///< pieces in order of their offset in a region, region by region
  bool supported_ = true;
};

}  // namespace vitrine
