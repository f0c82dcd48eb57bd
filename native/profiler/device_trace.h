// Turns what a device tells of its work into records of the steps that queued it: kernels and copies on tracks of their
// streams, the calls of CUDA on those of their threads, an arrow from each call to its work, and on each piece of work
// the op, module and layer that it belongs to and what it reached.
//
// Work belongs to the step in whose time on the engine thread its call was made. In a step that ran op by op it belongs
// to the op in whose span its call lies; the work of a replayed graph is told apart by its order, which is that of the
// capture.
//
// The engine thread adds steps as they are launched; another thread takes records. A step's records are given out once
// work of a later step has been seen: what a device tells comes in the order of its stream, late.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/device_activity.h"
#include "profiler/captured_op.h"
#include "profiler/op_work.h"
#include "profiler/span_record.h"
#include "profiler/span_recorder.h"

namespace vitrine {

/// A captured graph that a step queued.
struct GraphReplay {
  int64_t begin_ns = 0;  ///< around the call, CLOCK_MONOTONIC
  int64_t end_ns = 0;
  std::vector<CapturedOp> ops;
  int64_t rows = 0;                  ///< of the capture
  std::vector<int32_t> query_start;  ///< AttentionLengths of the step
  std::vector<int32_t> seq_lens;
};

struct DeviceTraceBatch {
  struct Step {
    int32_t step_id = 0;
    std::vector<SpanRecord> host;    ///< a chunk, of the process that the engine runs in
    std::vector<SpanRecord> device;  ///< a chunk, of the device
  };
  uint32_t device = 0;
  SpanTables host_tables;  ///< what they gained since the last batch
  SpanTables device_tables;
  std::vector<Step> steps;
};

class DeviceTrace {
 public:
  static constexpr size_t kBatch = 8192;            ///< activities that take() waits for
  static constexpr size_t kMost = size_t{1} << 20;  ///< that wait for their steps; then those are complete as they are

  /// `names`: what the records of steps refer to.
  DeviceTrace(DeviceActivities& source, int engine_tid, std::vector<std::string> names);

  // --- the engine thread, in the order of steps -----------------------------------------------------------------
  /// A recorded step: it queued its work between the two times. `spans`: of the engine thread, counted from `base_ns`.
  void add_step(int32_t step_id, int64_t begin_ns, int64_t end_ns, int64_t base_ns, std::span<const SpanRecord> spans,
                std::vector<GraphReplay> replays);
  /// A step that is not recorded began then.
  void pass_step(int64_t begin_ns);

  // --- one thread at a time ---------------------------------------------------------------------------------------
  /// Records of steps that are complete. `all`: of all that were added; the device has done their work and told of it.
  DeviceTraceBatch take(bool all);

 private:
  struct Op {
    uint32_t name = 0;
    std::optional<uint32_t> module;
    int16_t layer = -1;
    OpWork work;
    int64_t begin_ns = 0;
    int64_t end_ns = 0;
    int64_t busy_ns = 0;  ///< of its work on the device
  };
  /// A call that was made in a step, and what it queued.
  struct Call {
    const DeviceActivity* call = nullptr;
    std::vector<const DeviceActivity*> work;
    std::vector<const DeviceActivity*> waits;
    bool has_arrow = false;
  };
  struct Step {
    int32_t id = 0;
    int64_t begin_ns = 0;
    int64_t end_ns = 0;
    std::vector<Op> ops;  ///< by their begin
    std::vector<GraphReplay> replays;
    bool ready = false;                        ///< to be given out
    std::unordered_map<uint32_t, Call> calls;  ///< then: by correlation
  };
  struct Tables {
    SpanTables fresh;  ///< since the last batch
    uint32_t names = 0;
    std::unordered_map<std::string, uint32_t> name_ids;
    std::unordered_map<const void*, uint32_t> pointer_ids;  ///< of activities' names
    std::unordered_map<uint32_t, uint16_t> threads;         ///< by tid
    uint32_t name(const std::string& text);
    uint16_t thread(uint32_t tid, const std::string& name);
  };
  /// Where the next span of a track may begin.
  struct Track {
    int64_t last_begin = 0;
    int64_t last_end = 0;
  };
  /// A piece of work, and its op where it has one.
  struct Placed {
    const DeviceActivity* work = nullptr;
    Op* op = nullptr;
    Call* call = nullptr;  ///< of its first work alone: the arrow ends there
    std::string note;      ///< why it has no op
  };

  DeviceTraceBatch::Step convert(Step& step, uint32_t& device);
  void place(Step& step, std::vector<Op>& replayed, Call& call, std::vector<Placed>& placed);
  void write_calls(const Step& step, const std::vector<Call>& calls, int64_t base_ns, std::vector<SpanRecord>& chunk);
  void write_work(std::vector<Placed>& placed, int64_t base_ns, std::vector<SpanRecord>& chunk);
  void write_waits(const std::vector<Call>& calls, int64_t base_ns, std::vector<SpanRecord>& chunk);
  void write_op(const Op& op, std::vector<SpanRecord>& chunk);
  Op op_of(const SpanRecord& record) const;
  uint32_t activity_name(const DeviceActivity& activity);

  DeviceActivities& source_;
  const uint32_t engine_tid_;
  const std::vector<std::string> op_names_;
  const double multiprocessors_;

  std::mutex mutex_;  ///< of the two below
  std::deque<Step> added_;
  int64_t last_begin_ns_ = 0;  ///< of a step

  // Of the thread that takes.
  std::deque<Step> steps_;
  std::vector<DeviceActivity> activities_;  ///< whose steps are not complete, or not known
  uint64_t dropped_ = 0;
  Tables host_;
  Tables device_;
  std::unordered_map<uint32_t, Track> host_tracks_;  ///< by tid
  std::unordered_map<uint32_t, Track> device_tracks_;
};

}  // namespace vitrine
