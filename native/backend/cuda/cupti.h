// CUPTI's activity interface, loaded at run time when the machine has it: this library runs without it, is not linked
// with it and is built without its headers. The declarations follow NVIDIA's documentation of CUPTI; records are those
// of CUDA 13 (CUpti_ActivityKernel10, Memcpy6, Memset4, API, Synchronization2) up to the last field that is read, which
// CUDA 12 (Kernel9, Memcpy5, Memset4, Synchronization) has at the same places: later versions append.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace vitrine::cuda::cupti {

using Result = int;
constexpr Result kSuccess = 0;
constexpr Result kMaxLimitReached = 12;  // also: the buffer has no further record
constexpr Result kMultipleSubscribers = 39;

// Kinds of activities.
constexpr int32_t kMemcpy = 1;
constexpr int32_t kMemset = 2;
constexpr int32_t kDriver = 4;
constexpr int32_t kRuntime = 5;
constexpr int32_t kConcurrentKernel = 10;
constexpr int32_t kSynchronization = 38;

/// Records are packed, their sizes multiples of 8.
#define VITRINE_CUPTI_RECORD __attribute__((packed, aligned(8)))

struct VITRINE_CUPTI_RECORD Record {
  int32_t kind;
};

struct VITRINE_CUPTI_RECORD KernelRecord {
  int32_t kind;
  uint8_t cache_config;
  uint8_t shared_memory_config;
  uint16_t registers_per_thread;
  int32_t partitioned_cache[2];
  uint64_t start;
  uint64_t end;
  uint64_t completed;
  uint32_t device;
  uint32_t context;
  uint32_t stream;
  int32_t grid[3];
  int32_t block[3];
  int32_t static_shared_memory;
  int32_t dynamic_shared_memory;
  uint32_t local_memory_per_thread;
  uint32_t local_memory_total;
  uint32_t correlation;
  int64_t grid_id;
  const char* name;
  void* reserved;
  uint64_t queued;
  uint64_t submitted;
  uint8_t launch_type;
  uint8_t carveout_requested[2];
  uint8_t padding;
  uint32_t shared_memory_executed;
  uint64_t graph_node;
  int32_t shared_memory_limit_config;
  uint32_t graph;
};

struct VITRINE_CUPTI_RECORD MemcpyRecord {
  int32_t kind;
  uint8_t copy_kind;
  uint8_t source_kind;
  uint8_t destination_kind;
  uint8_t flags;
  uint64_t bytes;
  uint64_t start;
  uint64_t end;
  uint32_t device;
  uint32_t context;
  uint32_t stream;
  uint32_t correlation;
  uint32_t runtime_correlation;
  uint32_t padding;
  void* reserved;
  uint64_t graph_node;
  uint32_t graph;
};

struct VITRINE_CUPTI_RECORD MemsetRecord {
  int32_t kind;
  uint32_t value;
  uint64_t bytes;
  uint64_t start;
  uint64_t end;
  uint32_t device;
  uint32_t context;
  uint32_t stream;
  uint32_t correlation;
  uint16_t flags;
  uint16_t memory_kind;
  uint32_t padding;
  void* reserved;
  uint64_t graph_node;
  uint32_t graph;
};

struct VITRINE_CUPTI_RECORD CallRecord {
  int32_t kind;
  uint32_t function;  // a callback id
  uint64_t start;
  uint64_t end;
  uint32_t process;
  uint32_t thread;
  uint32_t correlation;
  uint32_t return_value;
};

struct VITRINE_CUPTI_RECORD SynchronizationRecord {
  int32_t kind;
  int32_t type;
  uint64_t start;
  uint64_t end;
  uint32_t correlation;
  uint32_t context;
  uint32_t stream;
  uint32_t event;
};

using BufferRequested = void (*)(uint8_t** buffer, size_t* bytes, size_t* max_records);
using BufferCompleted = void (*)(void* context, uint32_t stream, uint8_t* buffer, size_t bytes, size_t valid_bytes);

constexpr uint32_t kFlushForced = 1;  // also buffers with records that are not complete
constexpr int kSystemThreadIds = 1;   // gettid() in call records; by default the low half of pthread_self()
constexpr int kDriverDomain = 1;
constexpr int kRuntimeDomain = 2;

struct Library {
  Result (*result_string)(Result, const char**) = nullptr;
  Result (*enable)(int32_t kind) = nullptr;
  Result (*disable)(int32_t kind) = nullptr;
  Result (*flush_all)(uint32_t flag) = nullptr;
  Result (*next_record)(uint8_t* buffer, size_t valid_bytes, Record** record) = nullptr;
  Result (*dropped_records)(void* context, uint32_t stream, size_t* dropped) = nullptr;
  Result (*register_buffers)(BufferRequested, BufferCompleted) = nullptr;
  Result (*register_clock)(uint64_t (*)()) = nullptr;
  Result (*timestamp)(uint64_t* ns) = nullptr;
  Result (*set_thread_ids)(int type) = nullptr;
  Result (*function_name)(int domain, uint32_t function, const char** name) = nullptr;

  std::string problem;  ///< why it cannot be used; empty: it can
};

/// Looked for once in a process: VITRINE_CUPTI_LIBRARY, or the loader's path and then where toolkits are installed.
const Library& library();

}  // namespace vitrine::cuda::cupti
