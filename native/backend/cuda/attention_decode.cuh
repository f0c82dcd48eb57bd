// Paged attention for few query rows (up to 16 of a kv head: decode, with all query heads of the kv head packed): bound
// by reading K and V once. The 4 warps of a block take turns with small tiles of keys and never wait for each other:
// each has its own ring of shared memory, filled by cp.async, and its own softmax; they merge at the end of the item.
// Queries of 16 bits, a cache of 16 or 8, head_dim a multiple of 32, rows of q and out aligned to 16 bytes.
#pragma once

#include "backend/cuda/warp_attention.cuh"

namespace vitrine::cuda {

constexpr int kDecodeRows = 16;

/// kCacheBytes: of an element of the cache. Elements of 1 byte pass through the ring as they are; each warp widens a
/// tile when its turn comes.
template <int kHeadDim, int kCacheBytes = 2>
struct DecodeShape {
  static constexpr int kRows = kDecodeRows;
  static constexpr int kWarps = 4;
  static constexpr int kKeys = kHeadDim <= 64 ? 32 : 16;  ///< of a warp's tile
  static constexpr int kStages = kHeadDim <= 128 ? 3 : 2;
  static constexpr int kTile = kKeys * kHeadDim;               ///< elements of a tile of K or V
  static constexpr int kStageBytes = 2 * kTile * kCacheBytes;  ///< a tile of K and one of V
  static constexpr int kRingBytes = kStages * kStageBytes;     ///< of a warp
  static constexpr int kWideBytes = kCacheBytes == 1 ? 4 * kTile : 0;
  static constexpr int kWarpBytes = kRingBytes + kWideBytes;
  static constexpr int kQueryBytes = 2 * kDecodeRows * kHeadDim;  ///< shared by the warps
  static constexpr bool kQueriesInRegisters = kHeadDim <= 128;
  // Queries that go to registers lie where the first warp's last stage, or its first widened tile, comes later.
  static constexpr int kQueryPlace = !kQueriesInRegisters ? kWarps * kWarpBytes
                                     : kCacheBytes == 1   ? kRingBytes
                                                          : (kStages - 1) * kStageBytes;
  static constexpr size_t kSharedBytes = kWarps * kWarpBytes + (kQueriesInRegisters ? 0 : kQueryBytes);
  static_assert(!kQueriesInRegisters || kQueryBytes <= (kCacheBytes == 1 ? kWideBytes : kStageBytes));
  // At the end of an item the warps' results lie there, kDecodeRows * (kHeadDim + 2) floats each.
  static_assert(kDecodeRows * (kHeadDim + 2) * 4 <= kWarpBytes);
};

/// A warp's rows in its memory: per row its sum and largest score, then out [kDecodeRows, kHeadDim], not yet divided.
template <class T, int kHeadDim>
__device__ __forceinline__ void store_warp_state(const WarpAttention<T, kHeadDim, 1>& state, float* to, int lane) {
  float* const out = to + 2 * kDecodeRows;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane / 4 + 8 * half;
    if (lane % 4 == 0) {
      to[row] = state.largest[0][half];
      to[kDecodeRows + row] = state.sum[0][half];
    }
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n) {
      float* const pair = out + row * kHeadDim + n * 8 + 2 * (lane % 4);
      pair[0] = state.out[0][n][2 * half];
      pair[1] = state.out[0][n][2 * half + 1];
    }
  }
}

/// All threads: the rows of an item from the states of the block's warps, each thread 4 neighbouring columns at a time.
template <class T, int kHeadDim, class Shape>
__device__ __forceinline__ void merge_warps(const AttentionArgs& args, const AttentionItem& item, int kv_head,
                                            const float* states) {
  constexpr int kStride = Shape::kWarpBytes / 4;  // floats from warp to warp
  for (int index = static_cast<int>(threadIdx.x); index < item.num_rows * (kHeadDim / 4); index += Shape::kWarps * 32) {
    const int row = index / (kHeadDim / 4);
    const int column = index % (kHeadDim / 4) * 4;
    float largest = kMinusInfinity;
#pragma unroll
    for (int w = 0; w < Shape::kWarps; ++w) largest = fmaxf(largest, states[w * kStride + row]);
    const float base = largest == kMinusInfinity ? 0.0f : largest * args.scale_log2;
    float sum = 0;
    float out[4] = {};
#pragma unroll
    for (int w = 0; w < Shape::kWarps; ++w) {
      const float* const state = states + w * kStride;
      const float factor = fast_exp2(state[row] * args.scale_log2 - base);
      sum += factor * state[kDecodeRows + row];
      const float4 part = *reinterpret_cast<const float4*>(state + 2 * kDecodeRows + row * kHeadDim + column);
      out[0] += factor * part.x;
      out[1] += factor * part.y;
      out[2] += factor * part.z;
      out[3] += factor * part.w;
    }
    const float inverse = inverse_sum(sum) * args.v_scale;
    if (item.first_partial < 0) {
      T* const to = output_row<T>(args, item.first_token, item.first_row + row, kv_head) + column;
      const uint2 packed = {pack_pair<T>(out[0] * inverse, out[1] * inverse),
                            pack_pair<T>(out[2] * inverse, out[3] * inverse)};
      *reinterpret_cast<uint2*>(to) = packed;
    } else {
      const int64_t partial = partial_index(args, item.first_partial + row, kv_head);
      const float4 scaled = {out[0] * inverse, out[1] * inverse, out[2] * inverse, out[3] * inverse};
      *reinterpret_cast<float4*>(args.partial_out + partial * kHeadDim + column) = scaled;
      if (column == 0) args.partial_lse[partial] = log2_sum(largest, sum, args.scale_log2);
    }
  }
}

/// Grid (any, kv heads), DecodeShape::kWarps * 32 threads. C: elements of the cache, T or Float8.
template <class T, class C, int kHeadDim>
__global__ void __launch_bounds__(128, 2) attention_decode_kernel(AttentionArgs args, WorkList<AttentionItem> work) {
  wait_for_earlier_kernels();
  using Shape = DecodeShape<kHeadDim, sizeof(C)>;
  constexpr int kKeys = Shape::kKeys;
  constexpr int kStages = Shape::kStages;
  char* const shared = dynamic_shared();
  T* const query_tile = reinterpret_cast<T*>(shared + Shape::kQueryPlace);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int kv_head = static_cast<int>(blockIdx.y);
  char* const own = shared + warp * Shape::kWarpBytes;
  C* const ring = reinterpret_cast<C*>(own);
  const C* const k = static_cast<const C*>(args.k);
  const C* const v = static_cast<const C*>(args.v);
  const int count = *work.count;

  for (int i = static_cast<int>(blockIdx.x); i < count; i += static_cast<int>(gridDim.x)) {
    const AttentionItem item = work.items[i];
    const KeyRows rows(args, item.request, kv_head);
    // Tile j of this warp has the keys from key_begin + (j * kWarps + warp) * kKeys on.
    const int32_t first_key = item.key_begin + warp * kKeys;
    constexpr int32_t kStep = Shape::kWarps * kKeys;
    const int tiles = first_key < item.key_end ? (item.key_end - first_key + kStep - 1) / kStep : 0;

    copy_query_rows<T, kHeadDim, kDecodeRows>(args, item, kv_head, query_tile, static_cast<int>(threadIdx.x),
                                              Shape::kWarps * 32);
    copy_async_commit();
    const auto row_of_tile = [&](int tile) {
      return tile < tiles && lane < kKeys ? rows.row_or_none(first_key + tile * kStep + lane, item.key_end)
                                          : KeyRows::kNone;
    };
    const auto copy_tile = [&](int tile, uint32_t row_of_lane) {
      if (tile < tiles) {
        C* const to = ring + tile % kStages * 2 * Shape::kTile;
        copy_key_rows<C, kHeadDim, kKeys>(k, row_of_lane, to, lane);
        copy_key_rows<C, kHeadDim, kKeys>(v, row_of_lane, to + Shape::kTile, lane);
      }
      copy_async_commit();  // an empty group keeps the count of groups that copy_async_wait() goes by
    };
#pragma unroll
    for (int tile = 0; tile < kStages - 1; ++tile) copy_tile(tile, row_of_tile(tile));
    uint32_t next_row = row_of_tile(kStages - 1);  // one tile ahead: the table is read before it is waited for

    copy_async_wait<kStages - 1>();  // all but the tiles: the queries
    __syncthreads();
    QueryOperand<T, kHeadDim, 1, Shape::kQueriesInRegisters> queries;
    queries.begin(query_tile, lane);
    if constexpr (Shape::kQueriesInRegisters) __syncthreads();  // before a tile takes their place
    // Keys that every row sees need no mask: those up to the first row's position and within the last row's window.
    const VisibleKeys first_row = visible_keys(args, item, 0);
    const VisibleKeys last_row = visible_keys(args, item, item.num_rows - 1);

    WarpAttention<T, kHeadDim, 1> state;
    state.begin();
    for (int tile = 0; tile < tiles; ++tile) {
      copy_async_wait<kStages - 2>();
      __syncwarp();  // all lanes' copies of this tile are there, and all have read the tile whose place comes next
      copy_tile(tile + kStages - 1, next_row);
      next_row = row_of_tile(tile + kStages);
      const C* const stage = ring + tile % kStages * 2 * Shape::kTile;
      const T* k_tile;
      if constexpr (Shape::kWideBytes > 0) {
        T* const wide = reinterpret_cast<T*>(own + Shape::kRingBytes);
        widen_key_rows<T, kHeadDim, 2 * kKeys>(stage, wide, lane);
        __syncwarp();
        k_tile = wide;
      } else {
        k_tile = stage;
      }
      const int32_t key = first_key + tile * kStep;
      const bool masked = key < last_row.low || key + kKeys - 1 > first_row.high;
      state.template add_keys<kKeys>(queries, k_tile, k_tile + Shape::kTile, lane, args.scale_log2, key, masked,
                                     [&](int row) { return visible_keys(args, item, row); });
    }
    state.finish();
    copy_async_wait<0>();  // no copy may arrive after the results that take its place
    __syncwarp();
    store_warp_state<T, kHeadDim>(state, reinterpret_cast<float*>(own), lane);
    __syncthreads();
    merge_warps<T, kHeadDim, Shape>(args, item, kv_head, reinterpret_cast<const float*>(shared));
    __syncthreads();  // before the next item's copies
  }
}

}  // namespace vitrine::cuda
