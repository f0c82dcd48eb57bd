// The mixture-of-experts MLP: a router picks top_k experts for each token.
#pragma once

#include <span>

#include "model/forward_context.h"
#include "model/weights.h"

namespace vitrine {

/// x [rows, hidden] -> out [rows, hidden]; `experts` are the layer's, in order.
void moe(const ForwardContext& context, const LayerSites& sites, const MoeSpec& spec, const LayerWeights& weights,
         std::span<const ExpertWeights> experts, const Tensor& x, const Tensor& out);

}  // namespace vitrine
