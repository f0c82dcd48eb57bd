// cos and sin of every position, computed once in the float32 arithmetic of Hugging Face transformers.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "core/thread_pool.h"
#include "model/model_spec.h"

namespace vitrine {

class RopeCache {
 public:
  RopeCache(const RopeSpec& spec, int32_t max_positions, Backend& backend, ThreadPool& pool);

  const RopeTable& table() const { return table_; }
  size_t bytes() const { return buffer_->bytes(); }

 private:
  std::unique_ptr<DeviceBuffer> buffer_;
  RopeTable table_;
};

}  // namespace vitrine
