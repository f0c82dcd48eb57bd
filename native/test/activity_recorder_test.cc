// The recorder of GPU activities on a fake CUPTI: starting and being refused, records of every kind, buffers, losses.
#include "backend/cuda/activity_recorder.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/clock.h"
#include "fake_cupti.h"
#include "test_framework.h"

#ifdef VITRINE_CUPTI_HEADERS
#include <cuda.h>
#include <cupti_activity.h>
#endif

namespace vitrine::test {
namespace {

using namespace cuda::cupti;
using cuda::ActivityRecorder;

#ifdef VITRINE_CUPTI_HEADERS
// Our declarations of records against NVIDIA's: those of this toolkit, and older ones, which a driver's CUPTI may give.
#define SAME_PLACE(Ours, Theirs, our_field, their_field) \
  static_assert(offsetof(Ours, our_field) == offsetof(Theirs, their_field))
#define SAME_KERNEL(Theirs)                                                     \
  SAME_PLACE(KernelRecord, Theirs, registers_per_thread, registersPerThread);   \
  SAME_PLACE(KernelRecord, Theirs, start, start);                               \
  SAME_PLACE(KernelRecord, Theirs, end, end);                                   \
  SAME_PLACE(KernelRecord, Theirs, device, deviceId);                           \
  SAME_PLACE(KernelRecord, Theirs, context, contextId);                         \
  SAME_PLACE(KernelRecord, Theirs, stream, streamId);                           \
  SAME_PLACE(KernelRecord, Theirs, grid, gridX);                                \
  SAME_PLACE(KernelRecord, Theirs, block, blockX);                              \
  SAME_PLACE(KernelRecord, Theirs, static_shared_memory, staticSharedMemory);   \
  SAME_PLACE(KernelRecord, Theirs, dynamic_shared_memory, dynamicSharedMemory); \
  SAME_PLACE(KernelRecord, Theirs, correlation, correlationId);                 \
  SAME_PLACE(KernelRecord, Theirs, name, name);                                 \
  SAME_PLACE(KernelRecord, Theirs, graph_node, graphNodeId);                    \
  SAME_PLACE(KernelRecord, Theirs, graph, graphId)
#define SAME_MEMCPY(Theirs)                                     \
  SAME_PLACE(MemcpyRecord, Theirs, copy_kind, copyKind);        \
  SAME_PLACE(MemcpyRecord, Theirs, source_kind, srcKind);       \
  SAME_PLACE(MemcpyRecord, Theirs, destination_kind, dstKind);  \
  SAME_PLACE(MemcpyRecord, Theirs, bytes, bytes);               \
  SAME_PLACE(MemcpyRecord, Theirs, start, start);               \
  SAME_PLACE(MemcpyRecord, Theirs, end, end);                   \
  SAME_PLACE(MemcpyRecord, Theirs, device, deviceId);           \
  SAME_PLACE(MemcpyRecord, Theirs, correlation, correlationId); \
  SAME_PLACE(MemcpyRecord, Theirs, graph_node, graphNodeId);    \
  SAME_PLACE(MemcpyRecord, Theirs, graph, graphId)
#define SAME_SYNCHRONIZATION(Theirs)                                     \
  SAME_PLACE(SynchronizationRecord, Theirs, type, type);                 \
  SAME_PLACE(SynchronizationRecord, Theirs, start, start);               \
  SAME_PLACE(SynchronizationRecord, Theirs, end, end);                   \
  SAME_PLACE(SynchronizationRecord, Theirs, correlation, correlationId); \
  SAME_PLACE(SynchronizationRecord, Theirs, context, contextId);         \
  SAME_PLACE(SynchronizationRecord, Theirs, stream, streamId)
SAME_KERNEL(CUpti_ActivityKernel9);
SAME_MEMCPY(CUpti_ActivityMemcpy5);
SAME_SYNCHRONIZATION(CUpti_ActivitySynchronization);
#if CUPTI_API_VERSION >= 130000
SAME_KERNEL(CUpti_ActivityKernel10);
SAME_MEMCPY(CUpti_ActivityMemcpy6);
SAME_SYNCHRONIZATION(CUpti_ActivitySynchronization2);
#endif
SAME_PLACE(MemsetRecord, CUpti_ActivityMemset4, bytes, bytes);
SAME_PLACE(MemsetRecord, CUpti_ActivityMemset4, start, start);
SAME_PLACE(MemsetRecord, CUpti_ActivityMemset4, device, deviceId);
SAME_PLACE(MemsetRecord, CUpti_ActivityMemset4, correlation, correlationId);
SAME_PLACE(MemsetRecord, CUpti_ActivityMemset4, graph_node, graphNodeId);
SAME_PLACE(MemsetRecord, CUpti_ActivityMemset4, graph, graphId);
SAME_PLACE(CallRecord, CUpti_ActivityAPI, function, cbid);
SAME_PLACE(CallRecord, CUpti_ActivityAPI, start, start);
SAME_PLACE(CallRecord, CUpti_ActivityAPI, thread, threadId);
SAME_PLACE(CallRecord, CUpti_ActivityAPI, correlation, correlationId);
static_assert(sizeof(CallRecord) == sizeof(CUpti_ActivityAPI));
static_assert(kMemcpy == CUPTI_ACTIVITY_KIND_MEMCPY && kMemset == CUPTI_ACTIVITY_KIND_MEMSET);
static_assert(kDriver == CUPTI_ACTIVITY_KIND_DRIVER && kRuntime == CUPTI_ACTIVITY_KIND_RUNTIME);
static_assert(kConcurrentKernel == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
static_assert(kSynchronization == CUPTI_ACTIVITY_KIND_SYNCHRONIZATION);
static_assert(kFlushForced == CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
static_assert(kSystemThreadIds == CUPTI_ACTIVITY_THREAD_ID_TYPE_SYSTEM);
static_assert(kMultipleSubscribers == CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED);
static_assert(kMaxLimitReached == CUPTI_ERROR_MAX_LIMIT_REACHED);
#endif

/// The fake library, which is CUPTI for this process.
class FakeCupti {
 public:
  FakeCupti() {
    static void* const library = [] {
      const auto path = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "fake_cupti.so";
      setenv("VITRINE_CUPTI_LIBRARY", path.c_str(), 1);
      return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    }();
    require(library != nullptr, "fake_cupti.so is not beside native_tests");
    const auto find = [](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      require(function != nullptr, "fake_cupti.so lacks ", name);
    };
    find(refuse, "fake_cupti_refuse");
    find(now, "fake_cupti_now");
    find(enabled_kinds, "fake_cupti_enabled_kinds");
    find(work_before_calls, "fake_cupti_work_before_calls");
    find(kernel, "fake_cupti_kernel");
    find(copy, "fake_cupti_memcpy");
    find(set, "fake_cupti_memset");
    find(call, "fake_cupti_call");
    find(wait, "fake_cupti_synchronization");
  }
  ~FakeCupti() {
    refuse(kSuccess, 0);
    ActivityRecorder::instance().stop();
  }

  decltype(&fake_cupti_refuse) refuse = nullptr;
  decltype(&fake_cupti_now) now = nullptr;
  decltype(&fake_cupti_enabled_kinds) enabled_kinds = nullptr;
  decltype(&fake_cupti_work_before_calls) work_before_calls = nullptr;
  decltype(&fake_cupti_kernel) kernel = nullptr;
  decltype(&fake_cupti_memcpy) copy = nullptr;
  decltype(&fake_cupti_memset) set = nullptr;
  decltype(&fake_cupti_call) call = nullptr;
  decltype(&fake_cupti_synchronization) wait = nullptr;
};

struct Taken {
  std::vector<VitrineCudaActivity> activities;
  uint64_t dropped = 0;
};

Taken take_all() {
  Taken taken;
  std::vector<VitrineCudaActivity> part(7);  // so that several calls are needed
  size_t count = part.size();
  while (count == part.size()) {
    count = ActivityRecorder::instance().take(part.data(), part.size(), taken.dropped);
    taken.activities.insert(taken.activities.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(count));
  }
  return taken;
}

/// The recorder, recording from the fake.
struct Recording {
  Recording() { recorder.start(); }

  /// What has come once the buffers are flushed.
  Taken flushed() {
    recorder.flush();
    return take_all();
  }

  FakeCupti cupti;
  ActivityRecorder& recorder = ActivityRecorder::instance();
};

KernelRecord kernel_record(uint32_t correlation, uint64_t start, uint64_t end) {
  KernelRecord record{};
  record.kind = kConcurrentKernel;
  record.start = start;
  record.end = end;
  record.correlation = correlation;
  record.name = "_Z6kernelPf";
  return record;
}

}  // namespace

TEST("activity recorder: a refusal is one line with CUPTI's word for it, and leaves nothing enabled") {
  FakeCupti cupti;
  ActivityRecorder& recorder = ActivityRecorder::instance();
  for (const int after : {0, 3}) {
    cupti.refuse(kMultipleSubscribers, after);
    CHECK_THROWS_WITH(
        recorder.start(),
        "CUPTI's cuptiActivityEnable failed: CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED (39); another "
        "profiler, such as nsys, is attached to this process");
    CHECK_EQ(cupti.enabled_kinds(), uint64_t{0});
  }
  cupti.refuse(999, 0);
  CHECK_THROWS_WITH(recorder.start(), "CUPTI's cuptiActivityEnable failed: CUPTI_ERROR_UNKNOWN (999)");
  cupti.refuse(kSuccess, 0);
  recorder.start();
  CHECK(cupti.enabled_kinds() != 0);
  CHECK_EQ(cupti.work_before_calls(), uint64_t{0});
  recorder.start();  // once more does nothing
  recorder.stop();
  CHECK_EQ(cupti.enabled_kinds(), uint64_t{0});
}

TEST("activity recorder: the clock that CUPTI is given is CLOCK_MONOTONIC") {
  Recording run;
  const int64_t before = monotonic_ns();
  const auto told = static_cast<int64_t>(run.cupti.now());
  CHECK(before <= told && told <= monotonic_ns());
}

TEST("activity recorder: records of every kind, field by field") {
  Recording run;
  KernelRecord kernel = kernel_record(11, 1000, 1500);
  kernel.device = 1;
  kernel.context = 2;
  kernel.stream = 7;
  for (int i = 0; i < 3; ++i) {
    kernel.grid[i] = 10 + i;
    kernel.block[i] = 20 + i;
  }
  kernel.registers_per_thread = 96;
  kernel.static_shared_memory = 1024;
  kernel.dynamic_shared_memory = 2048;
  kernel.graph = 5;
  kernel.graph_node = (uint64_t{5} << 32) + 17;
  run.cupti.kernel(&kernel);
  MemcpyRecord copy{};
  copy.kind = kMemcpy;
  copy.copy_kind = 1;
  copy.source_kind = 2;
  copy.destination_kind = 3;
  copy.bytes = 4096;
  copy.start = 2000;
  copy.end = 2100;
  copy.stream = 7;
  copy.correlation = 12;
  run.cupti.copy(&copy);
  MemsetRecord set{};
  set.kind = kMemset;
  set.bytes = 64;
  set.start = 3000;
  set.end = 3001;
  set.correlation = 13;
  run.cupti.set(&set);
  for (const uint32_t function : {0u, 2u}) {  // cudaGetLastError is left out
    const CallRecord call{kRuntime, function, 900, 950, 1, 4242, 11, 0};
    run.cupti.call(&call);
  }
  const CallRecord driver_call{kDriver, 1, 1900, 1950, 1, 4242, 12, 0};
  run.cupti.call(&driver_call);
  const SynchronizationRecord wait{kSynchronization, 3, 4000, 5000, 14, 2, 7, UINT32_MAX};
  run.cupti.wait(&wait);

  CHECK(take_all().activities.empty());  // nothing comes before its buffer is full or flushed
  const auto [activities, dropped] = run.flushed();
  CHECK_EQ(dropped, uint64_t{0});
  CHECK_EQ(activities.size(), size_t{6});
  if (activities.size() != 6) return;
  const VitrineCudaActivity& k = activities[0];
  CHECK_EQ(k.kind, static_cast<int32_t>(VITRINE_KERNEL));
  CHECK_EQ(std::string(k.name), std::string("_Z6kernelPf"));
  CHECK(k.begin_ns == 1000 && k.end_ns == 1500 && k.correlation == 11 && k.device == 1 && k.context == 2);
  CHECK(k.stream == 7 && k.grid[0] == 10 && k.grid[2] == 12 && k.block[0] == 20 && k.block[2] == 22);
  CHECK(k.registers == 96 && k.shared_memory == 3072 && k.graph == 5 && k.graph_node == (uint64_t{5} << 32) + 17);
  CHECK_EQ(std::string(activities[1].name), std::string("Memcpy HtoD (Pinned -> Device)"));
  CHECK(activities[1].kind == VITRINE_COPY && activities[1].bytes == 4096 && activities[1].stream == 7);
  CHECK_EQ(std::string(activities[2].name), std::string("Memset (Device)"));
  CHECK(activities[2].kind == VITRINE_SET && activities[2].bytes == 64);
  CHECK_EQ(std::string(activities[3].name), std::string("cudaLaunchKernel"));
  CHECK(activities[3].kind == VITRINE_RUNTIME_CALL && activities[3].thread == 4242);
  CHECK_EQ(std::string(activities[4].name), std::string("cuMemcpyHtoDAsync"));
  CHECK_EQ(activities[4].kind, static_cast<int32_t>(VITRINE_DRIVER_CALL));
  CHECK_EQ(std::string(activities[5].name), std::string("Stream Synchronize"));
  CHECK(activities[5].kind == VITRINE_WAIT && activities[5].context == 2 && activities[5].stream == 7);
}

TEST("activity recorder: a flush leaves what is not complete, and a stop forgets it") {
  Recording run;
  const KernelRecord running = kernel_record(1, 1000, 0);
  run.cupti.kernel(&running);
  CHECK(run.flushed().activities.empty());
  run.recorder.stop();
  run.recorder.start();
  const KernelRecord done = kernel_record(2, 1000, 2000);
  run.cupti.kernel(&done);
  const auto [activities, dropped] = run.flushed();
  CHECK_EQ(activities.size(), size_t{1});
  CHECK_EQ(dropped, uint64_t{0});
}

TEST("activity recorder: without a buffer CUPTI drops, and what nobody takes is dropped; both are counted") {
  Recording run;
  const size_t a_buffer = ActivityRecorder::kBufferBytes / 256;
  const size_t told = ActivityRecorder::kBuffers * a_buffer + 100;
  const KernelRecord record = kernel_record(1, 1000, 2000);
  for (size_t i = 0; i < told; ++i) run.cupti.kernel(&record);
  const auto [activities, dropped] = run.flushed();
  CHECK_EQ(activities.size() + dropped, told);
  CHECK_EQ(dropped, told - ActivityRecorder::kActivities);
  run.cupti.kernel(&record);  // the buffers are free again
  const Taken next = run.flushed();
  CHECK_EQ(next.activities.size(), size_t{1});
  CHECK_EQ(next.dropped, uint64_t{0});
}

}  // namespace vitrine::test
