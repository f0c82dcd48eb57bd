// Copies in the largest unit that rows and addresses allow.
#pragma once

#include "backend/cuda/numbers.cuh"
#include "backend/cuda/rows.h"

namespace vitrine::cuda::rows_kernels {

__global__ void resolve_kernel(const int32_t* ids, const int32_t* last_sampled, int32_t count, int32_t* out) {
  wait_for_earlier_kernels();
  const int32_t i = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) out[i] = ids[i] >= 0 ? ids[i] : last_sampled[-(ids[i] + 1)];
}

template <class Unit>
__global__ void gather_kernel(const Unit* table, const int32_t* rows, int64_t units, Unit* out) {
  wait_for_earlier_kernels();
  const Unit* from = table + rows[blockIdx.x] * units;
  Unit* to = out + blockIdx.x * units;
  for (int64_t i = threadIdx.x; i < units; i += blockDim.x) to[i] = from[i];
}

struct ScatterParts {
  ScatterPart parts[kMostScatterParts];
};

/// A part for each blockIdx.y.
__global__ void scatter_kernel(ScatterParts parts) {
  wait_for_earlier_kernels();
  const ScatterPart part = parts.parts[blockIdx.y];
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < part.count; i += stride)
    part.to[i] = part.from[i];
}

template <class From, class To>
__global__ void convert_kernel(const From* from, To* to, int64_t count) {
  wait_for_earlier_kernels();
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += int64_t{gridDim.x} * blockDim.x) {
    to[i] = from_float<To>(to_float(from[i]));
  }
}

}  // namespace vitrine::cuda::rows_kernels
