// The MLP in slices of rows (see mlp_slice_rows()): its inner activations are the widest of the model, and rows do not
// depend on each other.
#include <algorithm>

#include "model/mlp_block.h"

namespace vitrine {

void mlp(const ForwardContext& context, const LayerSites& sites, const LayerWeights& weights, const Tensor& x,
         const Tensor& out) {
  const TraceScope block(context.tracer, sites.mlp, x);
  const Workspace& workspace = context.workspace;
  for (int64_t first = 0; first < x.rows; first += workspace.gate_up.rows) {
    const int64_t rows = std::min(x.rows - first, workspace.gate_up.rows);
    const Tensor gate_up = workspace.gate_up.first_rows(rows);
    const Tensor activated = workspace.activated.first_rows(rows);
    {
      const Tensor slice = x.rows_from(first, rows);
      const TraceScope scope(context.tracer, sites.gate_up_proj, slice);
      context.backend.linear(*weights.gate_up_proj, weights.gate_up_bias.get(), slice, gate_up);
    }
    {
      const TraceScope scope(context.tracer, sites.act_fn, gate_up);
      context.backend.gated_activation(gate_up, context.spec.activation, activated);
    }
    const TraceScope scope(context.tracer, sites.down_proj, activated);
    context.backend.linear(*weights.down_proj, weights.down_bias.get(), activated, out.rows_from(first, rows));
  }
}

}  // namespace vitrine
