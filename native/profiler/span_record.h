// One record of a trace in memory, as src/trace/record/span-layout.ts lays it out. Plain data, no thread of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "profiler/span_layout.h"

namespace vitrine {

/// Without initializers, so that an array of them can be had without touching its memory; `SpanRecord{}` is all zero.
struct alignas(64) SpanRecord {
  uint8_t kind;
  uint8_t category;
  uint16_t thread;
  uint32_t name;
  int64_t begin;  ///< ns after the chunk's base
  int64_t end;
  uint64_t id;
  uint16_t schema;
  int16_t layer;  ///< -1: none
  std::array<uint32_t, span_layout::kArgumentWords> args;

  void set_wide(size_t word, int64_t value) {
    args[word] = static_cast<uint32_t>(static_cast<uint64_t>(value));
    args[word + 1] = static_cast<uint32_t>(static_cast<uint64_t>(value) >> 32);
  }
};

static_assert(sizeof(SpanRecord) == span_layout::kRecordBytes);
static_assert(offsetof(SpanRecord, kind) == span_layout::kRecordKind);
static_assert(offsetof(SpanRecord, category) == span_layout::kRecordCategory);
static_assert(offsetof(SpanRecord, thread) == span_layout::kRecordThread);
static_assert(offsetof(SpanRecord, name) == span_layout::kRecordName);
static_assert(offsetof(SpanRecord, begin) == span_layout::kRecordBegin);
static_assert(offsetof(SpanRecord, end) == span_layout::kRecordEnd);
static_assert(offsetof(SpanRecord, id) == span_layout::kRecordId);
static_assert(offsetof(SpanRecord, schema) == span_layout::kRecordSchema);
static_assert(offsetof(SpanRecord, layer) == span_layout::kRecordLayer);
static_assert(offsetof(SpanRecord, args) == span_layout::kRecordArgs);

/// What a chunk starts with; in memory it takes the place of the first record.
struct alignas(64) SpanChunkHeader {
  uint32_t magic = span_layout::kChunkMagic;
  uint32_t version = span_layout::kVersion;
  int64_t base_ns = 0;  ///< CLOCK_MONOTONIC
  uint32_t dropped = 0;
  std::array<uint32_t, 11> zero = {};
};

static_assert(sizeof(SpanChunkHeader) == span_layout::kChunkHeaderBytes);
static_assert(offsetof(SpanChunkHeader, version) == span_layout::kHeaderVersion);
static_assert(offsetof(SpanChunkHeader, base_ns) == span_layout::kHeaderBaseNs);
static_assert(offsetof(SpanChunkHeader, dropped) == span_layout::kHeaderDropped);

}  // namespace vitrine
