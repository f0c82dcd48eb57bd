// Mixture of experts: routing, grouping of (token, choice) pairs by expert, products of each group with its expert's
// weights, weighted sums. The host never learns who chose whom: grids have room for the worst case and blocks without
// work end at once.
#pragma once

#include "backend/cuda/activation.cuh"
#include "backend/cuda/cuda_api.h"
#include "backend/cuda/expert_groups.h"
#include "backend/cuda/mma.cuh"
#include "backend/cuda/numbers.cuh"
#include "backend/cuda/tile_layout.h"

namespace vitrine::cuda {

/// One warp a token. Order of experts: larger logit first, then lower id. Logits that are not finite make the token's
/// weights NaN (a GPU cannot refuse them as the CPU does), the ids stay in range.
template <class T>
__global__ void __launch_bounds__(128) moe_route_kernel(const T* logits, int64_t tokens, VitrineMoeRouting routing) {
  wait_for_earlier_kernels();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t token = int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (token >= tokens) return;
  const T* const row = logits + token * routing.num_experts;
  const auto logit = [&](int expert) {
    const float value = to_float(row[expert]);
    return isnan(value) ? -INFINITY : value;
  };
  float largest = -INFINITY;
  for (int e = lane; e < routing.num_experts; e += 32) largest = fmaxf(largest, logit(e));
  largest = warp_max(largest);
  float total = 0;
  for (int e = lane; e < routing.num_experts; e += 32) total += expf(to_float(row[e]) - largest);
  total = warp_sum(total);
  const bool finite = isfinite(total) && isfinite(largest);

  int32_t* const ids = routing.expert_ids + token * routing.top_k;
  float* const weights = routing.expert_weights + token * routing.top_k;
  float last = INFINITY;  // the expert chosen before
  int last_id = -1;
  float chosen = 0;
  for (int k = 0; k < routing.top_k; ++k) {
    float best = -INFINITY;
    int best_id = routing.num_experts;
    for (int e = lane; e < routing.num_experts; e += 32) {
      const float value = logit(e);
      const bool left = value < last || (value == last && e > last_id);
      if (left && (value > best || (value == best && e < best_id))) {
        best = value;
        best_id = e;
      }
    }
    for (int offset = 16; offset > 0; offset /= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, best, offset);
      const int other_id = __shfl_xor_sync(0xffffffffu, best_id, offset);
      if (other > best || (other == best && other_id < best_id)) {
        best = other;
        best_id = other_id;
      }
    }
    last = best;
    last_id = best_id;
    const float weight = expf(best - largest);
    chosen += weight;
    if (lane == 0) {
      ids[k] = best_id;
      weights[k] = weight;
    }
  }
  const float divisor = routing.normalize != 0 ? chosen : total;
  __syncwarp();  // the weights are there for all lanes
  for (int k = lane; k < routing.top_k; k += 32) weights[k] = finite ? weights[k] / divisor : NAN;
}

/// One block; dynamic shared memory: num_experts ints.
__global__ void __launch_bounds__(1024) moe_group_kernel(const int32_t* expert_ids, ExpertGroups groups) {
  wait_for_earlier_kernels();
  int32_t* const cursor = reinterpret_cast<int32_t*>(dynamic_shared());
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  for (int e = thread; e < groups.num_experts; e += threads) cursor[e] = 0;
  __syncthreads();
  for (int i = thread; i < groups.num_choices; i += threads) atomicAdd(&cursor[expert_ids[i]], 1);
  __syncthreads();
  if (thread < 32) {
    int rows_before = 0;
    int tiles_before = 0;
    for (int first = 0; first < groups.num_experts; first += 32) {
      const int expert = first + thread;
      const int count = expert < groups.num_experts ? cursor[expert] : 0;
      int rows = count;
      int tiles = (count + groups.tile_rows - 1) / groups.tile_rows;
      const int own_tiles = tiles;
      for (int offset = 1; offset < 32; offset *= 2) {
        const int lower_rows = __shfl_up_sync(0xffffffffu, rows, offset);
        const int lower_tiles = __shfl_up_sync(0xffffffffu, tiles, offset);
        if (thread >= offset) {
          rows += lower_rows;
          tiles += lower_tiles;
        }
      }
      if (expert < groups.num_experts) {
        groups.row_start[expert] = cursor[expert] = rows_before + rows - count;
        groups.tile_start[expert] = tiles_before + tiles - own_tiles;
      }
      rows_before += __shfl_sync(0xffffffffu, rows, 31);
      tiles_before += __shfl_sync(0xffffffffu, tiles, 31);
    }
    if (thread == 0) {
      groups.row_start[groups.num_experts] = rows_before;
      groups.tile_start[groups.num_experts] = tiles_before;
    }
  }
  __syncthreads();
  for (int i = thread; i < groups.num_choices; i += threads) {
    const int row = atomicAdd(&cursor[expert_ids[i]], 1);
    groups.choice_of_row[row] = i;
    groups.row_of_choice[i] = row;
  }
}

/// A block's tile of rows; num_rows is 0 for a block too many.
struct ExpertTile {
  int expert = 0;
  int first_row = 0;
  int num_rows = 0;
};
__device__ inline ExpertTile expert_tile(const ExpertGroups& groups, int tile) {
  if (tile >= groups.tile_start[groups.num_experts]) return {};
  // The last expert whose first tile is not behind this one, which passes over those without tiles. All warps count for
  // themselves: a search by halves would wait for one load after another.
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int before = 0;
#pragma unroll 4
  for (int e = lane; e - lane < groups.num_experts; e += 32) {
    before += __popc(__ballot_sync(0xffffffffu, e < groups.num_experts && groups.tile_start[e] <= tile));
  }
  const int expert = before - 1;
  const int first = groups.row_start[expert] + (tile - groups.tile_start[expert]) * groups.tile_rows;
  return {expert, first, min(groups.tile_rows, groups.row_start[expert + 1] - first)};
}

__device__ inline int64_t source_row(const GroupedGemm& job, int row) {
  return job.choices_per_source > 0 ? job.groups.choice_of_row[row] / job.choices_per_source : row;
}

/// Gated products compute a column of the gate and the same of the up projection in one thread. So the rows of a weight
/// tile are, for every kSpan of them, kSpan / 2 rows of the gate and the kSpan / 2 rows of up that belong to them.
/// Gives the column of `out` for a tile's row, and which half of the weight it is in.
template <int kSpan, bool kGated>
VITRINE_HOST_DEVICE constexpr int tile_column(int row) {
  return kGated ? row / kSpan * (kSpan / 2) + row % (kSpan / 2) : row;
}
template <int kSpan, bool kGated>
VITRINE_HOST_DEVICE constexpr bool tile_is_up(int row) {
  return kGated && row % kSpan >= kSpan / 2;
}

__device__ inline float gated(int activation, float gate, float up) {
  switch (activation) {
    case VITRINE_SILU: return activate<VITRINE_SILU>(gate) * up;
    case VITRINE_GELU: return activate<VITRINE_GELU>(gate) * up;
    default: return activate<VITRINE_GELU_TANH>(gate) * up;
  }
}

/// Tiles of the tensor core kernel: kWarpsM x kWarpsN warps, each of kBlocksM x kBlocksN products of 16 x 8.
template <int kWarpsM_, int kWarpsN_, int kBlocksM_, int kBlocksN_, int kDepth_, int kStages_>
struct ExpertGemmShape {
  static constexpr int kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kBlocksM = kBlocksM_, kBlocksN = kBlocksN_;
  static constexpr int kDepth = kDepth_, kStages = kStages_;
  static constexpr int kThreads = kWarpsM * kWarpsN * 32;
  static constexpr int kRows = kWarpsM * kBlocksM * 16;
  static constexpr int kSpan = kBlocksN * 8;  ///< weight rows of a warp
  static constexpr int kColumns = kWarpsN * kSpan;
  static constexpr int kStageElements = (kRows + kColumns) * kDepth;
  static constexpr size_t kSharedBytes = 2 * kStages * kStageElements;
  static_assert(kSharedBytes <= 48 * 1024, "more needs cudaFuncSetAttribute");
};
using FewRows = ExpertGemmShape<1, 4, 1, 2, 64, 4>;  ///< bound by reading the weights
using SomeRows = ExpertGemmShape<2, 4, 2, 4, 32, 3>;
using ManyRows = ExpertGemmShape<2, 4, 4, 4, 32, 3>;

/// 16-bit elements, n and k multiples of 8, addresses aligned to 16 bytes. Grid (columns, tiles).
template <class T, class Shape, bool kGated>
__global__ void __launch_bounds__(Shape::kThreads) moe_gemm_kernel(GroupedGemm job) {
  wait_for_earlier_kernels();
  constexpr int kChunks = Shape::kDepth / kChunkElements;
  constexpr int kBlocksM = Shape::kBlocksM;
  constexpr int kBlocksN = Shape::kBlocksN;
  const ExpertTile tile = expert_tile(job.groups, static_cast<int>(blockIdx.y));
  if (tile.num_rows == 0) return;
  T* const stages = reinterpret_cast<T*>(dynamic_shared());
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  const int warp_m = thread / 32 / Shape::kWarpsN * kBlocksM * 16;
  const int warp_n = thread / 32 % Shape::kWarpsN * Shape::kSpan;
  constexpr int kOutColumns = kGated ? Shape::kColumns / 2 : Shape::kColumns;
  const int first_column = static_cast<int>(blockIdx.x) * kOutColumns;
  const T* const x = static_cast<const T*>(job.x);
  const T* const weight = static_cast<const T*>(job.weights[tile.expert]);
  const int turns = (job.k + Shape::kDepth - 1) / Shape::kDepth;

  // The rows that this thread copies are the same in every turn.
  constexpr int kRowsAtOnce = Shape::kThreads / kChunks;
  constexpr int kCopiesX = (Shape::kRows + kRowsAtOnce - 1) / kRowsAtOnce;
  constexpr int kCopiesW = Shape::kColumns / kRowsAtOnce;
  static_assert(Shape::kThreads % kChunks == 0 && Shape::kColumns % kRowsAtOnce == 0);
  const int copied_row = thread / kChunks;
  const int chunk = thread % kChunks;
  const T* from_x[kCopiesX];
  const T* from_w[kCopiesW];
#pragma unroll
  for (int i = 0; i < kCopiesX; ++i) {
    const int row = copied_row + i * kRowsAtOnce;
    from_x[i] = row < tile.num_rows ? x + source_row(job, tile.first_row + row) * job.k : nullptr;
  }
#pragma unroll
  for (int i = 0; i < kCopiesW; ++i) {
    const int row = copied_row + i * kRowsAtOnce;
    const int column = first_column + tile_column<Shape::kSpan, kGated>(row);
    const int64_t weight_row = column + (tile_is_up<Shape::kSpan, kGated>(row) ? job.n : 0);
    from_w[i] = column < job.n ? weight + weight_row * job.k : nullptr;
  }
  const auto copy = [&](T* to, const T* from, const T* any, int row, int at) {
    const bool valid = from != nullptr && at < job.k;
    copy_async_16(to + tile_element(row, chunk, kChunks), valid ? from + at : any, valid);
  };
  const auto load = [&](int turn) {
    if (turn < turns) {
      T* const stage = stages + turn % Shape::kStages * Shape::kStageElements;
      const int at = turn * Shape::kDepth + chunk * kChunkElements;
#pragma unroll
      for (int i = 0; i < kCopiesX; ++i) {
        const int row = copied_row + i * kRowsAtOnce;
        if (row < Shape::kRows) copy(stage, from_x[i], x, row, at);
      }
#pragma unroll
      for (int i = 0; i < kCopiesW; ++i) {
        copy(stage + Shape::kRows * Shape::kDepth, from_w[i], weight, copied_row + i * kRowsAtOnce, at);
      }
    }
    copy_async_commit();  // an empty group keeps the count of groups that the wait goes by
  };
#pragma unroll
  for (int turn = 0; turn < Shape::kStages - 1; ++turn) load(turn);

  float sums[kBlocksM][kBlocksN][4] = {};
  const LaneAddress at_a = a_operand_address(lane);
  const LaneAddress at_b = b_operand_address(lane);
  for (int turn = 0; turn < turns; ++turn) {
    copy_async_wait<Shape::kStages - 2>();
    __syncthreads();  // this turn's tiles are there, and the stage loaded next is read no more
    load(turn + Shape::kStages - 1);
    const T* const x_tile = stages + turn % Shape::kStages * Shape::kStageElements;
    const T* const w_tile = x_tile + Shape::kRows * Shape::kDepth;
#pragma unroll
    for (int step = 0; step < Shape::kDepth / 16; ++step) {
      uint32_t a[kBlocksM][4];
#pragma unroll
      for (int i = 0; i < kBlocksM; ++i) {
        ldmatrix_x4(a[i], x_tile + tile_element(warp_m + i * 16 + at_a.row, step * 2 + at_a.chunk, kChunks));
      }
#pragma unroll
      for (int pair = 0; pair < kBlocksN / 2; ++pair) {
        uint32_t b[4];
        ldmatrix_x4(b, w_tile + tile_element(warp_n + pair * 16 + at_b.row, step * 2 + at_b.chunk, kChunks));
        const uint32_t b01[2] = {b[0], b[1]};
        const uint32_t b23[2] = {b[2], b[3]};
#pragma unroll
        for (int i = 0; i < kBlocksM; ++i) {
          mma_16x8x16<T>(sums[i][2 * pair], a[i], b01);
          mma_16x8x16<T>(sums[i][2 * pair + 1], a[i], b23);
        }
      }
    }
  }

  T* const out = static_cast<T*>(job.out);
  constexpr int kOutBlocks = kGated ? kBlocksN / 2 : kBlocksN;
#pragma unroll
  for (int i = 0; i < kBlocksM; ++i) {
#pragma unroll
    for (int j = 0; j < kOutBlocks; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const TileCell cell = accumulator_cell(lane, 2 * half);
        const int row = warp_m + i * 16 + cell.row;
        const int column = first_column + tile_column<Shape::kSpan, kGated>(warp_n) + j * 8 + cell.col;
        if (row >= tile.num_rows || column >= job.n) continue;
        float first = sums[i][j][2 * half];
        float second = sums[i][j][2 * half + 1];
        if constexpr (kGated) {
          first = gated(job.activation, first, sums[i][j + kOutBlocks][2 * half]);
          second = gated(job.activation, second, sums[i][j + kOutBlocks][2 * half + 1]);
        }
        T* const to = out + (int64_t{tile.first_row} + row) * job.n + column;
        *reinterpret_cast<uint32_t*>(to) = pack_pair<T>(first, second);
      }
    }
  }
}

/// Any element type and size, plain products: tiles of 16 rows x 64 rows of the weight, each thread 2 x 4 of them.
constexpr int kPlainRows = 16;
constexpr int kPlainColumns = 64;
constexpr int kPlainDepth = 16;
constexpr int kPlainThreads = 128;

template <class T, bool kGated>
__global__ void __launch_bounds__(kPlainThreads, 8) moe_plain_gemm_kernel(GroupedGemm job) {
  wait_for_earlier_kernels();
  __shared__ float x_tile[kPlainDepth][kPlainRows + 1];
  __shared__ float w_tile[kPlainDepth][kPlainColumns + 1];
  const ExpertTile tile = expert_tile(job.groups, static_cast<int>(blockIdx.y));
  if (tile.num_rows == 0) return;
  const int thread = static_cast<int>(threadIdx.x);
  const int column = thread % 16;
  const int line = thread / 16;
  constexpr int kOutColumns = kGated ? kPlainColumns / 2 : kPlainColumns;
  const int first_column = static_cast<int>(blockIdx.x) * kOutColumns;
  const T* const x = static_cast<const T*>(job.x);
  const T* const weight = static_cast<const T*>(job.weights[tile.expert]);
  float sums[2][4] = {};
  for (int at = 0; at < job.k; at += kPlainDepth) {
    for (int i = thread; i < kPlainRows * kPlainDepth; i += kPlainThreads) {
      const int row = i / kPlainDepth;
      const int depth = at + i % kPlainDepth;
      const bool inside = row < tile.num_rows && depth < job.k;
      x_tile[i % kPlainDepth][row] = inside ? to_float(x[source_row(job, tile.first_row + row) * job.k + depth]) : 0.0f;
    }
    for (int i = thread; i < kPlainColumns * kPlainDepth; i += kPlainThreads) {
      const int row = i / kPlainDepth;
      const int depth = at + i % kPlainDepth;
      const int out_column = first_column + tile_column<kPlainColumns, kGated>(row);
      const int64_t weight_row = out_column + (tile_is_up<kPlainColumns, kGated>(row) ? job.n : 0);
      const bool inside = out_column < job.n && depth < job.k;
      w_tile[i % kPlainDepth][row] = inside ? to_float(weight[weight_row * job.k + depth]) : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int depth = 0; depth < kPlainDepth; ++depth) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sums[i][j] = fmaf(x_tile[depth][line + i * 8], w_tile[depth][column + j * 16], sums[i][j]);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < (kGated ? 2 : 4); ++j) {
      const int row = line + i * 8;
      const int out_column = first_column + column + j * 16;
      if (row >= tile.num_rows || out_column >= job.n) continue;
      float value = sums[i][j];
      if constexpr (kGated) value = gated(job.activation, value, sums[i][j + 2]);
      static_cast<T*>(job.out)[(int64_t{tile.first_row} + row) * job.n + out_column] = from_float<T>(value);
    }
  }
}

/// out[token] = sum over k, in order, of weight * results[row of the choice]. One block a token. kVec: elements at
/// once.
template <class T, int kVec>
__global__ void __launch_bounds__(256) moe_combine_kernel(const T* results, const int32_t* row_of_choice,
                                                          const float* weights, int top_k, int hidden, T* out) {
  wait_for_earlier_kernels();
  const int64_t token = blockIdx.x;
  const int32_t* const rows = row_of_choice + token * top_k;
  for (int at = static_cast<int>(threadIdx.x) * kVec; at < hidden; at += static_cast<int>(blockDim.x) * kVec) {
    float sums[kVec] = {};
    for (int k = 0; k < top_k; ++k) {
      const float weight = weights[token * top_k + k];
      const T* const from = results + int64_t{rows[k]} * hidden + at;
      if constexpr (kVec == 1) {
        sums[0] = fmaf(weight, to_float(*from), sums[0]);
      } else {
        const Vec16<T> values = load16(from);
#pragma unroll
        for (int i = 0; i < kVec; ++i) sums[i] = fmaf(weight, to_float(values.at[i]), sums[i]);
      }
    }
    T* const to = out + token * hidden + at;
    if constexpr (kVec == 1) {
      *to = from_float<T>(sums[0]);
    } else {
      Vec16<T> values;
#pragma unroll
      for (int i = 0; i < kVec; ++i) values.at[i] = from_float<T>(sums[i]);
      store16(to, values);
    }
  }
}

}  // namespace vitrine::cuda
