// What the kernels of a mixture of experts are launched with.
#pragma once

#include <cstdint>

namespace vitrine::cuda {

/// The choices (token * top_k + k) of some tokens by expert, in device memory. Rows of one expert are in no particular
/// order: what becomes of a row does not depend on its neighbours.
struct ExpertGroups {
  int32_t* row_start = nullptr;   ///< [num_experts + 1], first row of each expert
  int32_t* tile_start = nullptr;  ///< [num_experts + 1], the same in tiles of tile_rows rows
  int32_t* choice_of_row = nullptr;
  int32_t* row_of_choice = nullptr;
  int32_t num_experts = 0;
  int32_t num_choices = 0;
  int32_t tile_rows = 0;
};

/// One product per expert: out[row, n] = x[source(row), k] * weights[expert][., k]^T.
struct GroupedGemm {
  ExpertGroups groups;
  const void* x = nullptr;               ///< [., k]
  const void* const* weights = nullptr;  ///< [num_experts] in device memory, each [n or 2 * n, k]
  void* out = nullptr;                   ///< [num_choices, n]
  int32_t n = 0;
  int32_t k = 0;
  int32_t choices_per_source = 0;  ///< > 0: row r comes from x[choice_of_row[r] / this]; 0: from x[r]
  int32_t activation = 0;          ///< VitrineActivation, where the product is gated
};

}  // namespace vitrine::cuda
