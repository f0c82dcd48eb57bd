// Self-attention of one layer over the paged KV cache.
#pragma once

#include "model/forward_context.h"
#include "model/weights.h"

namespace vitrine {

/// x [T, hidden], normed -> queries, keys and values; rope; K and V into the cache of `layer`.
void project_qkv(const ForwardContext& context, const LayerSites& sites, const LayerWeights& weights, int32_t layer,
                 const Tensor& x, const Tensor& qkv);

/// Every token attends to its sequence: qkv [T, (H + 2K) * D] -> heads [T, H * D].
void attend(const ForwardContext& context, const LayerSites& sites, int32_t layer, const Tensor& qkv,
            const Tensor& heads);

/// heads [rows, H * D] -> out [rows, hidden].
void project_output(const ForwardContext& context, const LayerSites& sites, const LayerWeights& weights,
                    const Tensor& heads, const Tensor& out);

}  // namespace vitrine
