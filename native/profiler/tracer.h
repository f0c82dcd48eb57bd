// The engine's one way to say what it does: a TraceScope around each op, block and phase, which becomes a span where
// the step is recorded and an NVTX range where a tool listens. Where neither is the case a scope costs one predictable
// branch. Used by the engine thread alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/forward_batch.h"
#include "core/thread_pool.h"
#include "profiler/device_trace.h"
#include "profiler/nvtx.h"
#include "profiler/span_recorder.h"
#include "profiler/trace_site.h"

namespace vitrine {

class Tracer {
 public:
  /// `nvtx_markers`: emit ranges, if a tool is attached.
  explicit Tracer(ThreadPool& pool, bool nvtx_markers, size_t spans_per_step = SpanRecorder::kSpansPerStep)
      : recorder_(pool, spans_per_step), emits_ranges_(nvtx_markers && nvtx::tool_attached()), active_(emits_ranges_) {}

  /// Something listens.
  bool active() const { return active_; }
  uint32_t name_id(std::string_view name) { return recorder_.name_id(name); }
  SpanTables tables() const { return recorder_.tables(); }

  /// From now on the work of recorded steps on the device is kept for device_trace()->take(). Between steps.
  void start_device_trace(DeviceActivities& activities);
  void stop_device_trace() { device_trace_.reset(); }
  /// Null when it is not started.
  DeviceTrace* device_trace() const { return device_trace_.get(); }

 private:
  friend class TraceScope;
  friend class ReplayScope;
  friend class StepTrace;
  friend class OpListener;

  SpanRecorder recorder_;
  std::unique_ptr<DeviceTrace> device_trace_;
  std::vector<GraphReplay> replays_;  ///< of the step that runs
  const bool emits_ranges_;
  bool active_;
  std::string text_;  ///< of the range that is being pushed; kept for its memory
  std::function<void(const TraceSite&)> op_listener_;
};

/// Until it is destroyed, `on_op` hears of each op at the end of its scope: for a capture, which is no step.
class OpListener {
 public:
  OpListener(Tracer& tracer, std::function<void(const TraceSite&)> on_op) : tracer_(tracer) {
    tracer.op_listener_ = std::move(on_op);
    tracer.active_ = true;
  }
  ~OpListener() {
    tracer_.op_listener_ = nullptr;
    tracer_.active_ = tracer_.emits_ranges_;
  }
  OpListener(const OpListener&) = delete;
  OpListener& operator=(const OpListener&) = delete;

 private:
  Tracer& tracer_;
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
  /// Adds the operations of the op's products; before anything inside the scope is recorded.
  void add_flops(double flops);
  /// Likewise what the op moves, where its own schema has no word for it.
  void add_bytes(int64_t bytes);

 private:
  void open(Tracer& tracer, const TraceSite& site, std::initializer_list<TraceShape> inputs);
  void close();

  Tracer* tracer_ = nullptr;
  const TraceSite* site_ = nullptr;
  SpanRecord* record_ = nullptr;
};

/// Around the call that queues a captured graph: an op of its own, and the ops of the capture become those of what the
/// device then does.
class ReplayScope {
 public:
  /// `site`: a phase_site() named after the graph. `ops` in the order of capture, for `rows` rows. `lengths`: of the
  /// step's own requests.
  ReplayScope(Tracer& tracer, const TraceSite& site, std::span<const CapturedOp> ops, int64_t rows,
              const AttentionLengths& lengths);
  ~ReplayScope();
  ReplayScope(const ReplayScope&) = delete;
  ReplayScope& operator=(const ReplayScope&) = delete;

 private:
  TraceScope scope_;
  Tracer& tracer_;
  bool kept_ = false;
};

/// A step: a range of its own, and recorded when its batch asks for it. A step that throws leaves nothing open.
class StepTrace {
 public:
  /// The batch need not be a valid one.
  StepTrace(Tracer& tracer, const ForwardBatchView& batch, int64_t start_ns);
  ~StepTrace();
  StepTrace(const StepTrace&) = delete;
  StepTrace& operator=(const StepTrace&) = delete;

  /// The step's end, CLOCK_MONOTONIC: no span is after it. `chunk` gets the spans, nothing when none were recorded.
  int64_t finish(std::vector<SpanRecord>& chunk);

 private:
  Tracer& tracer_;
  const int32_t step_id_;
  const int64_t start_ns_;
};

/// A site of work that belongs to no module.
TraceSite phase_site(Tracer& tracer, std::string_view name);

}  // namespace vitrine
