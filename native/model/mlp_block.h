// The dense gated MLP: down(activation(gate(x)) * up(x)).
#pragma once

#include "model/forward_context.h"
#include "model/weights.h"

namespace vitrine {

/// x [rows, hidden] -> out [rows, hidden]; they must not overlap.
void mlp(const ForwardContext& context, const LayerSites& sites, const LayerWeights& weights, const Tensor& x,
         const Tensor& out);

}  // namespace vitrine
