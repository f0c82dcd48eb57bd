// The MLP in slices of rows: its inner activations are the widest of the model, and rows do not depend on each other.
#include <algorithm>

#include "model/mlp_block.h"

namespace vitrine {

void mlp(const ForwardContext& context, const LayerWeights& weights, const Tensor& x, const Tensor& out) {
  const Workspace& workspace = context.workspace;
  for (int64_t first = 0; first < x.rows; first += workspace.gate_up.rows) {
    const int64_t rows = std::min(x.rows - first, workspace.gate_up.rows);
    const Tensor gate_up = workspace.gate_up.first_rows(rows);
    const Tensor activated = workspace.activated.first_rows(rows);
    context.backend.linear(*weights.gate_up_proj, weights.gate_up_bias.get(), x.rows_from(first, rows), gate_up);
    context.backend.gated_activation(gate_up, context.spec.activation, activated);
    context.backend.linear(*weights.down_proj, weights.down_bias.get(), activated, out.rows_from(first, rows));
  }
}

}  // namespace vitrine
