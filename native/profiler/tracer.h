// The engine's one way to say what it does: a TraceScope around each op, block and phase. Where nothing listens a scope
// costs one predictable branch. Used by the engine thread alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "core/thread_pool.h"
#include "profiler/span_recorder.h"
#include "profiler/trace_site.h"

namespace vitrine {

class Tracer {
 public:
  explicit Tracer(ThreadPool& pool, size_t spans_per_step = SpanRecorder::kSpansPerStep)
      : recorder_(pool, spans_per_step) {}

  /// Something listens: open scopes.
  bool active() const { return recorder_.recording(); }
  SpanRecorder& recorder() { return recorder_; }

 private:
  SpanRecorder recorder_;
};

/// A span from here to the end of the scope. `inputs`: what the op or module is given, anything that trace_shape()
/// takes; the first counts as the rows that a record's bytes grow with.
class TraceScope {
 public:
  template <class... Inputs>
  TraceScope(Tracer& tracer, const TraceSite& site, const Inputs&... inputs) {
    if (tracer.active()) [[unlikely]]
      open(tracer, site, {trace_shape(inputs)...});
  }
  ~TraceScope() {
    if (tracer_ != nullptr) [[unlikely]]
      close();
  }
  TraceScope(const TraceScope&) = delete;
  TraceScope& operator=(const TraceScope&) = delete;

  /// For what the site does not know; null where nothing is recorded.
  SpanRecord* record() const { return record_; }

 private:
  void open(Tracer& tracer, const TraceSite& site, std::initializer_list<TraceShape> inputs);
  void close();

  Tracer* tracer_ = nullptr;
  SpanRecord* record_ = nullptr;
  bool is_op_ = false;
};

/// A step: recorded when asked for. A step that throws leaves nothing open.
class StepTrace {
 public:
  StepTrace(Tracer& tracer, int64_t start_ns, bool record);
  ~StepTrace();
  StepTrace(const StepTrace&) = delete;
  StepTrace& operator=(const StepTrace&) = delete;

  /// The step's end, CLOCK_MONOTONIC: no span is after it. `chunk` gets the spans, nothing when none were recorded.
  int64_t finish(std::vector<SpanRecord>& chunk);

 private:
  SpanRecorder& recorder_;
};

/// A site of work that belongs to no module.
TraceSite phase_site(Tracer& tracer, const char* name);

}  // namespace vitrine
