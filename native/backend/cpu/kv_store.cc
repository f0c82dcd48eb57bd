// K goes in with its channels apart, so that a kernel reads one channel of many keys in one load.
#include "backend/cpu/kv_store.h"

#include <algorithm>
#include <cstring>

namespace vitrine {
namespace {

constexpr int64_t kChunk = 256;  // even: a pair of channels is never split

/// numbers times 1 / scale.
const float* unscaled(const float* numbers, int64_t count, float scale, float (&room)[kChunk]) {
  if (scale == 1.0f) return numbers;
  const float factor = 1 / scale;
  for (int64_t i = 0; i < count; ++i) room[i] = numbers[i] * factor;
  return room;
}

/// Channels [first, first + count) of a key, at `offset` of its block. `pairs`: in pairs of channels.
template <class Element>
void store_channels(const Element* channels, int64_t first, int64_t count, int64_t head_dim, int64_t block_size,
                    int64_t offset, bool pairs, Element* head) {
  int64_t i = 0;
  if (pairs) {
    for (; i + 1 < count; i += 2) {
      std::memcpy(head + (first + i) * block_size + 2 * offset, channels + i, 2 * sizeof(Element));
    }
    if (i < count && first + i == head_dim - 1) head[(first + i) * block_size + offset] = channels[i];
    return;
  }
  for (; i < count; ++i) head[(first + i) * block_size + offset] = channels[i];
}

/// In the dtype of the cache, whose elements are narrower than a float.
template <class Element>
void store_narrow(const CpuKernels& kernels, const KvLayer& cache, int64_t head, int64_t offset, const float* k,
                  const float* v) {
  const int64_t head_dim = cache.head_dim;
  Element* const keys = static_cast<Element*>(cache.k) + head;
  Element* const values = static_cast<Element*>(cache.v) + head + offset * head_dim;
  float room[kChunk];
  Element channels[kChunk];
  for (int64_t first = 0; first < head_dim; first += kChunk) {
    const int64_t count = std::min(kChunk, head_dim - first);
    kernels.store_row(unscaled(k + first, count, cache.k_scale, room), count, cache.dtype, channels);
    store_channels(channels, first, count, head_dim, cache.block_size, offset, cache.dtype == DType::kBFloat16, keys);
    kernels.store_row(unscaled(v + first, count, cache.v_scale, room), count, cache.dtype, values + first);
  }
}

}  // namespace

void store_kv_head(const CpuKernels& kernels, const KvLayer& cache, int64_t slot, int64_t kv_head, const float* k,
                   const float* v) {
  const int64_t block_size = cache.block_size;
  const int64_t head_dim = cache.head_dim;
  const int64_t offset = slot % block_size;
  const int64_t head = (slot / block_size * cache.num_kv_heads + kv_head) * block_size * head_dim;
  if (cache.dtype == DType::kFloat32) {
    store_channels(k, 0, head_dim, head_dim, block_size, offset, false, static_cast<float*>(cache.k) + head);
    std::memcpy(static_cast<float*>(cache.v) + head + offset * head_dim, v,
                static_cast<size_t>(head_dim) * sizeof(float));
  } else if (cache.dtype == DType::kFloat8E4M3) {
    store_narrow<uint8_t>(kernels, cache, head, offset, k, v);
  } else {
    store_narrow<uint16_t>(kernels, cache, head, offset, k, v);
  }
}

}  // namespace vitrine
