// Routing and expert GEMMs. Tokens are processed in slices, which bounds the scratch and changes no result.
#include "backend/cpu/moe.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/top_select.h"
#include "core/check.h"

namespace vitrine {
namespace {

constexpr int64_t kSliceTokens = 1024;

const PackedMatrix& matrix(const Weight* weight) { return static_cast<const PackedMatrix&>(*weight); }

float* floats(AlignedBuffer& buffer, int64_t count) {
  return static_cast<float*>(buffer.reserve(static_cast<size_t>(count) * sizeof(float)));
}

}  // namespace

void MixtureOfExperts::route(const Tensor& router_logits, const MoeRouting& routing) {
  const int64_t experts = routing.num_experts;
  probabilities_.resize(static_cast<size_t>(experts));
  for (int64_t t = 0; t < router_logits.rows; ++t) {
    const float* logits = router_logits.f32() + t * router_logits.cols;
    float maximum;
    require(kernels_.finite_max(logits, experts, &maximum), "non-finite router logits of token ", t);
    double total = kernels_.exp_sum(logits, experts, maximum, 1.0f, probabilities_.data());
    select_top(kernels_, logits, experts, routing.top_k, best_);
    if (routing.normalize) {
      total = 0;
      for (const int32_t expert : best_) total += probabilities_[static_cast<size_t>(expert)];
    }
    int32_t* ids = routing.expert_ids + t * routing.top_k;
    float* weights = routing.expert_weights + t * routing.top_k;
    for (size_t k = 0; k < best_.size(); ++k) {
      ids[k] = best_[k];
      weights[k] = static_cast<float>(probabilities_[static_cast<size_t>(best_[k])] / total);
    }
  }
}

void MixtureOfExperts::run(const Tensor& x, const MoeRouting& routing, std::span<const ExpertWeights> experts,
                           Activation activation, const Tensor& out) {
  for (int64_t first = 0; first < x.rows; first += kSliceTokens) {
    run_tokens(x.f32() + first * x.cols, std::min(kSliceTokens, x.rows - first), x.cols,
               routing.expert_ids + first * routing.top_k, routing.expert_weights + first * routing.top_k,
               routing.top_k, experts, activation, out.f32() + first * out.cols);
  }
}

void MixtureOfExperts::group_by_expert(const int32_t* ids, int64_t choices, size_t num_experts) {
  expert_start_.assign(num_experts + 1, 0);
  for (int64_t i = 0; i < choices; ++i) ++expert_start_[static_cast<size_t>(ids[i]) + 1];
  for (size_t e = 0; e < num_experts; ++e) expert_start_[e + 1] += expert_start_[e];
  order_.resize(static_cast<size_t>(choices));
  place_.resize(static_cast<size_t>(choices));
  for (int64_t i = 0; i < choices; ++i) {  // expert_start_[e] runs to the start of e + 1 and is shifted back below
    const int64_t row = expert_start_[static_cast<size_t>(ids[i])]++;
    order_[static_cast<size_t>(row)] = i;
    place_[static_cast<size_t>(i)] = row;
  }
  for (size_t e = num_experts; e > 0; --e) expert_start_[e] = expert_start_[e - 1];
  expert_start_[0] = 0;
}

void MixtureOfExperts::run_tokens(const float* x, int64_t tokens, int64_t hidden, const int32_t* ids,
                                  const float* weights, int32_t top_k, std::span<const ExpertWeights> experts,
                                  Activation activation, float* out) {
  const int64_t choices = tokens * top_k;
  group_by_expert(ids, choices, experts.size());
  float* results = floats(results_, choices * hidden);
  for (size_t e = 0; e < experts.size(); ++e) {
    const int64_t first = expert_start_[e];
    const int64_t rows = expert_start_[e + 1] - first;
    if (rows == 0) continue;
    const PackedMatrix& gate_up = matrix(experts[e].gate_up);
    const PackedMatrix& down = matrix(experts[e].down);
    const int64_t inner = down.cols();
    float* gathered = floats(gathered_, rows * hidden);
    float* projected = floats(gate_up_, rows * 2 * inner);
    float* activated = floats(activated_, rows * inner);
    for (int64_t i = 0; i < rows; ++i) {
      std::memcpy(gathered + i * hidden, x + order_[static_cast<size_t>(first + i)] / top_k * hidden,
                  static_cast<size_t>(hidden) * sizeof(float));
    }
    linear_.run(gate_up, nullptr, gathered, rows, projected);
    const auto activate = [&](int64_t i) {
      const float* row = projected + i * 2 * inner;
      kernels_.gated(row, row + inner, activation, inner, activated + i * inner);
    };
    if (rows * inner < 32768) {
      for (int64_t i = 0; i < rows; ++i) activate(i);
    } else {
      pool_.parallel_for(rows, activate);
    }
    linear_.run(down, nullptr, activated, rows, results + first * hidden);
  }
  const auto combine = [&](int64_t t) {
    float* to = out + t * hidden;
    std::memset(to, 0, static_cast<size_t>(hidden) * sizeof(float));
    for (int64_t i = t * top_k; i < (t + 1) * top_k; ++i) {
      kernels_.add_scaled(to, results + place_[static_cast<size_t>(i)] * hidden, weights[i], hidden);
    }
  };
  if (choices * hidden < 32768) {
    for (int64_t t = 0; t < tokens; ++t) combine(t);
  } else {
    pool_.parallel_for(tokens, combine);
  }
}

}  // namespace vitrine
