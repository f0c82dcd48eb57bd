// One buffer that grows to the largest step; its bytes are overwritten by each step.
#include "binding/span_view.h"

#include <algorithm>
#include <cstring>

namespace vitrine {
namespace {

constexpr size_t kLeastBytes = size_t{64} << 10;

}  // namespace

napi_value SpanView::copy(napi_env env, const std::vector<SpanRecord>& records) {
  const size_t bytes = records.size() * sizeof(SpanRecord);
  napi_value buffer = nullptr;
  if (bytes > capacity_) {
    const size_t wanted = std::max(bytes + bytes / 2, kLeastBytes);
    void* data = nullptr;
    napi_ref reference = nullptr;
    if (napi_create_arraybuffer(env, wanted, &data, &buffer) != napi_ok ||
        napi_create_reference(env, buffer, 1, &reference) != napi_ok) {
      return nullptr;
    }
    if (buffer_ != nullptr) napi_delete_reference(env, buffer_);
    buffer_ = reference;
    data_ = data;
    capacity_ = wanted;
  } else if (napi_get_reference_value(env, buffer_, &buffer) != napi_ok) {
    return nullptr;
  }
  std::memcpy(data_, records.data(), bytes);
  napi_value view = nullptr;
  return napi_create_typedarray(env, napi_uint8_array, bytes, buffer, 0, &view) == napi_ok ? view : nullptr;
}

void SpanView::release(napi_env env) {
  if (buffer_ != nullptr) napi_delete_reference(env, buffer_);
  *this = {};
}

}  // namespace vitrine
