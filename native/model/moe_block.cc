// Routing and experts.
#include "model/moe_block.h"

#include <algorithm>

namespace vitrine {
namespace {

/// Which experts run is known to the device alone: as many as the tokens can choose at most.
void describe_experts(SpanRecord& record, const ModelSpec& model, const MoeSpec& spec, const TraceSite& site,
                      int64_t rows) {
  const int64_t used = std::min<int64_t>(spec.num_experts, rows * spec.top_k);
  const int64_t expert_bytes =
      3 * spec.intermediate_size * model.hidden_size * static_cast<int64_t>(dtype_size(model.dtype));
  record.set_wide(span_layout::RowsArgs::kBytes, rows * site.bytes_per_row + used * expert_bytes);
}

}  // namespace

void moe(const ForwardContext& context, const LayerSites& sites, const MoeSpec& spec, const LayerWeights& weights,
         std::span<const ExpertWeights> experts, const Tensor& x, const Tensor& out) {
  const TraceScope block(context.tracer, sites.mlp, x);
  const Workspace& workspace = context.workspace;
  Tensor router_logits = workspace.router_logits.first_rows(x.rows);
  router_logits.cols = spec.num_experts;
  {
    const TraceScope scope(context.tracer, sites.gate, x);
    context.backend.linear(*weights.router, nullptr, x, router_logits);
  }
  const MoeRouting routing{workspace.expert_ids, workspace.expert_weights, spec.num_experts, spec.top_k,
                           spec.norm_topk_prob};
  {
    const TraceScope scope(context.tracer, sites.topk, x, router_logits);
    context.backend.moe_route(router_logits, routing);
  }
  const TraceShape choices{x.rows, spec.top_k};
  const TraceScope scope(context.tracer, sites.experts, x, choices, choices, router_logits);
  if (scope.record() != nullptr) describe_experts(*scope.record(), context.spec, spec, sites.experts, x.rows);
  context.backend.moe_experts(x, routing, experts, context.spec.activation, out);
}

}  // namespace vitrine
