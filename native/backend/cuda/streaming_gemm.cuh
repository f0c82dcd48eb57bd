// Products with few tokens, bound by the memory that holds the weight. A block takes 16 rows of a weight of 16-bit
// elements or pairs of float8; its warps take turns along k and add up in the end. The rows are the matrix "a" of the
// tensor cores, the tokens "b": that spares the arithmetic of converting. Which k a register holds is ours to choose as
// long as both agree, so that every lane reads 16 bytes at once.
#pragma once

#include "backend/cuda/float8_product.cuh"
#include "backend/cuda/gemm_store.cuh"

namespace vitrine::cuda::streaming_gemm_kernels {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kRows = 16;       // of the weight, of a block
constexpr int kTileTokens = 8;  // of one product of the tensor cores
constexpr int kMostTokens16 = 16;
constexpr int kMostTokens32 = 8;
constexpr int kDepth = 32;  // k of a warp's turn: 4 lanes of 8 elements
constexpr int kUnroll = 4;  // turns whose loads are under way together

/// Float8Pair: k in pairs.
template <class T, int kTiles, class Store>
__global__ void __launch_bounds__(kThreads)
    streaming_kernel(const T* __restrict__ weight, const T* x, int m, int64_t n, int64_t k, Store store) {
  constexpr int kTokens = kTiles * kTileTokens;
  __shared__ float partial[kWarps][kTokens][kRows];
  const int warp = threadIdx.x / 32;
  const int group = threadIdx.x % 32 / 4;
  const int lane_k = threadIdx.x % 4 * 8;
  const int64_t first_row = blockIdx.x * int64_t{kRows};
  // Rows and tokens beyond the last are read from the last: what they give stays in sums that nobody stores.
  const T* row_a = weight + min(first_row + group, n - 1) * k;
  const T* row_b = weight + min(first_row + group + 8, n - 1) * k;
  const T* tokens[kTiles];
#pragma unroll
  for (int j = 0; j < kTiles; ++j) tokens[j] = x + min(j * kTileTokens + group, m - 1) * k;

  float sums[kTiles][4] = {};
  const auto multiply = [&](const uint4& a, const uint4& b, const uint4(&c)[kTiles]) {
    const uint32_t front[4] = {a.x, b.x, a.y, b.y};
    const uint32_t back[4] = {a.z, b.z, a.w, b.w};
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      const uint32_t front_tokens[2] = {c[j].x, c[j].y};
      const uint32_t back_tokens[2] = {c[j].z, c[j].w};
      mma_16x8x16<T>(sums[j], front, front_tokens);
      mma_16x8x16<T>(sums[j], back, back_tokens);
    }
  };
  constexpr int kTurn = kWarps * kDepth;
  int64_t at = warp * kDepth + lane_k;
  uint4 a[kUnroll], b[kUnroll];
  const int64_t last_whole = k - (kUnroll - 1) * kTurn - kDepth + lane_k;  // where kUnroll turns are inside
  const auto load_weights = [&] {
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      a[u] = load_streaming_16(row_a + at + u * kTurn);
      b[u] = load_streaming_16(row_b + at + u * kTurn);
    }
  };
  if (at <= last_whole) load_weights();  // loaded and waited for before any step: under way before the tokens are there
  wait_for_earlier_kernels();
  while (at <= last_whole) {
    uint4 c[kUnroll][kTiles];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
#pragma unroll
      for (int j = 0; j < kTiles; ++j) c[u][j] = load_cached_16(tokens[j] + at + u * kTurn);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) multiply(a[u], b[u], c[u]);
    at += kUnroll * kTurn;
    if (at <= last_whole) load_weights();
  }
  for (; at - lane_k < k; at += kTurn) {
    const bool inside = at < k;  // k is a multiple of 8
    const uint4 last_a = inside ? load_streaming_16(row_a + at) : uint4{};
    const uint4 last_b = inside ? load_streaming_16(row_b + at) : uint4{};
    uint4 c[kTiles];
#pragma unroll
    for (int j = 0; j < kTiles; ++j) c[j] = inside ? load_cached_16(tokens[j] + at) : uint4{};
    multiply(last_a, last_b, c);
  }

  const int pair = threadIdx.x % 4 * 2;
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
    for (int i = 0; i < 4; ++i) partial[warp][j * kTileTokens + pair + i % 2][group + i / 2 * 8] = sums[j][i];
  }
  __syncthreads();
  const int token = threadIdx.x / kRows;
  const int64_t row = first_row + threadIdx.x % kRows;
  if (token >= min(m, kTokens) || row >= n) return;
  float sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += partial[w][token][threadIdx.x % kRows];
  store(token, row, n, sum);
}

__device__ inline float4 as_floats(const uint4& bits) {
  return {__uint_as_float(bits.x), __uint_as_float(bits.y), __uint_as_float(bits.z), __uint_as_float(bits.w)};
}

/// float32: a warp takes one row of the weight.
template <int kTokens>
__global__ void __launch_bounds__(kThreads) streaming_kernel_f32(const float* __restrict__ weight, const float* x,
                                                                 int m, int64_t n, int64_t k, PlainStore<float> store) {
  const int64_t row = blockIdx.x * int64_t{kWarps} + threadIdx.x / 32;
  wait_for_earlier_kernels();
  if (row >= n) return;
  const int lane = threadIdx.x % 32;
  float sums[kTokens] = {};
#pragma unroll 4
  for (int64_t i = lane * 4; i < k; i += 128) {
    const float4 weights = as_floats(load_streaming_16(weight + row * k + i));
#pragma unroll
    for (int token = 0; token < kTokens; ++token) {
      const float4 value = as_floats(load_cached_16(x + min(token, m - 1) * k + i));
      sums[token] = fmaf(weights.x, value.x, sums[token]);
      sums[token] = fmaf(weights.y, value.y, sums[token]);
      sums[token] = fmaf(weights.z, value.z, sums[token]);
      sums[token] = fmaf(weights.w, value.w, sums[token]);
    }
  }
#pragma unroll
  for (int token = 0; token < kTokens; ++token) {
    const float sum = warp_sum(sums[token]);
    if (lane == 0 && token < m) store(token, row, n, sum);
  }
}

}  // namespace vitrine::cuda::streaming_gemm_kernels
