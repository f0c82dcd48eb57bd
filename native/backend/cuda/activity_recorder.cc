// The way of a record: CUPTI's buffer → VitrineCudaActivity → take().
#include "backend/cuda/activity_recorder.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>
#include <stdexcept>

#include "core/clock.h"

namespace vitrine::cuda {
namespace {

using cupti::library;

/// In the order of being enabled, one by one while others launch: calls before the work that they queue. Work whose
/// call was not told would count as lost.
constexpr int32_t kKinds[] = {cupti::kRuntime, cupti::kDriver, cupti::kSynchronization,
                              cupti::kMemcpy,  cupti::kMemset, cupti::kConcurrentKernel};

/// Calls that queue nothing and wait for nothing, made around each op, or again and again until a step is done.
constexpr std::string_view kSilentCalls[] = {"cudaGetLastError", "cudaPeekAtLastError", "cudaGetDevice",
                                             "cudaSetDevice",    "cuCtxGetCurrent",     "cuCtxSetCurrent",
                                             "cuCtxGetDevice",   "cuStreamIsCapturing", "cudaStreamIsCapturing",
                                             "cudaEventQuery",   "cuEventQuery"};

std::string text_of(cupti::Result result) {
  const char* text = nullptr;
  const bool known = library().result_string(result, &text) == cupti::kSuccess && text != nullptr;
  return std::string(known ? text : "error") + " (" + std::to_string(result) + ")";
}

[[noreturn]] void refuse(const char* function, cupti::Result result) {
  std::string reason = std::string("CUPTI's ") + function + " failed: " + text_of(result);
  if (result == cupti::kMultipleSubscribers) reason += "; another profiler, such as nsys, is attached to this process";
  throw std::runtime_error(reason);
}

void check(const char* function, cupti::Result result) {
  if (result != cupti::kSuccess) refuse(function, result);
}

/// In the words of Kineto: "Memcpy HtoD (Pinned -> Device)".
std::string copy_name(const cupti::MemcpyRecord& record) {
  constexpr std::array kDirections = {"",     "HtoD", "DtoH", "HtoA", "AtoH", "AtoA",
                                      "AtoD", "DtoA", "DtoD", "HtoH", "PtoP"};
  constexpr std::array kMemories = {"Unknown", "Pageable", "Pinned",        "Device",
                                    "Array",   "Managed",  "Device Static", "Managed Static"};
  const auto memory = [&](uint8_t kind) { return kMemories[kind < kMemories.size() ? kind : 0]; };
  const char* direction = kDirections[record.copy_kind < kDirections.size() ? record.copy_kind : 0];
  return std::string("Memcpy ") + direction + " (" + memory(record.source_kind) + " -> " +
         memory(record.destination_kind) + ")";
}

std::string_view wait_name(int32_t type) {
  constexpr std::array<std::string_view, 5> kNames = {"Synchronize", "Event Synchronize", "Stream Wait Event",
                                                      "Stream Synchronize", "Context Synchronize"};
  return kNames[type >= 0 && type < static_cast<int32_t>(kNames.size()) ? static_cast<size_t>(type) : 0];
}

/// Without the version at its end: "cudaLaunchKernel_v7000", "cuMemcpyHtoDAsync_v2".
std::string_view without_version(std::string_view name) {
  const size_t digits = name.find_last_not_of("0123456789");
  const bool versioned = digits != std::string_view::npos && digits + 1 < name.size() && digits > 0 &&
                         name[digits] == 'v' && name[digits - 1] == '_';
  return versioned ? name.substr(0, digits - 1) : name;
}

template <class Work>
void set_place(VitrineCudaActivity& activity, const Work& record) {
  activity.begin_ns = static_cast<int64_t>(record.start);
  activity.end_ns = static_cast<int64_t>(record.end);
  activity.correlation = record.correlation;
  activity.device = record.device;
  activity.context = record.context;
  activity.stream = record.stream;
  activity.graph = record.graph;
  activity.graph_node = record.graph_node;
}

}  // namespace

/// Never destroyed: CUPTI's thread may come while the process exits.
ActivityRecorder& ActivityRecorder::instance() {
  static auto* const recorder = new ActivityRecorder;
  return *recorder;
}

/// Once in a process, before any kind is enabled: later CUPTI would mix two clocks. Not every CUPTI takes a clock; then
/// its own, which is CLOCK_REALTIME, is compared with ours at each start.
void ActivityRecorder::prepare() {
  if (prepared_) return;
  if (!library().problem.empty()) throw std::runtime_error(library().problem);
  free_buffers_.reserve(kBuffers);
  has_own_clock_ = library().register_clock([] { return static_cast<uint64_t>(monotonic_ns()); }) == cupti::kSuccess;
  check("cuptiSetThreadIdType", library().set_thread_ids(cupti::kSystemThreadIds));
  check("cuptiActivityRegisterCallbacks", library().register_buffers(buffer_requested, buffer_completed));
  prepared_ = true;
}

/// Of several readings the one that took least counts: it is wrong by half of that, well below a microsecond.
void ActivityRecorder::set_clock() {
  if (has_own_clock_) return;
  constexpr int kReadings = 10;
  int64_t least = INT64_MAX;
  for (int i = 0; i < kReadings; ++i) {
    uint64_t told = 0;
    const int64_t before = monotonic_ns();
    check("cuptiGetTimestamp", library().timestamp(&told));
    const int64_t took = monotonic_ns() - before;
    if (took >= least) continue;
    least = took;
    clock_offset_ns_ = before + took / 2 - static_cast<int64_t>(told);
  }
}

void ActivityRecorder::start() {
  const std::lock_guard guard(state_mutex_);
  if (running_) return;
  prepare();
  set_clock();
  {
    const std::lock_guard lock(mutex_);
    activities_.clear();
    taken_ = 0;
    dropped_ = 0;
    recording_ = true;
  }
  for (size_t i = 0; i < std::size(kKinds); ++i) {
    const cupti::Result result = library().enable(kKinds[i]);
    if (result == cupti::kSuccess) continue;
    while (i-- > 0) library().disable(kKinds[i]);
    const std::lock_guard lock(mutex_);
    recording_ = false;
    refuse("cuptiActivityEnable", result);
  }
  running_ = true;
}

void ActivityRecorder::stop() {
  const std::lock_guard guard(state_mutex_);
  if (!running_) return;
  for (const int32_t kind : kKinds) library().disable(kind);
  {
    const std::lock_guard lock(mutex_);
    recording_ = false;
    activities_ = {};
    taken_ = 0;
    dropped_ = 0;
  }
  // Gives the buffers back, with whatever is not complete in them.
  library().flush_all(cupti::kFlushForced);
  running_ = false;
}

void ActivityRecorder::flush() {
  const std::lock_guard guard(state_mutex_);
  if (running_) check("cuptiActivityFlushAll", library().flush_all(0));
}

size_t ActivityRecorder::take(VitrineCudaActivity* activities, size_t capacity, uint64_t& dropped) {
  const std::lock_guard lock(mutex_);
  const size_t count = std::min(capacity, activities_.size() - taken_);
  std::copy_n(activities_.begin() + static_cast<std::ptrdiff_t>(taken_), count, activities);
  taken_ += count;
  if (taken_ == activities_.size()) {
    activities_.clear();
    taken_ = 0;
  }
  dropped += dropped_;
  dropped_ = 0;
  return count;
}

/// Called in the middle of a CUDA call of any thread.
void ActivityRecorder::buffer_requested(uint8_t** buffer, size_t* bytes, size_t* max_records) {
  ActivityRecorder& self = instance();
  *buffer = nullptr;
  *bytes = 0;
  *max_records = 0;  // as many as fit
  const std::lock_guard lock(self.buffers_mutex_);
  if (!self.free_buffers_.empty()) {
    *buffer = self.free_buffers_.back();
    self.free_buffers_.pop_back();
  } else if (self.allocated_buffers_ < kBuffers) {
    *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, kBufferBytes));
    if (*buffer != nullptr) ++self.allocated_buffers_;
  }
  if (*buffer != nullptr) *bytes = kBufferBytes;
}

void ActivityRecorder::buffer_completed(void*, uint32_t, uint8_t* buffer, size_t, size_t valid_bytes) {
  if (buffer == nullptr) return;
  ActivityRecorder& self = instance();
  try {
    self.read(buffer, valid_bytes);
  } catch (const std::bad_alloc&) {  // no memory for names or activities; CUPTI is C
    const std::lock_guard lock(self.mutex_);
    ++self.dropped_;
  }
  const std::lock_guard lock(self.buffers_mutex_);
  self.free_buffers_.push_back(buffer);  // there is room: see prepare()
}

void ActivityRecorder::read(uint8_t* buffer, size_t valid_bytes) {
  const std::lock_guard lock(mutex_);
  size_t lost = 0;
  if (library().dropped_records(nullptr, 0, &lost) == cupti::kSuccess && recording_) dropped_ += lost;
  if (!recording_) return;
  cupti::Record* record = nullptr;
  while (library().next_record(buffer, valid_bytes, &record) == cupti::kSuccess) {
    VitrineCudaActivity activity{};
    if (!convert(*record, activity)) continue;
    const bool complete = activity.begin_ns > 0 && activity.end_ns >= activity.begin_ns;
    activity.begin_ns += clock_offset_ns_;
    activity.end_ns += clock_offset_ns_;
    if (!complete || activities_.size() - taken_ == kActivities) {
      ++dropped_;
      continue;
    }
    activities_.push_back(activity);
  }
}

/// False for a record that is of no use.
bool ActivityRecorder::convert(const cupti::Record& record, VitrineCudaActivity& activity) {
  switch (record.kind) {
    case cupti::kConcurrentKernel: {
      const auto& kernel = reinterpret_cast<const cupti::KernelRecord&>(record);
      activity.kind = VITRINE_KERNEL;
      activity.name = intern(kernel.name == nullptr ? "(unnamed kernel)" : kernel.name);
      set_place(activity, kernel);
      for (size_t i = 0; i < 3; ++i) {
        activity.grid[i] = kernel.grid[i];
        activity.block[i] = kernel.block[i];
      }
      activity.registers = kernel.registers_per_thread;
      activity.shared_memory = kernel.static_shared_memory + kernel.dynamic_shared_memory;
      return true;
    }
    case cupti::kMemcpy: {
      const auto& copy = reinterpret_cast<const cupti::MemcpyRecord&>(record);
      activity.kind = VITRINE_COPY;
      activity.name = intern(copy_name(copy));
      set_place(activity, copy);
      activity.bytes = static_cast<int64_t>(copy.bytes);
      return true;
    }
    case cupti::kMemset: {
      const auto& set = reinterpret_cast<const cupti::MemsetRecord&>(record);
      activity.kind = VITRINE_SET;
      activity.name = intern("Memset (Device)");
      set_place(activity, set);
      activity.bytes = static_cast<int64_t>(set.bytes);
      return true;
    }
    case cupti::kRuntime:
    case cupti::kDriver: {
      const auto& call = reinterpret_cast<const cupti::CallRecord&>(record);
      const bool is_runtime = record.kind == cupti::kRuntime;
      activity.kind = is_runtime ? VITRINE_RUNTIME_CALL : VITRINE_DRIVER_CALL;
      activity.name = function_name(is_runtime ? cupti::kRuntimeDomain : cupti::kDriverDomain, call.function);
      activity.begin_ns = static_cast<int64_t>(call.start);
      activity.end_ns = static_cast<int64_t>(call.end);
      activity.correlation = call.correlation;
      activity.thread = call.thread;
      return activity.name != nullptr;
    }
    case cupti::kSynchronization: {
      const auto& wait = reinterpret_cast<const cupti::SynchronizationRecord&>(record);
      activity.kind = VITRINE_WAIT;
      activity.name = intern(wait_name(wait.type));
      activity.begin_ns = static_cast<int64_t>(wait.start);
      activity.end_ns = static_cast<int64_t>(wait.end);
      activity.correlation = wait.correlation;
      activity.context = wait.context;
      activity.stream = wait.stream;
      return true;
    }
    default: return false;
  }
}

const char* ActivityRecorder::intern(std::string_view name) { return names_.emplace(name).first->c_str(); }

/// Null for calls that are left out.
const char* ActivityRecorder::function_name(int domain, uint32_t function) {
  const auto [found, added] = functions_.try_emplace(static_cast<uint64_t>(domain) << 32 | function, nullptr);
  if (!added) return found->second;
  const char* text = nullptr;
  const bool known = library().function_name(domain, function, &text) == cupti::kSuccess && text != nullptr;
  const std::string_view name = known ? without_version(text) : "(unnamed call)";
  const bool silent = std::find(std::begin(kSilentCalls), std::end(kSilentCalls), name) != std::end(kSilentCalls);
  if (!silent) found->second = intern(name);
  return found->second;
}

}  // namespace vitrine::cuda
