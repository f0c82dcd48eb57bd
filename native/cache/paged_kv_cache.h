// The paged KV cache: one buffer per layer, K and V of all blocks. Which block holds what is decided in TypeScript.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"

namespace vitrine {

class PagedKvCache {
 public:
  /// `layers`: without memory yet. Throws Error when the device has no room for them.
  PagedKvCache(Backend& backend, std::vector<KvLayer> layers);

  int32_t num_layers() const { return static_cast<int32_t>(layers_.size()); }
  const KvLayer& layer(int32_t index) const { return layers_[static_cast<size_t>(index)]; }
  size_t bytes() const;

  /// Bytes of one token's K and V over all layers of this shape.
  static size_t bytes_per_token(int32_t num_layers, const KvLayer& shape);

 private:
  std::vector<std::unique_ptr<DeviceBuffer>> buffers_;
  std::vector<KvLayer> layers_;
};

}  // namespace vitrine
