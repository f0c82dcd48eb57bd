// Records the spans of a step, as the batch asks for it: those of the engine thread through open() and close(), those
// of the pool's workers as they take part in parallel loops. Steady state: no lock, no allocation, one clock reading an
// op.
//
// Ops follow each other without a gap: what one begins with is the clock reading that the one before ended with, so
// that the children of a step account for all of its time and recording one costs half of what it could.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/clock.h"
#include "core/thread_pool.h"
#include "profiler/span_buffer.h"
#include "profiler/trace_site.h"

namespace vitrine {

/// What the numbers in records stand for.
struct SpanTables {
  struct Thread {
    int tid = 0;  ///< the kernel's
    std::string name;
  };
  std::vector<std::string> names;
  std::vector<Thread> threads;  ///< the engine thread first, then the workers
};

/// Belongs to the engine thread, which is also the one that constructs it.
class SpanRecorder final : private ThreadPool::Observer {
 public:
  static constexpr size_t kSpansPerStep = 65536;  ///< of each thread; more are counted as dropped

  explicit SpanRecorder(ThreadPool& pool, size_t spans_per_step = kSpansPerStep);
  ~SpanRecorder() { pool_.observe(nullptr); }

  /// The number of a name, at start-up.
  uint32_t name_id(std::string_view name);
  SpanTables tables() const;

  /// All spans begin after `start_ns`.
  void start(int64_t start_ns);
  bool recording() const { return recording_; }

  /// A span that begins now; null when the buffer is full. Spans are closed in the reverse order.
  SpanRecord* open(const TraceSite& site) {
    cursor_ = std::max(cursor_, last_begin_ + 1);
    last_begin_ = cursor_;
    if (site.is_op) op_ = &site.record;
    SpanRecord* record = engine_.append();
    if (record == nullptr) return nullptr;
    *record = site.record;
    record->begin = cursor_;
    return record;
  }

  void close(SpanRecord* record, bool is_op) {
    if (is_op) cursor_ = std::max(cursor_, monotonic_ns() - base_ns_);
    if (record != nullptr) record->end = cursor_;
  }

  /// Of the op that was opened last, which has nothing inside yet.
  void add_flops(double flops);
  void add_bytes(int64_t bytes);

  /// Ends recording. Returns the step's end, CLOCK_MONOTONIC: no span is after it.
  int64_t stop();
  /// Ends recording in a step that failed.
  void cancel();
  /// The records since start() as a chunk, its header in the place of the first record. Between stop() and start().
  void write_chunk(std::vector<SpanRecord>& chunk) const;
  /// Those of the engine thread; their times count from base_ns().
  std::span<const SpanRecord> engine_spans() const { return engine_.records(); }
  int64_t base_ns() const { return base_ns_; }

 private:
  struct WorkerSpans {
    SpanBuffer buffer;
    int64_t last_begin = 0;
    int64_t last_end = 0;
  };

  SpanRecord* add_more(uint16_t schema);
  void worked(int worker, int64_t begin_ns, int64_t end_ns) override;

  ThreadPool& pool_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, uint32_t> ids_;
  int engine_tid_;

  bool recording_ = false;
  const int64_t base_ns_;  ///< records count from it: one base for all steps, so that their chunks can be joined
  int64_t cursor_ = 0;     ///< latest clock reading
  int64_t last_begin_ = 0;
  const SpanRecord* op_ = nullptr;  ///< the op that runs; read by workers inside its loops
  SpanBuffer engine_;
  std::vector<WorkerSpans> workers_;
};

}  // namespace vitrine
