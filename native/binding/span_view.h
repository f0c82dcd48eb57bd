// How the spans of steps cross to JavaScript.
#pragma once

#include <node_api.h>

#include <cstddef>
#include <vector>

#include "profiler/span_record.h"

namespace vitrine {

/// The bytes in which JavaScript reads the spans of a step: one buffer for all steps. A buffer a step would count as
/// memory outside of V8's heap, and have it collect garbage all the time.
class SpanView {
 public:
  /// A Uint8Array of the records, good until the next call; null when there is no memory for it.
  napi_value copy(napi_env env, const std::vector<SpanRecord>& records);
  void release(napi_env env);

 private:
  napi_ref buffer_ = nullptr;
  void* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace vitrine
