// What the process's GPUs do, told by CUPTI while it is asked to: kernels, copies, the calls of CUDA that queued them,
// waits. CUPTI knows one client a process and gives its callbacks no argument, so there is one recorder. Records are
// read in CUPTI's own thread, or in the one that flushes; any thread may call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "backend/cuda/cuda_api.h"
#include "backend/cuda/cupti.h"

namespace vitrine::cuda {

class ActivityRecorder {
 public:
  static constexpr size_t kBufferBytes = size_t{1} << 20;
  static constexpr size_t kBuffers = 64;  ///< that CUPTI may hold; without one it drops records, and counts
  static constexpr size_t kActivities = size_t{1} << 18;  ///< that may wait for take(); more are dropped and counted

  static ActivityRecorder& instance();

  /// Throws std::runtime_error with the reason, one line; nothing is recorded then.
  void start();
  /// What was not taken before is lost.
  void stop();
  /// Has what is complete handed over: all of it when the devices are idle.
  void flush();
  /// Up to `capacity` activities; adds to `dropped` what was lost since the last call.
  size_t take(VitrineCudaActivity* activities, size_t capacity, uint64_t& dropped);

 private:
  ActivityRecorder() = default;

  void prepare();
  void set_clock();
  static void buffer_requested(uint8_t** buffer, size_t* bytes, size_t* max_records);
  static void buffer_completed(void* context, uint32_t stream, uint8_t* buffer, size_t bytes, size_t valid_bytes);
  void read(uint8_t* buffer, size_t valid_bytes);
  bool convert(const cupti::Record& record, VitrineCudaActivity& activity);
  const char* intern(std::string_view name);
  const char* function_name(int domain, uint32_t function);

  std::mutex state_mutex_;  ///< start, stop and flush, one at a time; never taken by a callback
  bool prepared_ = false;
  bool running_ = false;
  bool has_own_clock_ = false;  ///< CUPTI reads ours

  std::mutex buffers_mutex_;
  std::vector<uint8_t*> free_buffers_;
  size_t allocated_buffers_ = 0;

  std::mutex mutex_;  ///< of all below
  bool recording_ = false;
  int64_t clock_offset_ns_ = 0;  ///< of CLOCK_MONOTONIC to CUPTI's
  std::vector<VitrineCudaActivity> activities_;
  size_t taken_ = 0;  ///< of them
  uint64_t dropped_ = 0;
  std::unordered_set<std::string> names_;  ///< never shrinks: activities point into it
  std::unordered_map<uint64_t, const char*> functions_;
};

}  // namespace vitrine::cuda
