// Generated from src/trace/record/span-layout.ts by `npm run generate`. Do not edit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vitrine::span_layout {

inline constexpr uint32_t kVersion = 3;
inline constexpr uint32_t kChunkMagic = 0x31535456;
inline constexpr size_t kChunkHeaderBytes = 64;
inline constexpr size_t kRecordBytes = 64;
inline constexpr size_t kArgumentWords = 7;

// Byte offsets in the chunk header.
inline constexpr size_t kHeaderMagic = 0;
inline constexpr size_t kHeaderVersion = 4;
inline constexpr size_t kHeaderBaseNs = 8;
inline constexpr size_t kHeaderDropped = 16;

// Byte offsets in a record.
inline constexpr size_t kRecordKind = 0;
inline constexpr size_t kRecordCategory = 1;
inline constexpr size_t kRecordThread = 2;
inline constexpr size_t kRecordName = 4;
inline constexpr size_t kRecordBegin = 8;
inline constexpr size_t kRecordEnd = 16;
inline constexpr size_t kRecordId = 24;
inline constexpr size_t kRecordSchema = 32;
inline constexpr size_t kRecordLayer = 34;
inline constexpr size_t kRecordArgs = 36;

inline constexpr uint8_t kKindSpan = 1;
inline constexpr uint8_t kKindInstant = 2;
inline constexpr uint8_t kKindCounter = 3;
inline constexpr uint8_t kKindFlowStart = 4;
inline constexpr uint8_t kKindFlowStep = 5;
inline constexpr uint8_t kKindFlowEnd = 6;
inline constexpr uint8_t kKindAsync = 7;
inline constexpr uint8_t kKindMore = 8;
inline constexpr uint8_t kKindFlowPoint = 9;

inline constexpr uint8_t kCategoryCpuOp = 0;
inline constexpr uint8_t kCategoryUserAnnotation = 1;
inline constexpr uint8_t kCategoryGpuUserAnnotation = 2;
inline constexpr uint8_t kCategoryKernel = 3;
inline constexpr uint8_t kCategoryGpuMemcpy = 4;
inline constexpr uint8_t kCategoryGpuMemset = 5;
inline constexpr uint8_t kCategoryCudaRuntime = 6;
inline constexpr uint8_t kCategoryCudaDriver = 7;
inline constexpr uint8_t kCategoryCudaSync = 8;
inline constexpr uint8_t kCategoryCudaEvent = 9;
inline constexpr uint8_t kCategoryPythonFunction = 10;
inline constexpr uint8_t kCategoryOverhead = 11;
inline constexpr uint8_t kCategoryScheduler = 12;
inline constexpr uint8_t kCategoryTokenizer = 13;
inline constexpr uint8_t kCategoryHttp = 14;
inline constexpr uint8_t kCategoryRequest = 15;
inline constexpr uint8_t kCategoryMemory = 16;
inline constexpr uint8_t kCategoryAc2g = 17;

inline constexpr uint16_t kSchemaNone = 0;
inline constexpr uint16_t kSchemaStep = 1;
inline constexpr uint16_t kSchemaModule = 2;
inline constexpr uint16_t kSchemaGemm = 3;
inline constexpr uint16_t kSchemaRows = 4;
inline constexpr uint16_t kSchemaAttention = 5;
inline constexpr uint16_t kSchemaBytes = 6;
inline constexpr uint16_t kSchemaCount = 7;
inline constexpr uint16_t kSchemaText = 8;
inline constexpr uint16_t kSchemaRequest = 9;
inline constexpr uint16_t kSchemaHttp = 10;
inline constexpr uint16_t kSchemaValue = 11;
inline constexpr uint16_t kSchemaProcessMemory = 12;
inline constexpr uint16_t kSchemaCacheUse = 13;
inline constexpr uint16_t kSchemaQueueUse = 14;
inline constexpr uint16_t kSchemaFlops = 15;
inline constexpr uint16_t kSchemaGpuPlace = 16;
inline constexpr uint16_t kSchemaGpuLaunch = 17;
inline constexpr uint16_t kSchemaGpuGraph = 18;
inline constexpr uint16_t kSchemaGpuCopy = 19;
inline constexpr uint16_t kSchemaGpuWait = 20;
inline constexpr uint16_t kSchemaGpuOp = 21;
inline constexpr uint16_t kSchemaGpuPhase = 22;
inline constexpr uint16_t kSchemaGpuBandwidth = 23;
inline constexpr uint16_t kSchemaGpuRates = 24;
inline constexpr uint16_t kSchemaGpuFlops = 25;
inline constexpr uint16_t kSchemaExperts = 26;

// The first argument word of each field, by schema.
struct StepArgs {
  static constexpr size_t kStep = 0;  // u32
  static constexpr size_t kMode = 1;  // choice
  static constexpr size_t kBatchSize = 2;  // i32
  static constexpr size_t kTokens = 3;  // i32
  static constexpr size_t kCachedTokens = 4;  // i32
  static constexpr size_t kWaitingRequests = 5;  // i32
};

struct ModuleArgs {
  static constexpr size_t kModule = 0;  // name
};

struct GemmArgs {
  static constexpr size_t kDims1 = 0;  // dims[2]
  static constexpr size_t kDims2 = 2;  // dims[2]
  static constexpr size_t kBytes = 4;  // i64
  static constexpr size_t kModule = 6;  // name
};

struct RowsArgs {
  static constexpr size_t kDims1 = 0;  // dims[2]
  static constexpr size_t kBytes = 2;  // i64
  static constexpr size_t kModule = 4;  // name
};

struct AttentionArgs {
  static constexpr size_t kDims1 = 0;  // dims[3]
  static constexpr size_t kKvTokens = 3;  // i32
  static constexpr size_t kBytes = 4;  // i64
  static constexpr size_t kModule = 6;  // name
};

struct BytesArgs {
  static constexpr size_t kBytes = 0;  // i64
};

struct CountArgs {
  static constexpr size_t kCount = 0;  // i64
};

struct TextArgs {
  static constexpr size_t kDetail = 0;  // name
};

struct RequestArgs {
  static constexpr size_t kRequest = 0;  // name
  static constexpr size_t kPromptTokens = 1;  // i32
  static constexpr size_t kCachedTokens = 2;  // i32
  static constexpr size_t kNewTokens = 3;  // i32
};

struct HttpArgs {
  static constexpr size_t kMethod = 0;  // name
  static constexpr size_t kRoute = 1;  // name
  static constexpr size_t kStatus = 2;  // i32
  static constexpr size_t kBytesIn = 3;  // i32
  static constexpr size_t kBytesOut = 4;  // i32
};

struct ValueArgs {
  static constexpr size_t kValue = 0;  // f64
};

struct ProcessMemoryArgs {
  static constexpr size_t kResidentBytes = 0;  // f64
};

struct CacheUseArgs {
  static constexpr size_t kUsedTokens = 0;  // f64
  static constexpr size_t kCachedTokens = 2;  // f64
  static constexpr size_t kFreeTokens = 4;  // f64
};

struct QueueUseArgs {
  static constexpr size_t kRunningRequests = 0;  // f64
  static constexpr size_t kWaitingRequests = 2;  // f64
};

struct FlopsArgs {
  static constexpr size_t kFlops = 0;  // f64
};

struct GpuPlaceArgs {
  static constexpr size_t kDevice = 0;  // i32
  static constexpr size_t kContext = 1;  // i32
  static constexpr size_t kStream = 2;  // i32
  static constexpr size_t kRegistersPerThread = 3;  // i32
  static constexpr size_t kSharedMemory = 4;  // i32
  static constexpr size_t kBlocksPerSM = 5;  // f32
  static constexpr size_t kWarpsPerSM = 6;  // f32
};

struct GpuLaunchArgs {
  static constexpr size_t kGrid = 0;  // dims[3]
  static constexpr size_t kBlock = 3;  // dims[3]
};

struct GpuGraphArgs {
  static constexpr size_t kGraphId = 0;  // u32
  static constexpr size_t kGraphNodeId = 1;  // i64
};

struct GpuCopyArgs {
  static constexpr size_t kDevice = 0;  // i32
  static constexpr size_t kContext = 1;  // i32
  static constexpr size_t kStream = 2;  // i32
  static constexpr size_t kBytes = 3;  // i64
  static constexpr size_t kMemoryBandwidthGBS = 5;  // f32
};

struct GpuWaitArgs {
  static constexpr size_t kContext = 0;  // i32
  static constexpr size_t kStream = 1;  // i32
};

struct GpuOpArgs {
  static constexpr size_t kOp = 0;  // name
  static constexpr size_t kModule = 1;  // name
};

struct GpuPhaseArgs {
  static constexpr size_t kOp = 0;  // name
};

struct GpuBandwidthArgs {
  static constexpr size_t kGBS = 0;  // f32
};

struct GpuRatesArgs {
  static constexpr size_t kGBS = 0;  // f32
  static constexpr size_t kTFLOPS = 1;  // f32
};

struct GpuFlopsArgs {
  static constexpr size_t kTFLOPS = 0;  // f32
};

struct ExpertsArgs {
  static constexpr size_t kDims1 = 0;  // dims[2]
  static constexpr size_t kModule = 2;  // name
};

}  // namespace vitrine::span_layout
