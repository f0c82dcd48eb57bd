// Launchers of the kernels of a mixture of experts.
#pragma once

#include "backend/cuda/expert_groups.h"
#include "backend/cuda/launch.h"

namespace vitrine::cuda {

constexpr int32_t kMostExperts = 4096;  ///< one counter each in shared memory

/// Softmax over router_logits [T, num_experts], the top_k largest (ties by lower id) into `routing`.
void moe_route(const VitrineTensor& router_logits, const VitrineMoeRouting& routing, cudaStream_t stream);

/// Rows of a tile of grouped_gemm() that suit `choices` spread over `experts`.
int32_t moe_tile_rows(int dtype, bool aligned, int64_t choices, int32_t experts);

/// Fills the arrays of `groups` from expert_ids [num_choices].
void moe_group(const int32_t* expert_ids, const ExpertGroups& groups, cudaStream_t stream);

/// gated: weights are [2 n, k], out = activation(first n) * second n. `aligned`: n and k are multiples of 8
/// and all addresses of 16; groups.tile_rows must come from moe_tile_rows() for the same dtype and `aligned`.
void moe_gemm(int dtype, bool aligned, bool gated, const GroupedGemm& job, cudaStream_t stream);

/// out [T, hidden] = sum over k of weights[t, k] * results[row_of_choice[t, k]], in order of k.
void moe_combine(const void* results, const int32_t* row_of_choice, const float* weights, int32_t top_k,
                 const VitrineTensor& out, cudaStream_t stream);

}  // namespace vitrine::cuda
