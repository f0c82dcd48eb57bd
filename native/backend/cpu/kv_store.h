// Writes one head's K and V into a block, in the layout described at KvLayer.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"

namespace vitrine {

/// k, v [head_dim]; `slot` = block * block_size + offset.
void store_kv_head(const CpuKernels& kernels, const KvLayer& cache, int64_t slot, int64_t kv_head, const float* k,
                   const float* v);

}  // namespace vitrine
