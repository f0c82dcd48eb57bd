// The records of one thread during one step. One thread writes; another reads only when the first is known to rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "profiler/span_record.h"

namespace vitrine {

class SpanBuffer {
 public:
  /// Memory that is never written is never touched: a large capacity costs address space alone.
  explicit SpanBuffer(size_t capacity)
      : records_(std::make_unique_for_overwrite<SpanRecord[]>(capacity)), capacity_(capacity) {}

  /// Room for one more, to be filled by the caller; null, and counted, when the buffer is full.
  SpanRecord* append() {
    if (size_ == capacity_) [[unlikely]] {
      ++dropped_;
      return nullptr;
    }
    return &records_[size_++];
  }

  std::span<const SpanRecord> records() const { return {records_.get(), size_}; }
  uint32_t dropped() const { return dropped_; }

  void clear() {
    size_ = 0;
    dropped_ = 0;
  }

 private:
  std::unique_ptr<SpanRecord[]> records_;
  size_t capacity_;
  size_t size_ = 0;
  uint32_t dropped_ = 0;
};

}  // namespace vitrine
