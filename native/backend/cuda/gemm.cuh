// Matrix products for every shape, where cublasLt is absent or has no algorithm. 16-bit types and pairs of float8:
// tiles of tokens x 128 rows of the weight, 32 deep, three stages of asynchronous copies, tensor cores. float32: 64 x
// 64 tiles, plain FMA.
#pragma once

#include "backend/cuda/float8_product.cuh"
#include "backend/cuda/gemm_store.cuh"

namespace vitrine::cuda::gemm_kernels {

constexpr int kThreads = 256;
constexpr int kTileN = 128;  // rows of the weight
constexpr int kTileK = 32;
constexpr int kStages = 3;
constexpr int kRowChunks = kTileK / 8;  // 16-byte pieces of a tile's row

/// Where chunk `chunk` of a tile's row lies. Two rows share 128 bytes of shared memory; the exclusive or gives the
/// eight rows of an ldmatrix eight different sets of banks.
template <class T>
__device__ T* tile_chunk(T* tile, int row, int chunk) {
  return tile + row * kTileK + (chunk ^ (row / 2 % kRowChunks)) * 8;
}

/// Rows [first, first + kRows) of a [rows, k] matrix, columns [at, at + kTileK), into a tile; zeros outside.
template <class T, int kRows, bool kAligned>
__device__ void load_tile(T* tile, const T* from, int64_t first, int64_t rows, int64_t at, int64_t k) {
#pragma unroll
  for (int i = threadIdx.x; i < kRows * kRowChunks; i += kThreads) {
    const int row = i / kRowChunks;
    const int chunk = i % kRowChunks;
    const int64_t column = at + chunk * 8;
    const T* source = from + (first + row) * k + column;
    T* target = tile_chunk(tile, row, chunk);
    const bool inside = first + row < rows && column < k;
    if constexpr (kAligned) {
      copy_async_16(target, inside ? source : from, inside);
    } else {
      Vec16<T> values;
      for (int j = 0; j < 8; ++j) values.at[j] = inside && column + j < k ? source[j] : from_float<T>(0.0f);
      store16(target, values);
    }
  }
}

/// The block's warps form 2 x 4: each computes kTileM / 2 tokens x 32 rows of the weight. Float8Pair: k in pairs.
template <class T, int kTileM, bool kAligned, class Store>
__global__ void __launch_bounds__(kThreads, 1)
    gemm_kernel(const T* x, const T* __restrict__ weight, int64_t m, int64_t n, int64_t k, Store store) {
  wait_for_earlier_kernels();
  constexpr int kStageElements = (kTileM + kTileN) * kTileK;
  constexpr int kBlocksM = kTileM / 2 / 16;
  T* stages = reinterpret_cast<T*>(dynamic_shared());
  const int lane = threadIdx.x % 32;
  const int warp_m = threadIdx.x / 128 * (kTileM / 2);
  const int warp_n = threadIdx.x / 32 % 4 * 32;
  const int64_t first_m = blockIdx.y * int64_t{kTileM};
  const int64_t first_n = blockIdx.x * int64_t{kTileN};
  const int64_t turns = (k + kTileK - 1) / kTileK;
  const auto load = [&](int64_t turn) {
    T* stage = stages + turn % kStages * kStageElements;
    load_tile<T, kTileM, kAligned>(stage, x, first_m, m, turn * kTileK, k);
    load_tile<T, kTileN, kAligned>(stage + kTileM * kTileK, weight, first_n, n, turn * kTileK, k);
  };
  for (int64_t turn = 0; turn < kStages - 1; ++turn) {
    if (turn < turns) load(turn);
    copy_async_commit();
  }

  float sums[kBlocksM][4][4] = {};
  for (int64_t turn = 0; turn < turns; ++turn) {
    copy_async_wait<kStages - 2>();
    __syncthreads();  // this turn's tiles are there, and the stage loaded next is read no more
    if (turn + kStages - 1 < turns) load(turn + kStages - 1);
    copy_async_commit();
    T* x_tile = stages + turn % kStages * kStageElements;
    T* w_tile = x_tile + kTileM * kTileK;
#pragma unroll
    for (int half = 0; half < kTileK / 16; ++half) {
      // Matrices of an ldmatrix: rows 0-7 and 8-15 of the first eight columns, then of the next eight.
      uint32_t a[kBlocksM][4];
#pragma unroll
      for (int i = 0; i < kBlocksM; ++i) {
        ldmatrix_x4(a[i], tile_chunk(x_tile, warp_m + i * 16 + lane % 16, half * 2 + lane / 16));
      }
      uint32_t b[4][2];
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {
        uint32_t matrices[4];
        ldmatrix_x4(matrices, tile_chunk(w_tile, warp_n + pair * 16 + lane % 16, half * 2 + lane / 16));
        b[pair * 2][0] = matrices[0];
        b[pair * 2 + 1][0] = matrices[1];
        b[pair * 2][1] = matrices[2];
        b[pair * 2 + 1][1] = matrices[3];
      }
#pragma unroll
      for (int i = 0; i < kBlocksM; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) mma_16x8x16<T>(sums[i][j], a[i], b[j]);
      }
    }
  }

#pragma unroll
  for (int i = 0; i < kBlocksM; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int element = 0; element < 4; ++element) {
        const int64_t token = first_m + warp_m + i * 16 + lane / 4 + element / 2 * 8;
        const int64_t row = first_n + warp_n + j * 8 + lane % 4 * 2 + element % 2;
        if (token < m && row < n) store(token, row, n, sums[i][j][element]);
      }
    }
  }
}

constexpr int kTile32 = 64;
constexpr int kDepth32 = 16;

/// Each thread computes 4 x 4 outputs, 16 apart, so that threads beside each other read neighbouring floats.
__global__ void __launch_bounds__(kThreads) gemm_kernel_f32(const float* x, const float* __restrict__ weight, int64_t m,
                                                            int64_t n, int64_t k, PlainStore<float> store) {
  wait_for_earlier_kernels();
  __shared__ float x_tile[kDepth32][kTile32 + 1];
  __shared__ float w_tile[kDepth32][kTile32 + 1];
  const int column = threadIdx.x % 16;
  const int line = threadIdx.x / 16;
  const int64_t first_m = blockIdx.y * int64_t{kTile32};
  const int64_t first_n = blockIdx.x * int64_t{kTile32};
  float sums[4][4] = {};
  for (int64_t at = 0; at < k; at += kDepth32) {
    for (int i = threadIdx.x; i < kTile32 * kDepth32; i += kThreads) {
      const int row = i / kDepth32;
      const int64_t depth = at + i % kDepth32;
      const bool inside = depth < k;
      x_tile[i % kDepth32][row] = inside && first_m + row < m ? x[(first_m + row) * k + depth] : 0.0f;
      w_tile[i % kDepth32][row] = inside && first_n + row < n ? weight[(first_n + row) * k + depth] : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int depth = 0; depth < kDepth32; ++depth) {
      float a[4], b[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[i] = x_tile[depth][line + i * 16];
        b[i] = w_tile[depth][column + i * 16];
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t token = first_m + line + i * 16;
      const int64_t row = first_n + column + j * 16;
      if (token < m && row < n) store(token, row, n, sums[i][j]);
    }
  }
}

}  // namespace vitrine::cuda::gemm_kernels
