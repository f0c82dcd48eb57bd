// The k largest of a row, best first, ties by lower id.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/cpu/kernels.h"

namespace vitrine {

/// Fills `ids` with min(k, n) ids. x has no NaN; -infinity is allowed.
void select_top(const CpuKernels& kernels, const float* x, int64_t n, int64_t k, std::vector<int32_t>& ids);

}  // namespace vitrine
