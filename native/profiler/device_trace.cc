// The rules for records are those of span-layout.ts: spans of a track nest, begins increase.
#include "profiler/device_trace.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <tuple>
#include <type_traits>
#include <utility>

#include "core/placement.h"
#include "profiler/kernel_name.h"

namespace vitrine {
namespace {

using namespace span_layout;

/// Records count from so long before their step: device clocks are mapped to the host's, and not to the nanosecond.
constexpr int64_t kBaseLeadNs = 1'000'000'000;
/// By how much a call's record may be moved so that begins on its thread increase.
constexpr int64_t kArrowLeadNs = 10;
/// Waits lie beside their stream, with whose kernels they would not nest.
constexpr uint32_t kWaitTids = 1'000'000;

std::vector<SpanRecord> begin_chunk(int64_t base_ns) {
  SpanChunkHeader header;
  header.base_ns = base_ns;
  std::vector<SpanRecord> chunk(1);
  std::memcpy(static_cast<void*>(chunk.data()), &header, sizeof(header));
  return chunk;
}

void set_dropped(std::vector<SpanRecord>& chunk, uint64_t dropped) {
  const auto count = static_cast<uint32_t>(std::min<uint64_t>(dropped, UINT32_MAX));
  std::memcpy(reinterpret_cast<char*>(chunk.data()) + kHeaderDropped, &count, sizeof(count));
}

SpanRecord& append(std::vector<SpanRecord>& chunk, uint8_t kind, uint8_t category, uint16_t schema) {
  SpanRecord& record = chunk.emplace_back();
  record = SpanRecord{};
  record.kind = kind;
  record.category = category;
  record.schema = schema;
  record.layer = -1;
  return record;
}

SpanRecord& append_more(std::vector<SpanRecord>& chunk, uint16_t schema) {
  return append(chunk, kKindMore, kCategoryKernel, schema);
}

/// A point of an arrow from a call to its work.
void append_arrow(std::vector<SpanRecord>& chunk, uint8_t kind, uint16_t thread, uint32_t name, int64_t at,
                  uint32_t correlation) {
  SpanRecord& record = append(chunk, kind, kCategoryAc2g, kSchemaNone);
  record.thread = thread;
  record.name = name;
  record.begin = record.end = at;
  record.id = correlation;
}

uint32_t float_word(double value) { return std::bit_cast<uint32_t>(static_cast<float>(value)); }

uint8_t category_of(ActivityKind kind) {
  switch (kind) {
    case ActivityKind::kKernel: return kCategoryKernel;
    case ActivityKind::kCopy: return kCategoryGpuMemcpy;
    case ActivityKind::kSet: return kCategoryGpuMemset;
    case ActivityKind::kRuntimeCall: return kCategoryCudaRuntime;
    case ActivityKind::kDriverCall: return kCategoryCudaDriver;
    case ActivityKind::kWait: return kCategoryCudaSync;
  }
  return kCategoryKernel;
}

/// Of steps, or of a step's ops, which are in order and do not overlap: the one that ran then; null for none.
template <class Intervals>
auto* at_time(Intervals& intervals, int64_t ns) {
  using Interval = std::remove_reference_t<decltype(*intervals.begin())>;
  const auto after = std::upper_bound(intervals.begin(), intervals.end(), ns,
                                      [](int64_t time, const Interval& one) { return time < one.begin_ns; });
  Interval* found = after == intervals.begin() ? nullptr : &*std::prev(after);
  return found != nullptr && ns <= found->end_ns ? found : nullptr;
}

}  // namespace

uint32_t DeviceTrace::Tables::name(const std::string& text) {
  const auto [found, added] = name_ids.try_emplace(text, names);
  if (added) {
    fresh.names.push_back(text);
    ++names;
  }
  return found->second;
}

uint16_t DeviceTrace::Tables::thread(uint32_t tid, const std::string& name) {
  const auto [found, added] = threads.try_emplace(tid, static_cast<uint16_t>(threads.size()));
  if (added) fresh.threads.push_back({static_cast<int>(tid), name});
  return found->second;
}

DeviceTrace::DeviceTrace(DeviceActivities& source, int engine_tid, std::vector<std::string> names)
    : source_(source),
      engine_tid_(static_cast<uint32_t>(engine_tid)),
      op_names_(std::move(names)),
      multiprocessors_(source.multiprocessors()) {}

DeviceTrace::Op DeviceTrace::op_of(const SpanRecord& record) const {
  Op op;
  op.name = record.name;
  op.layer = record.layer;
  op.work = recorded_work(record);
  op.module = module_of(record);
  return op;
}

void DeviceTrace::add_step(int32_t step_id, int64_t begin_ns, int64_t end_ns, int64_t base_ns,
                           std::span<const SpanRecord> spans, std::vector<GraphReplay> replays) {
  Step step;
  step.id = step_id;
  step.begin_ns = begin_ns;
  step.end_ns = end_ns;
  step.replays = std::move(replays);
  for (const SpanRecord& record : spans) {
    if (record.kind == kKindSpan && record.category == kCategoryCpuOp) {
      Op& op = step.ops.emplace_back(op_of(record));
      op.begin_ns = base_ns + record.begin;
      op.end_ns = base_ns + record.end;
    } else if (record.kind == kKindMore && !step.ops.empty()) {
      const uint64_t bits = uint64_t{record.args[1]} << 32 | record.args[0];
      if (record.schema == kSchemaFlops) step.ops.back().work.flops = std::bit_cast<double>(bits);
      if (record.schema == kSchemaBytes) step.ops.back().work.bytes = static_cast<int64_t>(bits);
    }
  }
  const std::lock_guard lock(mutex_);
  added_.push_back(std::move(step));
  last_begin_ns_ = begin_ns;
}

void DeviceTrace::pass_step(int64_t begin_ns) {
  const std::lock_guard lock(mutex_);
  last_begin_ns_ = begin_ns;
}

DeviceTraceBatch DeviceTrace::take(bool all) {
  DeviceTraceBatch batch;
  dropped_ += source_.take(activities_);
  if (!all && activities_.size() < kBatch) return batch;
  all = all || activities_.size() > kMost;
  int64_t nobodys_before = 0;
  {
    const std::lock_guard lock(mutex_);
    steps_.insert(steps_.end(), std::move_iterator(added_.begin()), std::move_iterator(added_.end()));
    added_.clear();
    nobodys_before = last_begin_ns_;
  }

  std::unordered_map<uint32_t, const DeviceActivity*> call_of;
  for (const DeviceActivity& activity : activities_) {
    if (activity.is_call()) call_of.emplace(activity.correlation, &activity);
  }
  const auto call_for = [&](const DeviceActivity& activity) -> const DeviceActivity* {
    if (activity.is_call()) return &activity;
    const auto found = call_of.find(activity.correlation);
    return found == call_of.end() ? nullptr : found->second;
  };
  int64_t seen_ns = 0;  // when the latest work was queued that the device has told of
  for (const DeviceActivity& activity : activities_) {
    const DeviceActivity* call = call_for(activity);
    if (activity.is_work() && call != nullptr) seen_ns = std::max(seen_ns, call->begin_ns);
  }
  for (Step& step : steps_) step.ready = all || step.end_ns < seen_ns;

  std::vector<DeviceActivity> kept;
  for (const DeviceActivity& activity : activities_) {
    const DeviceActivity* call = call_for(activity);
    Step* step = call == nullptr ? nullptr : at_time(steps_, call->begin_ns);
    if (step != nullptr && step->ready) {
      Call& entry = step->calls[call->correlation];
      entry.call = call;
      if (activity.is_work()) entry.work.push_back(&activity);
      if (activity.kind == ActivityKind::kWait) entry.waits.push_back(&activity);
    } else if (step != nullptr || (call == nullptr && !all) || (call != nullptr && call->begin_ns >= nobodys_before)) {
      kept.push_back(activity);  // its step is not complete, its call not told, or its step not added yet
    } else if (call == nullptr && activity.is_work()) {
      ++dropped_;
    }
  }
  while (!steps_.empty() && steps_.front().ready) {
    batch.steps.push_back(convert(steps_.front(), batch.device));
    steps_.pop_front();
  }
  if (!batch.steps.empty()) set_dropped(batch.steps.front().device, std::exchange(dropped_, 0));
  activities_ = std::move(kept);
  batch.host_tables = std::exchange(host_.fresh, {});
  batch.device_tables = std::exchange(device_.fresh, {});
  return batch;
}

DeviceTraceBatch::Step DeviceTrace::convert(Step& step, uint32_t& device) {
  std::vector<Call> calls;
  for (auto& [_, call] : step.calls) calls.push_back(std::move(call));
  std::sort(calls.begin(), calls.end(), [](const Call& a, const Call& b) {
    return std::tie(a.call->begin_ns, b.call->end_ns) < std::tie(b.call->begin_ns, a.call->end_ns);
  });
  std::vector<Placed> placed;
  std::deque<std::vector<Op>> replayed;  // which `placed` points into
  for (Call& call : calls) {
    std::sort(call.work.begin(), call.work.end(),
              [](const DeviceActivity* a, const DeviceActivity* b) { return a->begin_ns < b->begin_ns; });
    place(step, replayed.emplace_back(), call, placed);
  }
  for (const Placed& one : placed) {
    device = one.work->device;
    if (one.op != nullptr) one.op->busy_ns += one.work->end_ns - one.work->begin_ns;
  }
  const int64_t base_ns = step.begin_ns - kBaseLeadNs;
  DeviceTraceBatch::Step result{step.id, begin_chunk(base_ns), begin_chunk(base_ns)};
  write_work(placed, base_ns, result.device);
  write_calls(step, calls, base_ns, result.host);
  write_waits(calls, base_ns, result.device);
  return result;
}

/// Finds the ops of a call's work, which is in the order of its begin.
void DeviceTrace::place(Step& step, std::vector<Op>& replayed, Call& call, std::vector<Placed>& placed) {
  const bool by_engine = call.call->thread == engine_tid_;
  const auto replay = std::find_if(step.replays.begin(), step.replays.end(), [&](const GraphReplay& candidate) {
    return by_engine && candidate.begin_ns <= call.call->begin_ns && call.call->begin_ns <= candidate.end_ns;
  });
  std::string note;
  std::vector<Op*> ops(call.work.size(), by_engine ? at_time(step.ops, call.call->begin_ns) : nullptr);
  // What the step's inputs need is queued in the same span, right before the graph.
  const bool from_graph = !call.work.empty() && call.work.front()->graph != 0;
  if (replay != step.replays.end() && from_graph) {
    size_t nodes = 0;
    for (const CapturedOp& op : replay->ops) nodes += static_cast<size_t>(op.nodes);
    if (nodes == call.work.size()) {
      const AttentionLengths lengths{replay->query_start, replay->seq_lens};
      replayed.reserve(replay->ops.size());
      size_t next = 0;
      for (const CapturedOp& captured : replay->ops) {
        Op& op = replayed.emplace_back(op_of(captured.site->record));
        op.work = op_work(*captured.site, replay->rows, lengths);
        for (int32_t i = 0; i < captured.nodes; ++i) ops[next++] = &op;
      }
    } else {
      note = "the replayed graph has " + std::to_string(nodes) + " nodes, of which " +
             std::to_string(call.work.size()) + " were recorded: no op is named";
      std::fill(ops.begin(), ops.end(), nullptr);
    }
  }
  for (size_t i = 0; i < call.work.size(); ++i) {
    placed.push_back({call.work[i], ops[i], i == 0 ? &call : nullptr, i == 0 ? note : std::string()});
  }
}

void DeviceTrace::write_calls(const Step& step, const std::vector<Call>& calls, int64_t base_ns,
                              std::vector<SpanRecord>& chunk) {
  const uint32_t arrow = host_.name("ac2g");
  for (const Call& entry : calls) {
    const DeviceActivity& call = *entry.call;
    int64_t begin = call.begin_ns;
    int64_t end = call.end_ns;
    if (call.thread == engine_tid_) {  // inside of its op, whose times are of another reading of the clock
      if (const Op* op = at_time(step.ops, begin)) {
        begin = std::max(begin, op->begin_ns + 1);
        end = std::min(end, op->end_ns);
      }
    }
    Track& track = host_tracks_[call.thread];
    begin = std::max(begin, track.last_begin + 1);
    end = std::max(end, begin);
    track.last_begin = begin;
    const uint16_t thread = host_.thread(
        call.thread, call.thread == engine_tid_ ? kEngineThreadName : "thread " + std::to_string(call.thread));
    SpanRecord& record = append(chunk, kKindSpan, category_of(call.kind), kSchemaNone);
    record.thread = thread;
    const auto [found, added] = host_.pointer_ids.try_emplace(call.name, 0);
    if (added) found->second = host_.name(call.name);
    record.name = found->second;
    record.begin = begin - base_ns;
    record.end = end - base_ns;
    record.id = call.correlation;
    if (entry.has_arrow) append_arrow(chunk, kKindFlowStart, thread, arrow, begin - base_ns, call.correlation);
  }
}

uint32_t DeviceTrace::activity_name(const DeviceActivity& activity) {
  const auto [found, added] = device_.pointer_ids.try_emplace(activity.name, 0);
  if (added) {
    found->second =
        device_.name(activity.kind == ActivityKind::kKernel ? short_kernel_name(activity.name) : activity.name);
  }
  return found->second;
}

void DeviceTrace::write_work(std::vector<Placed>& placed, int64_t base_ns, std::vector<SpanRecord>& chunk) {
  const uint32_t arrow = device_.name("ac2g");
  std::stable_sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return a.work->stream != b.work->stream ? a.work->stream < b.work->stream : a.work->begin_ns < b.work->begin_ns;
  });
  for (const Placed& one : placed) {
    const DeviceActivity& work = *one.work;
    Track& track = device_tracks_[work.stream];
    const int64_t begin = std::max({work.begin_ns, track.last_begin + 1, track.last_end});
    const int64_t end = std::max(work.end_ns, begin);
    track = {begin, end};
    const uint16_t thread = device_.thread(work.stream, "stream " + std::to_string(work.stream));
    const bool is_kernel = work.kind == ActivityKind::kKernel;
    SpanRecord& record = append(chunk, kKindSpan, category_of(work.kind), is_kernel ? kSchemaGpuPlace : kSchemaGpuCopy);
    record.thread = thread;
    record.name = activity_name(work);
    record.begin = begin - base_ns;
    record.end = end - base_ns;
    record.id = work.correlation;
    if (one.op != nullptr) record.layer = one.op->layer;
    if (is_kernel) {
      const double blocks = static_cast<double>(work.grid[0]) * work.grid[1] * work.grid[2] / multiprocessors_;
      const int threads = work.block[0] * work.block[1] * work.block[2];
      constexpr int kWarp = 32;
      record.args[GpuPlaceArgs::kDevice] = work.device;
      record.args[GpuPlaceArgs::kContext] = work.context;
      record.args[GpuPlaceArgs::kStream] = work.stream;
      record.args[GpuPlaceArgs::kRegistersPerThread] = static_cast<uint32_t>(work.registers);
      record.args[GpuPlaceArgs::kSharedMemory] = static_cast<uint32_t>(work.shared_memory);
      record.args[GpuPlaceArgs::kBlocksPerSM] = float_word(blocks);
      record.args[GpuPlaceArgs::kWarpsPerSM] = float_word(blocks * ((threads + kWarp - 1) / kWarp));
      SpanRecord& launch = append_more(chunk, kSchemaGpuLaunch);
      for (size_t i = 0; i < 3; ++i) {
        launch.args[GpuLaunchArgs::kGrid + i] = static_cast<uint32_t>(work.grid[i]);
        launch.args[GpuLaunchArgs::kBlock + i] = static_cast<uint32_t>(work.block[i]);
      }
    } else {
      record.args[GpuCopyArgs::kDevice] = work.device;
      record.args[GpuCopyArgs::kContext] = work.context;
      record.args[GpuCopyArgs::kStream] = work.stream;
      record.set_wide(GpuCopyArgs::kBytes, work.bytes);
      const auto ns = static_cast<double>(std::max<int64_t>(work.end_ns - work.begin_ns, 1));
      record.args[GpuCopyArgs::kMemoryBandwidthGBS] = float_word(static_cast<double>(work.bytes) / ns);
    }
    if (work.graph != 0) {
      SpanRecord& graph = append_more(chunk, kSchemaGpuGraph);
      graph.args[GpuGraphArgs::kGraphId] = work.graph;
      graph.set_wide(GpuGraphArgs::kGraphNodeId, static_cast<int64_t>(work.graph_node));
    }
    if (one.op != nullptr) write_op(*one.op, chunk);
    if (!one.note.empty()) append_more(chunk, kSchemaText).args[TextArgs::kDetail] = device_.name(one.note);
    if (one.call == nullptr) continue;
    // The device's clock is mapped to the host's: by a microsecond or so, work may seem to begin before its call.
    const int64_t at = std::max(begin, one.call->call->begin_ns + kArrowLeadNs);
    if (at > end) continue;
    one.call->has_arrow = true;
    append_arrow(chunk, kKindFlowEnd, thread, arrow, at - base_ns, work.correlation);
  }
}

void DeviceTrace::write_op(const Op& op, std::vector<SpanRecord>& chunk) {
  const uint32_t name = device_.name(op_names_[op.name]);
  if (!op.module) {
    append_more(chunk, kSchemaGpuPhase).args[GpuPhaseArgs::kOp] = name;
    return;
  }
  const uint32_t module = device_.name(op_names_[*op.module]);
  SpanRecord& record = append_more(chunk, kSchemaGpuOp);
  record.args[GpuOpArgs::kOp] = name;
  record.args[GpuOpArgs::kModule] = module;
  if (op.busy_ns == 0) return;
  const auto ns = static_cast<double>(op.busy_ns);
  constexpr double kTera = 1e3;  // of operations a nanosecond
  const uint32_t bandwidth = float_word(static_cast<double>(op.work.bytes) / ns);
  const uint32_t flops = float_word(op.work.flops / ns / kTera);
  if (op.work.bytes > 0 && op.work.flops > 0) {
    SpanRecord& rates = append_more(chunk, kSchemaGpuRates);
    rates.args[GpuRatesArgs::kGBS] = bandwidth;
    rates.args[GpuRatesArgs::kTFLOPS] = flops;
  } else if (op.work.bytes > 0) {
    append_more(chunk, kSchemaGpuBandwidth).args[GpuBandwidthArgs::kGBS] = bandwidth;
  } else if (op.work.flops > 0) {
    append_more(chunk, kSchemaGpuFlops).args[GpuFlopsArgs::kTFLOPS] = flops;
  }
}

void DeviceTrace::write_waits(const std::vector<Call>& calls, int64_t base_ns, std::vector<SpanRecord>& chunk) {
  for (const Call& call : calls) {
    for (const DeviceActivity* wait : call.waits) {
      const bool has_stream = wait->stream != DeviceActivity::kNoStream;
      const uint32_t tid = kWaitTids + (has_stream ? wait->stream + 1 : 0);
      Track& track = device_tracks_[tid];
      const int64_t begin = std::max({wait->begin_ns, track.last_begin + 1, track.last_end});
      const int64_t end = std::max(wait->end_ns, begin);
      track = {begin, end};
      SpanRecord& record = append(chunk, kKindSpan, kCategoryCudaSync, kSchemaGpuWait);
      record.thread = device_.thread(tid, has_stream ? "waits for stream " + std::to_string(wait->stream) : "waits");
      record.name = activity_name(*wait);
      record.begin = begin - base_ns;
      record.end = end - base_ns;
      record.id = wait->correlation;
      record.args[GpuWaitArgs::kContext] = wait->context;
      record.args[GpuWaitArgs::kStream] = wait->stream;
    }
  }
}

}  // namespace vitrine
