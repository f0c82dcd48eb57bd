// A parallel loop whose body knows its lane: each lane runs on one thread at a time and owns a scratch of its own.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/thread_pool.h"

namespace vitrine {

/// body(lane, index) for index in [0, count), lane < pool.size(). Serial, on the caller, unless `parallel`.
template <class Body>
void for_each_in_lanes(ThreadPool& pool, bool parallel, int64_t count, Body&& body) {
  if (!parallel || count <= 1 || pool.size() == 1) {
    for (int64_t i = 0; i < count; ++i) body(int64_t{0}, i);
    return;
  }
  std::atomic<int64_t> next{0};
  pool.parallel_for(pool.size(), [&](int64_t lane) {
    for (int64_t i = next.fetch_add(1, std::memory_order_relaxed); i < count;
         i = next.fetch_add(1, std::memory_order_relaxed)) {
      body(lane, i);
    }
  });
}

}  // namespace vitrine
