// Allocation of the paged KV cache.
#include "cache/paged_kv_cache.h"

#include <utility>

namespace vitrine {
namespace {

constexpr size_t kAlignment = 64;  // V starts on a cache line, as K does

size_t bytes_of_k(const KvLayer& shape) {
  const size_t bytes = static_cast<size_t>(shape.num_blocks) * static_cast<size_t>(shape.block_size) *
                       static_cast<size_t>(shape.num_kv_heads) * static_cast<size_t>(shape.head_dim) *
                       dtype_size(shape.dtype);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

PagedKvCache::PagedKvCache(Backend& backend, std::vector<KvLayer> layers) : layers_(std::move(layers)) {
  for (KvLayer& layer : layers_) {
    buffers_.push_back(backend.allocate(2 * bytes_of_k(layer)));
    layer.k = buffers_.back()->data();
    layer.v = static_cast<char*>(layer.k) + bytes_of_k(layer);
  }
}

size_t PagedKvCache::bytes() const {
  size_t total = 0;
  for (const auto& buffer : buffers_) total += buffer->bytes();
  return total;
}

size_t PagedKvCache::bytes_per_token(int32_t num_layers, const KvLayer& shape) {
  return 2 * static_cast<size_t>(num_layers) * static_cast<size_t>(shape.num_kv_heads) *
         static_cast<size_t>(shape.head_dim) * dtype_size(shape.dtype);
}

}  // namespace vitrine
