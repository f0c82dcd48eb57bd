// Attention of one warp on tensor cores: 16 query rows (or a multiple) against tiles of keys in shared memory, with the
// softmax computed on the way (FlashAttention-2, Dao 2023). Scores are in units of log2.
#pragma once

#include <type_traits>

#include "backend/cuda/attention_args.h"
#include "backend/cuda/float8.cuh"
#include "backend/cuda/mma.cuh"
#include "backend/cuda/numbers.cuh"
#include "backend/cuda/tile_layout.h"

namespace vitrine::cuda {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr float kMinusInfinity = -INFINITY;

/// Row of the cache, in units of head_dim elements, where a key of a request and kv head lies. 32 bits reach far: 2^32
/// rows of the smallest fast head_dim (64) are 512 GiB of 16 bits, 256 GiB of
/// float8.
struct KeyRows {
  static constexpr uint32_t kNone = 0xffffffffu;

  const int32_t* blocks;  ///< of the request
  int32_t block_size, block_shift, kv_heads, kv_head;

  __device__ KeyRows(const AttentionArgs& args, int32_t request, int32_t head)
      : blocks(args.blocks + args.block_start[request]),
        block_size(args.block_size),
        block_shift(args.block_shift),
        kv_heads(args.kv_heads),
        kv_head(head) {}

  __device__ int64_t row(int32_t key) const {
    const int32_t index = block_shift >= 0 ? key >> block_shift : key / block_size;
    return (int64_t{blocks[index]} * kv_heads + kv_head) * block_size + (key - index * block_size);
  }
  __device__ uint32_t row_or_none(int32_t key, int32_t end) const {
    return key < end ? static_cast<uint32_t>(row(key)) : kNone;
  }
};

/// Rows one behind the other: what ldmatrix reads.
template <int kHeadDim>
struct RowTile {
  static __device__ constexpr int element(int row, int chunk) {
    return tile_element(row, chunk, kHeadDim / kChunkElements);
  }
};

/// Rows of Float8, before they are widened.
template <int kHeadDim>
struct NarrowTile {
  static __device__ constexpr int element(int row, int chunk) { return row * kHeadDim + chunk * 16; }
};

template <int kHeadDim, class C>
using CopiedTile = std::conditional_t<sizeof(C) == 1, NarrowTile<kHeadDim>, RowTile<kHeadDim>>;

/// One warp starts the copy of kRows (<= 32) rows of K or V into a tile whose first row is a multiple of 8; lane i
/// brings the place of row i in the cache. Rows that are none become zeros: what lies in the cache there may be NaN,
/// and 0 * NaN would reach the output.
template <class C, int kHeadDim, int kRows, class Layout = CopiedTile<kHeadDim, C>>
__device__ __forceinline__ void copy_key_rows(const C* cache, uint32_t row_of_lane, C* tile, int lane) {
  constexpr int kElements = 16 / sizeof(C);  // that are copied at once
  constexpr int kChunks = kHeadDim / kElements;
  static_assert(kRows <= 32 && kRows * kChunks % 32 == 0);
#pragma unroll 2  // the addresses of more copies at once are too many registers
  for (int i = 0; i < kRows * kChunks / 32; ++i) {
    const int index = i * 32 + lane;
    const int row = index / kChunks;
    const int chunk = index % kChunks;
    const uint32_t from = __shfl_sync(kAllLanes, row_of_lane, row);
    const bool valid = from != KeyRows::kNone;
    copy_async_16(tile + Layout::element(row, chunk),
                  cache + (valid ? int64_t{from} * kHeadDim + chunk * kElements : 0), valid);
  }
}

/// One warp widens kRows rows of Float8 into a swizzled tile whose first row is a multiple of 8.
template <class T, int kHeadDim, int kRows>
__device__ __forceinline__ void widen_key_rows(const Float8* narrow, T* tile, int lane) {
  constexpr int kChunks = kHeadDim / kChunkElements;
  static_assert(kRows * kChunks % 32 == 0);
#pragma unroll 2
  for (int i = 0; i < kRows * kChunks / 32; ++i) {
    const int index = i * 32 + lane;
    const uint2 codes = *reinterpret_cast<const uint2*>(narrow + index * kChunkElements);
    const uint4 wide = {widen_pair<T>(codes.x), widen_pair<T>(codes.x >> 16), widen_pair<T>(codes.y),
                        widen_pair<T>(codes.y >> 16)};
    *reinterpret_cast<uint4*>(tile + RowTile<kHeadDim>::element(index / kChunks, index % kChunks)) = wide;
  }
}

/// `threads` threads copy the query rows of an item into a swizzled tile of kRows rows; rows that do not exist are
/// zero.
template <class T, int kHeadDim, int kRows, class Layout = RowTile<kHeadDim>>
__device__ __forceinline__ void copy_query_rows(const AttentionArgs& args, const AttentionItem& item, int kv_head,
                                                T* tile, int thread, int threads) {
  constexpr int kChunks = kHeadDim / kChunkElements;
#pragma unroll 1
  for (int index = thread; index < kRows * kChunks; index += threads) {
    const int row = index / kChunks;
    const int chunk = index % kChunks;
    const bool valid = row < item.num_rows;
    const int32_t request_row = item.first_row + (valid ? row : 0);
    const int32_t token = item.first_token + request_row / args.group;
    const int32_t head = kv_head * args.group + request_row % args.group;
    copy_async_16(
        tile + Layout::element(row, chunk),
        static_cast<const T*>(args.q) + token * args.q_stride + int64_t{head} * kHeadDim + chunk * kChunkElements,
        valid);
  }
}

/// Keys [low, high] that a row may see; none for a row that does not exist.
struct VisibleKeys {
  int32_t low, high;
};
__device__ __forceinline__ VisibleKeys visible_keys(const AttentionArgs& args, const AttentionItem& item, int row) {
  if (row >= item.num_rows) return {0, -1};
  const int32_t position = item.first_position + (item.first_row + row) / args.group;
  return {args.window > 0 ? position - args.window + 1 : 0, min(position, item.key_end - 1)};
}

/// The A operands of kRowTiles * 16 query rows: in registers where there is room, else read again for each key tile.
template <class T, int kHeadDim, int kRowTiles, bool kInRegisters>
class QueryOperand {
  static constexpr int kChunks = kHeadDim / kChunkElements;
  static constexpr int kSteps = kHeadDim / 16;

 public:
  /// `tile`: the warp's first row, a multiple of 8 of the swizzled query tile.
  __device__ __forceinline__ void begin(const T* tile, int lane) {
    const LaneAddress at = a_operand_address(lane);
    row_ = tile + at.row * kHeadDim;
    if constexpr (kInRegisters) {
#pragma unroll
      for (int t = 0; t < kRowTiles; ++t) {
#pragma unroll
        for (int step = 0; step < kSteps; ++step) ldmatrix_x4(held_[t][step], address(t, step, lane));
      }
    }
  }
  __device__ __forceinline__ void get(int row_tile, int step, int lane, uint32_t (&a)[4]) const {
    if constexpr (kInRegisters) {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = held_[row_tile][step][i];
    } else {
      ldmatrix_x4(a, address(row_tile, step, lane));
    }
  }

 private:
  __device__ __forceinline__ const T* address(int row_tile, int step, int lane) const {
    const LaneAddress at = a_operand_address(lane);
    return row_ + row_tile * 16 * kHeadDim + swizzled_chunk(at.row, step * 2 + at.chunk, kChunks) * kChunkElements;
  }

  const T* row_;
  uint32_t held_[kInRegisters ? kRowTiles : 1][kInRegisters ? kSteps : 1][4];
};

/// Running softmax(q K^T) V of kRowTiles * 16 rows. Registers are those of the accumulator (tile_layout.h): in row tile
/// t, `half` 0 and 1 are rows lane / 4 and lane / 4 + 8, and the 4 lanes of a row hold its columns.
template <class T, int kHeadDim, int kRowTiles>
class WarpAttention {
  static constexpr int kChunks = kHeadDim / kChunkElements;
  // Steps along head_dim whose operands may be read ahead: more are too many registers beside two row tiles.
  static constexpr int kStepsAtOnce = kRowTiles == 1 ? kHeadDim / 16 : kHeadDim < 128 ? 2 : 1;

 public:
  float out[kRowTiles][kHeadDim / 8][4];
  float largest[kRowTiles][2];  ///< raw score (before the scale)
  float sum[kRowTiles][2];      ///< of this lane's columns until finish()

  __device__ __forceinline__ void begin() {
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t) {
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) out[t][n][i] = 0;
      }
      largest[t][0] = largest[t][1] = kMinusInfinity;
      sum[t][0] = sum[t][1] = 0;
    }
  }

  /// Adds kKeys keys, the first of them `first_key`. `masked`: some row may not see some key; visible(row) are the keys
  /// of row 0, ... of the warp (computed anew for the few tiles that need a mask: they would take registers).
  template <int kKeys, class Queries, class Visible>
  __device__ __forceinline__ void add_keys(const Queries& queries, const T* k_tile, const T* v_tile, int lane,
                                           float scale_log2, int32_t first_key, bool masked, const Visible& visible) {
    float scores[kRowTiles][kKeys / 8][4];
    multiply_keys<kKeys>(queries, k_tile, lane, scores);
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t) {
      if (masked) {
        mask<kKeys>(scores[t], first_key + 2 * (lane % 4), visible(t * 16 + lane / 4), visible(t * 16 + lane / 4 + 8));
      }
      normalise<kKeys>(t, scores[t], scale_log2);
    }
    multiply_values<kKeys>(scores, v_tile, lane);
  }

  /// The sums of whole rows, the same in the 4 lanes of a row.
  __device__ __forceinline__ void finish() {
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        sum[t][half] += __shfl_xor_sync(kAllLanes, sum[t][half], 1);
        sum[t][half] += __shfl_xor_sync(kAllLanes, sum[t][half], 2);
      }
    }
  }

 private:
  template <int kKeys, class Queries>
  __device__ __forceinline__ void multiply_keys(const Queries& queries, const T* tile, int lane,
                                                float (&scores)[kRowTiles][kKeys / 8][4]) {
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[t][n][i] = 0;
      }
    }
    const LaneAddress at = b_operand_address(lane);
#pragma unroll(kStepsAtOnce)
    for (int step = 0; step < kHeadDim / 16; ++step) {
      uint32_t a[kRowTiles][4];
#pragma unroll
      for (int t = 0; t < kRowTiles; ++t) queries.get(t, step, lane, a[t]);
      const T* const column = tile + tile_element(at.row, step * 2 + at.chunk, kChunks);
#pragma unroll
      for (int pair = 0; pair < kKeys / 16; ++pair) {
        uint32_t b[4];
        ldmatrix_x4(b, column + pair * 16 * kHeadDim);
        const uint32_t b01[2] = {b[0], b[1]};
        const uint32_t b23[2] = {b[2], b[3]};
#pragma unroll
        for (int t = 0; t < kRowTiles; ++t) {
          mma_16x8x16<T>(scores[t][2 * pair], a[t], b01);
          mma_16x8x16<T>(scores[t][2 * pair + 1], a[t], b23);
        }
      }
    }
  }

  /// `key` is that of this lane's first column.
  template <int kKeys>
  __device__ __forceinline__ void mask(float (&scores)[kKeys / 8][4], int32_t key, VisibleKeys upper,
                                       VisibleKeys lower) {
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int32_t own = key + n * 8 + i % 2;
        const VisibleKeys visible = i < 2 ? upper : lower;
        if (own < visible.low || own > visible.high) scores[n][i] = kMinusInfinity;
      }
    }
  }

  /// scores become 2^(score - largest); what was summed before is scaled to the new largest.
  template <int kKeys>
  __device__ __forceinline__ void normalise(int t, float (&scores)[kKeys / 8][4], float scale_log2) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float best = largest[t][half];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) best = fmaxf(best, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
      best = fmaxf(best, __shfl_xor_sync(kAllLanes, best, 1));
      best = fmaxf(best, __shfl_xor_sync(kAllLanes, best, 2));
      const float base = best == kMinusInfinity ? 0.0f : best * scale_log2;  // a row that has seen no key yet
      const float factor = fast_exp2(largest[t][half] * scale_log2 - base);
      largest[t][half] = best;
      float added = 0;
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          scores[n][i] = fast_exp2(fmaf(scores[n][i], scale_log2, -base));
          added += scores[n][i];
        }
      }
      sum[t][half] = fmaf(sum[t][half], factor, added);
      // Once the largest scores have been seen, the factor of all rows is mostly 1.
      if (__any_sync(kAllLanes, factor != 1.0f)) {
#pragma unroll
        for (int n = 0; n < kHeadDim / 8; ++n) {
          out[t][n][2 * half] *= factor;
          out[t][n][2 * half + 1] *= factor;
        }
      }
    }
  }

  /// The accumulators of two neighbouring 8-key tiles are the A operand of 16 keys: registers 0, 1 of the first tile
  /// are its (row lane / 4, keys 2 * (lane % 4) and + 1), 2, 3 the row 8 below; the second tile has keys 8 to 15.
  template <int kKeys>
  __device__ __forceinline__ void multiply_values(const float (&scores)[kRowTiles][kKeys / 8][4], const T* tile,
                                                  int lane) {
    const LaneAddress at = transposed_b_address(lane);
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step) {
      uint32_t a[kRowTiles][4];
#pragma unroll
      for (int t = 0; t < kRowTiles; ++t) {
        const float(&first)[4] = scores[t][2 * step];
        const float(&second)[4] = scores[t][2 * step + 1];
        a[t][0] = pack_pair<T>(first[0], first[1]);
        a[t][1] = pack_pair<T>(first[2], first[3]);
        a[t][2] = pack_pair<T>(second[0], second[1]);
        a[t][3] = pack_pair<T>(second[2], second[3]);
      }
#pragma unroll
      for (int pair = 0; pair < kHeadDim / 16; ++pair) {
        uint32_t b[4];
        ldmatrix_x4_transposed(b, tile + step * 16 * kHeadDim + tile_element(at.row, pair * 2 + at.chunk, kChunks));
        const uint32_t b01[2] = {b[0], b[1]};
        const uint32_t b23[2] = {b[2], b[3]};
#pragma unroll
        for (int t = 0; t < kRowTiles; ++t) {
          mma_16x8x16<T>(out[t][2 * pair], a[t], b01);
          mma_16x8x16<T>(out[t][2 * pair + 1], a[t], b23);
        }
      }
    }
  }
};

/// 1 / sum, and the logarithm that a merge of parts weighs them by; a row without keys gives 0 and -inf.
__device__ __forceinline__ float inverse_sum(float sum) { return sum > 0 ? 1.0f / sum : 0.0f; }
__device__ __forceinline__ float log2_sum(float largest, float sum, float scale_log2) {
  return sum > 0 ? largest * scale_log2 + log2f(sum) : kMinusInfinity;
}

/// Where a row of an item goes.
template <class T>
__device__ __forceinline__ T* output_row(const AttentionArgs& args, int32_t first_token, int32_t request_row,
                                         int kv_head) {
  const int32_t token = first_token + request_row / args.group;
  const int32_t head = kv_head * args.group + request_row % args.group;
  return static_cast<T*>(args.out) + token * args.out_stride + int64_t{head} * args.head_dim;
}
__device__ __forceinline__ int64_t partial_index(const AttentionArgs& args, int32_t row, int kv_head) {
  return int64_t{row} * args.kv_heads + kv_head;
}

/// A row of an accumulator to the output or the workspace: this lane has of it the columns 8 n + 2 (lane % 4) and the
/// next, pair(n), not yet divided by the sum.
template <class T, int kHeadDim, class Pair>
__device__ __forceinline__ void store_row(const AttentionArgs& args, const AttentionItem& item, int kv_head, int row,
                                          float largest, float sum, int lane, const Pair& pair) {
  const float inverse = inverse_sum(sum) * args.v_scale;
  if (item.first_partial < 0) {
    T* const to = output_row<T>(args, item.first_token, item.first_row + row, kv_head) + 2 * (lane % 4);
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n) {
      const float2 values = pair(n);
      *reinterpret_cast<uint32_t*>(to + n * 8) = pack_pair<T>(values.x * inverse, values.y * inverse);
    }
  } else {
    const int64_t partial = partial_index(args, item.first_partial + row, kv_head);
    float* const to = args.partial_out + partial * kHeadDim + 2 * (lane % 4);
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n) {
      const float2 values = pair(n);
      *reinterpret_cast<float2*>(to + n * 8) = float2{values.x * inverse, values.y * inverse};
    }
    if (lane % 4 == 0) args.partial_lse[partial] = log2_sum(largest, sum, args.scale_log2);
  }
}

}  // namespace vitrine::cuda
