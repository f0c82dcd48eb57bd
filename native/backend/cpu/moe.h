// Mixture of experts: rows grouped by expert, one GEMM chain per expert, results added per token in order of k.
#pragma once

#include <vector>

#include "backend/cpu/aligned_buffer.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/linear.h"
#include "core/thread_pool.h"

namespace vitrine {

class MixtureOfExperts {
 public:
  MixtureOfExperts(const CpuKernels& kernels, ThreadPool& pool, Linear& linear)
      : kernels_(kernels), pool_(pool), linear_(linear) {}

  void route(const Tensor& router_logits, const MoeRouting& routing);
  void run(const Tensor& x, const MoeRouting& routing, std::span<const ExpertWeights> experts, Activation activation,
           const Tensor& out);

 private:
  void run_tokens(const float* x, int64_t tokens, int64_t hidden, const int32_t* ids, const float* weights,
                  int32_t top_k, std::span<const ExpertWeights> experts, Activation activation, float* out);
  void group_by_expert(const int32_t* ids, int64_t choices, size_t num_experts);

  const CpuKernels& kernels_;
  ThreadPool& pool_;
  Linear& linear_;
  std::vector<float> probabilities_;
  std::vector<int32_t> best_;
  std::vector<int64_t> expert_start_;  ///< [experts + 1] CSR into order_
  std::vector<int64_t> order_;         ///< choices (token * top_k + k) by expert, ascending within one
  AlignedBuffer gathered_;             ///< [choices of one expert, hidden]
  AlignedBuffer gate_up_;
  AlignedBuffer activated_;
  AlignedBuffer results_;       ///< [choices, hidden] in `order_`
  std::vector<int64_t> place_;  ///< choice -> row of results_
};

}  // namespace vitrine
