// Paged attention for many query rows (prefill, extend): each warp has 16 or 32 rows of the tile, all warps share tiles
// of keys, which cp.async brings in while the last one is computed. Queries of 16 bits, a cache of 16 or 8, head_dim a
// multiple of 32, rows of q and out aligned to 16 bytes.
#pragma once

#include "backend/cuda/warp_attention.cuh"

namespace vitrine::cuda {

/// kCacheBytes: of an element of the cache; those of 1 byte are copied as they are and widened when their tile's turn
/// comes.
template <int kHeadDim, int kCacheBytes = 2>
struct PrefillShape {
  static constexpr int kWarps = 4;
  static constexpr int kRowTiles = kHeadDim <= 128 ? 2 : 1;  ///< 16 rows each, of a warp
  static constexpr int kRows = kWarps * kRowTiles * 16;
  static constexpr int kKeys = kHeadDim <= 128 ? 64 : 32;                            ///< of a tile
  static constexpr int kStepKeys = kHeadDim <= 64 ? 64 : kHeadDim <= 128 ? 32 : 16;  ///< whose scores are in registers
  static constexpr int kWarpKeys = kKeys / kWarps;  ///< rows of a key tile that a warp copies
  static constexpr int kStages = 2;
  static constexpr int kTile = kKeys * kHeadDim;
  static constexpr int kQueryBytes = 2 * kRows * kHeadDim;
  static constexpr int kRingBytes = kStages * 2 * kTile * kCacheBytes;
  static constexpr int kWideBytes = kCacheBytes == 1 ? 4 * kTile : 0;
  static constexpr size_t kSharedBytes = kQueryBytes + kRingBytes + kWideBytes;
};

/// Grid (any, kv heads), PrefillShape::kWarps * 32 threads. C: elements of the cache, T or Float8.
template <class T, class C, int kHeadDim>
__global__ void __launch_bounds__(128, 2) attention_prefill_kernel(AttentionArgs args, WorkList<AttentionItem> work) {
  wait_for_earlier_kernels();
  using Shape = PrefillShape<kHeadDim, sizeof(C)>;
  constexpr int kKeys = Shape::kKeys;
  constexpr int kStepKeys = Shape::kStepKeys;
  constexpr int kRowTiles = Shape::kRowTiles;
  T* const query_tile = reinterpret_cast<T*>(dynamic_shared());
  C* const stages = reinterpret_cast<C*>(dynamic_shared() + Shape::kQueryBytes);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int warp_row = warp * kRowTiles * 16;
  const C* const k = static_cast<const C*>(args.k);
  const C* const v = static_cast<const C*>(args.v);
  const int count = *work.count;

  for (int i = static_cast<int>(blockIdx.x); i < count; i += static_cast<int>(gridDim.x)) {
    const AttentionItem& item = work.items[i];  // read again where it is used: registers are scarce
    const KeyRows rows(args, item.request, kv_head);
    const int tiles = (item.key_end - item.key_begin + kKeys - 1) / kKeys;

    // This warp's share of each key tile, one lane a key; the table is read one tile ahead of the copy.
    const int32_t copied_key = item.key_begin + warp * Shape::kWarpKeys + lane;
    const auto row_of_tile = [&](int tile) {
      return lane < Shape::kWarpKeys ? rows.row_or_none(copied_key + tile * kKeys, item.key_end) : KeyRows::kNone;
    };
    const auto copy_tile = [&](int tile, uint32_t row_of_lane) {
      C* const to = stages + tile % Shape::kStages * 2 * Shape::kTile + warp * Shape::kWarpKeys * kHeadDim;
      copy_key_rows<C, kHeadDim, Shape::kWarpKeys>(k, row_of_lane, to, lane);
      copy_key_rows<C, kHeadDim, Shape::kWarpKeys>(v, row_of_lane, to + Shape::kTile, lane);
      copy_async_commit();
    };
    copy_query_rows<T, kHeadDim, Shape::kRows>(args, item, kv_head, query_tile, static_cast<int>(threadIdx.x),
                                               Shape::kWarps * 32);
    copy_async_commit();
    copy_tile(0, row_of_tile(0));
    uint32_t next_row = row_of_tile(1);
    copy_async_wait<1>();
    __syncthreads();
    QueryOperand<T, kHeadDim, kRowTiles, false> queries;
    queries.begin(query_tile + warp_row * kHeadDim, lane);

    // Of this warp's rows: no row sees a key behind `newest`, all see those in [all_from, all_to].
    const int last_row = min(warp_row + kRowTiles * 16, item.num_rows) - 1;
    const int32_t newest = warp_row < item.num_rows ? visible_keys(args, item, last_row).high : -1;
    const int32_t all_from = visible_keys(args, item, last_row).low;
    const int32_t all_to = visible_keys(args, item, warp_row).high;

    WarpAttention<T, kHeadDim, kRowTiles> state;
    state.begin();
    for (int tile = 0; tile < tiles; ++tile) {
      copy_async_wait<0>();
      __syncthreads();  // all copies of this tile are there, and all warps are done with the one before
      if (tile + 1 < tiles) copy_tile(tile + 1, next_row);
      next_row = row_of_tile(tile + 2);
      const C* const stage = stages + tile % Shape::kStages * 2 * Shape::kTile;
      const T* k_tile;
      if constexpr (Shape::kWideBytes > 0) {
        T* const wide = reinterpret_cast<T*>(dynamic_shared() + Shape::kQueryBytes + Shape::kRingBytes);
        const int share = warp * Shape::kWarpKeys * kHeadDim;
        widen_key_rows<T, kHeadDim, Shape::kWarpKeys>(stage + share, wide + share, lane);
        widen_key_rows<T, kHeadDim, Shape::kWarpKeys>(stage + Shape::kTile + share, wide + Shape::kTile + share, lane);
        __syncthreads();
        k_tile = wide;
      } else {
        k_tile = stage;
      }
#pragma unroll 1
      for (int step = 0; step < kKeys; step += kStepKeys) {
        const int32_t key = item.key_begin + tile * kKeys + step;
        if (key > newest) break;
        const bool masked = key < all_from || key + kStepKeys - 1 > all_to;
        state.template add_keys<kStepKeys>(queries, k_tile + step * kHeadDim, k_tile + Shape::kTile + step * kHeadDim,
                                           lane, args.scale_log2, key, masked,
                                           [&](int row) { return visible_keys(args, item, warp_row + row); });
      }
    }
    state.finish();
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = warp_row + t * 16 + lane / 4 + 8 * half;
        if (row >= item.num_rows) continue;
        store_row<T, kHeadDim>(args, item, kv_head, row, state.largest[t][half], state.sum[t][half], lane, [&](int n) {
          return float2{state.out[t][n][2 * half], state.out[t][n][2 * half + 1]};
        });
      }
    }
    __syncthreads();  // before the next item's copies
  }
}

}  // namespace vitrine::cuda
