// Parallel loops whose body knows its lane: each lane runs on one thread at a time and owns a scratch of its own.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "core/thread_pool.h"

namespace vitrine {

/// body(lane, begin, end), lane < pool.size(), for runs of neighbouring indices that are [0, count) together: long runs
/// first, so that a thread stays among neighbours, then shorter ones, so that all threads end together (guided
/// self-scheduling, Polychronopoulos and Kuck 1987). Serial, on the caller, unless `parallel`.
template <class Body>
void for_runs_in_lanes(ThreadPool& pool, bool parallel, int64_t count, Body&& body) {
  if (!parallel || count <= 1 || pool.size() == 1) {
    if (count > 0) body(int64_t{0}, int64_t{0}, count);
    return;
  }
  const int64_t shares = 2 * pool.size();
  std::atomic<int64_t> next{0};
  pool.parallel_for(pool.size(), [&](int64_t lane) {
    int64_t begin = next.load(std::memory_order_relaxed);
    while (begin < count) {
      const int64_t end = begin + std::max<int64_t>(1, (count - begin) / shares);
      if (!next.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
      body(lane, begin, end);
      begin = next.load(std::memory_order_relaxed);
    }
  });
}

/// body(lane, index) for index in [0, count), begun in this order: for indices whose costs differ, the dearest first.
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
