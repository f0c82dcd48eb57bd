// What the matrix products do with a sum once it is complete: the element of `token` and `row` of the weight of out
// [m, n], with the bias, and, where the operands are float8 codes, with both their scales.
#pragma once

#include "backend/cuda/numbers.cuh"

namespace vitrine::cuda {

template <class T>
struct PlainStore {
  T* out;
  const float* bias;  ///< [n] or null

  __device__ void operator()(int64_t token, int64_t row, int64_t n, float sum) const {
    out[token * n + row] = from_float<T>(bias == nullptr ? sum : sum + bias[row]);
  }
};

template <class T>
struct ScaledStore {
  PlainStore<T> plain;
  const float* token_scales;  ///< [m]
  const float* row_scales;    ///< [n]

  __device__ void operator()(int64_t token, int64_t row, int64_t n, float sum) const {
    plain(token, row, n, sum * token_scales[token] * row_scales[row]);
  }
};

}  // namespace vitrine::cuda
