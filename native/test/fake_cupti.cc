// A CUPTI for tests, to be loaded by VITRINE_CUPTI_LIBRARY: a shared library with the functions that Vitrine uses, and
// with some of its own by which a test has it tell of work. It keeps CUPTI's rules: records go into buffers that it
// asks for and gives back when they are full or flushed, without a buffer they are dropped and counted, a buffer with a
// record that is not complete stays until it is forced out, and nothing may be registered once a kind is enabled.
#include "fake_cupti.h"

#include <cstring>
#include <vector>

#include "backend/cuda/cupti.h"

#define FAKE_CUPTI extern "C" __attribute__((visibility("default")))

namespace {

using namespace vitrine::cuda::cupti;

constexpr Result kInvalidOperation = 3;
constexpr size_t kRecordBytes = 256;  // of every record, as of the largest

struct Buffer {
  uint8_t* data = nullptr;
  size_t bytes = 0;
  size_t used = 0;
  bool incomplete = false;
};

BufferRequested request_buffer = nullptr;
BufferCompleted complete_buffer = nullptr;
uint64_t (*read_clock)() = nullptr;
bool system_thread_ids = false;
uint64_t enabled_kinds = 0;
uint64_t work_before_calls = 0;
Buffer current;
std::vector<Buffer> full;
size_t dropped = 0;
Result next_result = kSuccess;
int next_result_after = 0;  // calls of cuptiActivityEnable that go well first

void hand_over(const Buffer& buffer) { complete_buffer(nullptr, 0, buffer.data, buffer.bytes, buffer.used); }

template <class Record>
void tell(const Record& record, bool incomplete) {
  static_assert(sizeof(Record) <= kRecordBytes);
  if ((enabled_kinds >> record.kind & 1) == 0) return;
  if (current.data == nullptr) {
    size_t most = 0;
    request_buffer(&current.data, &current.bytes, &most);
    if (current.data == nullptr || current.bytes < kRecordBytes) {
      current = {};
      ++dropped;
      return;
    }
  }
  std::memset(current.data + current.used, 0, kRecordBytes);
  std::memcpy(current.data + current.used, &record, sizeof(record));
  current.used += kRecordBytes;
  current.incomplete |= incomplete;
  if (current.used + kRecordBytes <= current.bytes) return;
  full.push_back(current);
  current = {};
}

}  // namespace

FAKE_CUPTI Result cuptiGetResultString(Result result, const char** text) {
  *text = result == kMultipleSubscribers ? "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED" : "CUPTI_ERROR_UNKNOWN";
  return kSuccess;
}

FAKE_CUPTI Result cuptiActivityEnable(int32_t kind) {
  if (request_buffer == nullptr || read_clock == nullptr || !system_thread_ids) return kInvalidOperation;
  if (next_result != kSuccess && next_result_after-- == 0) return next_result;
  constexpr uint64_t kCalls = uint64_t{1} << kRuntime | uint64_t{1} << kDriver;
  const bool is_work = kind == kConcurrentKernel || kind == kMemcpy || kind == kMemset;
  if (is_work && (enabled_kinds & kCalls) != kCalls) ++work_before_calls;
  enabled_kinds |= uint64_t{1} << kind;
  return kSuccess;
}

FAKE_CUPTI Result cuptiActivityDisable(int32_t kind) {
  enabled_kinds &= ~(uint64_t{1} << kind);
  return kSuccess;
}

FAKE_CUPTI Result cuptiActivityFlushAll(uint32_t flag) {
  for (const Buffer& buffer : full) hand_over(buffer);
  full.clear();
  if (current.data == nullptr || (current.incomplete && flag != kFlushForced)) return kSuccess;
  hand_over(current);
  current = {};
  return kSuccess;
}

FAKE_CUPTI Result cuptiActivityGetNextRecord(uint8_t* buffer, size_t valid_bytes, Record** record) {
  uint8_t* next = *record == nullptr ? buffer : reinterpret_cast<uint8_t*>(*record) + kRecordBytes;
  if (next + kRecordBytes > buffer + valid_bytes) return kMaxLimitReached;
  *record = reinterpret_cast<Record*>(next);
  return kSuccess;
}

FAKE_CUPTI Result cuptiActivityGetNumDroppedRecords(void*, uint32_t, size_t* count) {
  *count = dropped;
  dropped = 0;
  return kSuccess;
}

FAKE_CUPTI Result cuptiActivityRegisterCallbacks(BufferRequested requested, BufferCompleted completed) {
  if (enabled_kinds != 0) return kInvalidOperation;
  request_buffer = requested;
  complete_buffer = completed;
  return kSuccess;
}

FAKE_CUPTI Result cuptiActivityRegisterTimestampCallback(uint64_t (*clock)()) {
  if (enabled_kinds != 0) return kInvalidOperation;
  read_clock = clock;
  return kSuccess;
}

FAKE_CUPTI Result cuptiGetTimestamp(uint64_t* ns) {
  if (read_clock == nullptr) return kInvalidOperation;
  *ns = read_clock();
  return kSuccess;
}

FAKE_CUPTI Result cuptiSetThreadIdType(int type) {
  system_thread_ids = type == kSystemThreadIds;
  return kSuccess;
}

FAKE_CUPTI Result cuptiGetCallbackName(int domain, uint32_t function, const char** name) {
  constexpr const char* kRuntime[] = {"cudaLaunchKernel_v7000", "cudaGraphLaunch_v10000", "cudaGetLastError_v3020"};
  constexpr const char* kDriverNames[] = {"cuLaunchKernelEx", "cuMemcpyHtoDAsync_v2"};
  if (domain == kRuntimeDomain && function < 3)
    *name = kRuntime[function];
  else if (domain == kDriverDomain && function < 2)
    *name = kDriverNames[function];
  else
    return kInvalidOperation;
  return kSuccess;
}

// --- what a test asks for
// ----------------------------------------------------------------------------------------------

FAKE_CUPTI void fake_cupti_refuse(Result result, int after) {
  next_result = result;
  next_result_after = after;
}

FAKE_CUPTI uint64_t fake_cupti_now() { return read_clock(); }

FAKE_CUPTI uint64_t fake_cupti_enabled_kinds() { return enabled_kinds; }
FAKE_CUPTI uint64_t fake_cupti_work_before_calls() { return work_before_calls; }

FAKE_CUPTI void fake_cupti_kernel(const KernelRecord* record) { tell(*record, record->end == 0); }
FAKE_CUPTI void fake_cupti_memcpy(const MemcpyRecord* record) { tell(*record, record->end == 0); }
FAKE_CUPTI void fake_cupti_memset(const MemsetRecord* record) { tell(*record, record->end == 0); }
FAKE_CUPTI void fake_cupti_call(const CallRecord* record) { tell(*record, false); }
FAKE_CUPTI void fake_cupti_synchronization(const SynchronizationRecord* record) { tell(*record, false); }
