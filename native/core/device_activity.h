// What a device says of its own work while a profile is recorded: kernels, copies, the calls that queued them. Plain
// data between a backend and the profiler.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace vitrine {

enum class ActivityKind : uint8_t { kKernel, kCopy, kSet, kRuntimeCall, kDriverCall, kWait };

struct DeviceActivity {
  ActivityKind kind = ActivityKind::kKernel;
  /// A kernel's mangled name, a call's function, "Memcpy HtoD (Pinned -> Device)". Valid until the process ends; equal
  /// names are one pointer.
  const char* name = "";
  int64_t begin_ns = 0;  ///< CLOCK_MONOTONIC
  int64_t end_ns = 0;
  uint32_t correlation = 0;  ///< of a call and of the work that it queued
  uint32_t thread = 0;       ///< of a call: the kernel's id of the thread
  uint32_t device = 0;
  uint32_t context = 0;
  uint32_t stream = 0;  ///< kNoStream: a wait for all of them, or for an event
  uint32_t graph = 0;   ///< 0: not from a graph
  uint64_t graph_node = 0;
  int64_t bytes = 0;  ///< of copies and sets
  std::array<int32_t, 3> grid = {};
  std::array<int32_t, 3> block = {};
  int32_t registers = 0;      ///< a thread
  int32_t shared_memory = 0;  ///< bytes a block, static and dynamic

  static constexpr uint32_t kNoStream = UINT32_MAX;
  bool is_call() const { return kind == ActivityKind::kRuntimeCall || kind == ActivityKind::kDriverCall; }
  bool is_work() const { return kind <= ActivityKind::kSet; }
};

/// Any thread may call.
class DeviceActivities {
 public:
  virtual ~DeviceActivities() = default;
  /// Throws Error with the reason, one line: no library that tells, another profiler is attached.
  virtual void start() = 0;
  virtual void stop() = 0;
  /// Has take() give all that is complete. Work that the device has not done is not, so wait for it first.
  virtual void flush() = 0;
  /// Appends what has been told since the last call; returns how many were lost meanwhile.
  virtual uint64_t take(std::vector<DeviceActivity>& activities) = 0;
  virtual int32_t multiprocessors() const = 0;
};

}  // namespace vitrine
