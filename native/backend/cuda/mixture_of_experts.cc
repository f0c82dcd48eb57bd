#include "backend/cuda/mixture_of_experts.h"

#include <algorithm>
#include <cstdint>

#include "backend/cuda/expert_groups.h"
#include "backend/cuda/weights.h"

namespace vitrine::cuda {
namespace {

constexpr int64_t kSliceTokens = 4096;

void check_shapes(const VitrineTensor& x, const VitrineMoeRouting& routing, const VitrineExpert* experts,
                  const VitrineTensor& out) {
  require(routing.num_experts > 0 && routing.num_experts <= kMostExperts, "moe: ", routing.num_experts,
          " experts are not from 1 to ", kMostExperts);
  require(routing.top_k > 0 && routing.top_k <= routing.num_experts, "moe: the best ", routing.top_k, " of ",
          routing.num_experts, " experts cannot be chosen");
  const int64_t inner = experts[0].down->cols;
  for (int32_t e = 0; e < routing.num_experts; ++e) {
    const VitrineCudaWeight& gate_up = *experts[e].gate_up;
    const VitrineCudaWeight& down = *experts[e].down;
    require(gate_up.rows == 2 * inner && gate_up.cols == x.cols && down.rows == out.cols && down.cols == inner &&
                gate_up.dtype == x.dtype && down.dtype == x.dtype,
            "moe: the weights of expert ", e, " do not fit: gate_up [", gate_up.rows, ", ", gate_up.cols, "], down [",
            down.rows, ", ", down.cols, "], input of ", x.cols, " columns, dtypes ", gate_up.dtype, ", ", down.dtype,
            " and ", x.dtype);
  }
}

}  // namespace

const void* const* MixtureOfExperts::weight_table(const VitrineExpert* experts, int32_t num_experts) {
  addresses_.clear();
  for (int32_t e = 0; e < num_experts; ++e) addresses_.push_back(experts[e].gate_up->data);
  for (int32_t e = 0; e < num_experts; ++e) addresses_.push_back(experts[e].down->data);
  WeightTable& table = tables_[experts[0].gate_up];
  if (table.host != addresses_) {  // new, or a weight that was freed had the same address
    const size_t bytes = addresses_.size() * sizeof(void*);
    table.device = DeviceMemory(bytes);
    transfers_.write(table.device.data(), addresses_.data(), bytes);
    table.host = addresses_;
  }
  return static_cast<const void* const*>(table.device.data());
}

MixtureOfExperts::Workspace MixtureOfExperts::workspace(const VitrineExpert& expert, int32_t num_experts,
                                                        int64_t choices, bool fixed) {
  const size_t row_bytes = static_cast<size_t>(choices) * dtype_bytes(expert.down->dtype);
  Workspace space;
  auto* const words = static_cast<int32_t*>(groups_.reserve(
      (2 * (static_cast<size_t>(num_experts) + 1) + 2 * static_cast<size_t>(choices)) * sizeof(int32_t), fixed));
  space.groups.num_experts = num_experts;
  space.groups.row_start = words;
  space.groups.tile_start = space.groups.row_start + num_experts + 1;
  space.groups.choice_of_row = space.groups.tile_start + num_experts + 1;
  space.groups.row_of_choice = space.groups.choice_of_row + choices;
  space.activated = activated_.reserve(row_bytes * static_cast<size_t>(expert.down->cols), fixed);
  space.results = results_.reserve(row_bytes * static_cast<size_t>(expert.down->rows), fixed);
  return space;
}

void MixtureOfExperts::reserve(const VitrineMoeLayer& layer, int64_t max_tokens, int64_t max_requests) {
  weight_table(layer.experts, layer.num_experts);
  for (const bool fixed : {false, true}) {
    const int64_t tokens = std::min(fixed ? max_requests : max_tokens, kSliceTokens);
    workspace(layer.experts[0], layer.num_experts, tokens * layer.top_k, fixed);
  }
}

size_t MixtureOfExperts::device_bytes() const {
  size_t total = groups_.bytes() + activated_.bytes() + results_.bytes();
  for (const auto& [first, table] : tables_) total += table.device.bytes();
  return total;
}

void MixtureOfExperts::run(const VitrineTensor& x, const VitrineMoeRouting& routing, const VitrineExpert* experts,
                           int activation, const VitrineTensor& out, cudaStream_t stream) {
  if (x.rows == 0) return;
  check_shapes(x, routing, experts, out);
  const void* const* const table = weight_table(experts, routing.num_experts);
  const auto hidden = static_cast<int32_t>(x.cols);
  const auto inner = static_cast<int32_t>(experts[0].down->cols);
  const bool aligned = hidden % 8 == 0 && inner % 8 == 0 && aligned_16(x.data) && aligned_16(out.data);
  const size_t element = dtype_bytes(x.dtype);
  auto [groups, activated, results] =
      workspace(experts[0], routing.num_experts, std::min(x.rows, kSliceTokens) * routing.top_k, fixed_);

  for (int64_t first = 0; first < x.rows; first += kSliceTokens) {
    const int64_t tokens = std::min(kSliceTokens, x.rows - first);
    const auto slice = [&](const VitrineTensor& tensor) {
      return static_cast<char*>(tensor.data) + static_cast<size_t>(first * tensor.cols) * element;
    };
    groups.num_choices = static_cast<int32_t>(tokens * routing.top_k);
    groups.tile_rows = moe_tile_rows(x.dtype, aligned, groups.num_choices, groups.num_experts);
    moe_group(routing.expert_ids + first * routing.top_k, groups, stream);

    GroupedGemm gate_up{groups, slice(x), table, activated, inner, hidden, routing.top_k, activation};
    moe_gemm(x.dtype, aligned, true, gate_up, stream);
    GroupedGemm down{groups, activated, table + routing.num_experts, results, hidden, inner, 0, activation};
    moe_gemm(x.dtype, aligned, false, down, stream);
    moe_combine(results, groups.row_of_choice, routing.expert_weights + first * routing.top_k, routing.top_k,
                {slice(out), tokens, out.cols, out.dtype}, stream);
  }
}

}  // namespace vitrine::cuda
