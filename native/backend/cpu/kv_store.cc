// K goes in with its channels apart, so that a kernel reads one channel of many keys in one load.
#include "backend/cpu/kv_store.h"

#include <algorithm>
#include <cstring>

namespace vitrine {
namespace {

constexpr int64_t kChunk = 256;  // even: a pair of channels is never split

void store_key_words(const uint16_t* words, int64_t first, int64_t count, int64_t head_dim, int64_t block_size,
                     int64_t offset, bool pairs, uint16_t* head) {
  int64_t i = 0;
  if (pairs) {
    for (; i + 1 < count; i += 2) {
      std::memcpy(head + (first + i) * block_size + 2 * offset, words + i, 2 * sizeof(uint16_t));
    }
    if (i < count && first + i == head_dim - 1) head[(first + i) * block_size + offset] = words[i];
    return;
  }
  for (; i < count; ++i) head[(first + i) * block_size + offset] = words[i];
}

}  // namespace

void store_kv_head(const CpuKernels& kernels, const KvLayer& cache, int64_t slot, int64_t kv_head, const float* k,
                   const float* v) {
  const int64_t block_size = cache.block_size;
  const int64_t head_dim = cache.head_dim;
  const int64_t offset = slot % block_size;
  const int64_t head = (slot / block_size * cache.num_kv_heads + kv_head) * block_size * head_dim;
  if (cache.dtype == DType::kFloat32) {
    float* keys = static_cast<float*>(cache.k) + head + offset;
    for (int64_t d = 0; d < head_dim; ++d) keys[d * block_size] = k[d];
    std::memcpy(static_cast<float*>(cache.v) + head + offset * head_dim, v,
                static_cast<size_t>(head_dim) * sizeof(float));
    return;
  }
  uint16_t* keys = static_cast<uint16_t*>(cache.k) + head;
  uint16_t words[kChunk];
  for (int64_t first = 0; first < head_dim; first += kChunk) {
    const int64_t count = std::min(kChunk, head_dim - first);
    kernels.store_row(k + first, count, cache.dtype, words);
    store_key_words(words, first, count, head_dim, block_size, offset, cache.dtype == DType::kBFloat16, keys);
  }
  kernels.store_row(v, head_dim, cache.dtype, static_cast<uint16_t*>(cache.v) + head + offset * head_dim);
}

}  // namespace vitrine
