// Routing and experts.
#include "model/moe_block.h"

namespace vitrine {

void moe(const ForwardContext& context, const MoeSpec& spec, const LayerWeights& weights,
         std::span<const ExpertWeights> experts, const Tensor& x, const Tensor& out) {
  const Workspace& workspace = context.workspace;
  Tensor router_logits = workspace.router_logits.first_rows(x.rows);
  router_logits.cols = spec.num_experts;
  context.backend.linear(*weights.router, nullptr, x, router_logits);
  const MoeRouting routing{workspace.expert_ids, workspace.expert_weights, spec.num_experts, spec.top_k,
                           spec.norm_topk_prob};
  context.backend.moe_route(router_logits, routing);
  context.backend.moe_experts(x, routing, experts, context.spec.activation, out);
}

}  // namespace vitrine
