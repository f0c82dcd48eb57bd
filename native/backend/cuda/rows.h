// Ops that move rows: embedding, gathering, token references, conversion of dtypes.
#pragma once

#include <vector>

#include "backend/cuda/launch.h"

namespace vitrine::cuda {

/// out[i] = ids[i] >= 0 ? ids[i] : last_sampled[-(ids[i] + 1)], for i < count.
void resolve_token_ids(const int32_t* ids, const int32_t* last_sampled, int32_t count, int32_t* out,
                       cudaStream_t stream);

/// out[t] = row rows[t] of `table`, whose rows have out's width and dtype.
void gather_rows(const void* table, const int32_t* rows, const VitrineTensor& out, cudaStream_t stream);

/// Words that go from one place on the device to another.
struct ScatterPart {
  const int32_t* from = nullptr;
  int32_t* to = nullptr;
  int64_t count = 0;
};
constexpr size_t kMostScatterParts = 8;

/// Copies all parts, kMostScatterParts at most, in one launch.
void scatter(const std::vector<ScatterPart>& parts, cudaStream_t stream);

/// Elements of one dtype into another, rounded to nearest even.
void convert(const void* from, int from_dtype, void* to, int to_dtype, int64_t count, cudaStream_t stream);

}  // namespace vitrine::cuda
