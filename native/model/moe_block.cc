// Routing and experts.
#include "model/moe_block.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "profiler/op_work.h"

namespace vitrine {
namespace {

int64_t distinct_experts(const MoeRouting& routing, int64_t rows) {
  std::vector<bool> used(static_cast<size_t>(routing.num_experts));
  for (int64_t i = 0; i < rows * routing.top_k; ++i) used[static_cast<size_t>(routing.expert_ids[i])] = true;
  return std::ranges::count(used, true);
}

/// A device that is queued for has not chosen yet, and alone knows what it chooses.
void describe_experts(TraceScope& scope, const Backend& backend, const TraceSite& site, const MoeRouting& routing,
                      int64_t rows) {
  std::optional<int64_t> used;
  if (!backend.queues_steps()) used = distinct_experts(routing, rows);
  const OpWork work = op_work(site, rows, {}, used);
  scope.add_flops(work.flops);
  if (work.bytes > 0) scope.add_bytes(work.bytes);
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
  TraceScope scope(context.tracer, sites.experts, x, choices, choices, router_logits);
  if (scope.record() != nullptr) describe_experts(scope, context.backend, sites.experts, routing, x.rows);
  context.backend.moe_experts(x, routing, experts, context.spec.activation, out);
}

}  // namespace vitrine
