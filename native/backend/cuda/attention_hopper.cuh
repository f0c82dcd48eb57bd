// Paged attention for many query rows on Hopper (sm_90a), after FlashAttention-3 (Shah et al. 2024): one warpgroup
// brings K and V, two compute 64 query rows each by wgmma. While a warpgroup computes the softmax of one tile of keys
// its tensor cores multiply the scores of the next one and the values of the one before, and the two warpgroups take
// turns at issuing products, so that one's softmax falls together with the other's products. 16-bit elements, head_dim
// 64, 96 or 128, rows of q and out aligned to 16 bytes.
#pragma once

#include "backend/cuda/warp_attention.cuh"
#include "backend/cuda/wgmma.cuh"

namespace vitrine::cuda {

constexpr int kWarpgroup = 128;  ///< threads

template <int kHeadDim>
struct HopperShape {
  static constexpr int kConsumers = 2;  ///< warpgroups that compute
  static constexpr int kThreads = (1 + kConsumers) * kWarpgroup;
  static constexpr int kRows = kConsumers * 64;
  static constexpr int kKeys = 128;  ///< of a tile
  static constexpr int kStages = 2;  ///< tiles of K, and of V, in shared memory
  // Registers of a thread that brings tiles and of one that computes: together those that the block is started with.
  static constexpr int kProducerRegisters = 40;
  static constexpr int kConsumerRegisters = 232;
  using Queries = PanelTile<kHeadDim, kRows>;
  using Keys = PanelTile<kHeadDim, kKeys>;  ///< or values
  static_assert(Queries::kElements * 2 % kPanelAlignment == 0 && Keys::kElements * 2 % kPanelAlignment == 0);
};

/// The block's shared memory. `full`: the producer's copies have arrived. `empty`: all consumers are done with it.
template <class T, int kHeadDim>
struct HopperShared {
  using Shape = HopperShape<kHeadDim>;
  T queries[Shape::Queries::kElements];
  T keys[Shape::kStages][Shape::Keys::kElements];
  T values[Shape::kStages][Shape::Keys::kElements];
  Barrier queries_full, queries_empty;
  Barrier keys_full[Shape::kStages], keys_empty[Shape::kStages];
  Barrier values_full[Shape::kStages], values_empty[Shape::kStages];
};
template <int kHeadDim>
constexpr size_t kHopperSharedBytes = sizeof(HopperShared<uint16_t, kHeadDim>);

/// A place in a ring of kStages: which stage, and the parity of the use of it that number `count` is.
template <int kStages>
struct RingPlace {
  uint32_t stage, parity;
  __device__ explicit RingPlace(uint32_t count) : stage(count % kStages), parity(count / kStages % 2) {}
};

/// The warpgroup that brings queries, keys and values, in the order in which the consumers want them: the keys of a
/// tile before the values of the one before.
template <class T, int kHeadDim>
__device__ __forceinline__ void produce_tiles(const AttentionArgs& args, const WorkList<AttentionItem>& work,
                                              HopperShared<T, kHeadDim>& shared) {
  using Shape = HopperShape<kHeadDim>;
  using Place = RingPlace<Shape::kStages>;
  constexpr int kWarpKeys = 32;
  static_assert(4 * kWarpKeys == Shape::kKeys);
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
  const int lane = thread % 32;
  const int warp_key = thread / 32 * kWarpKeys;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int count = *work.count;
  uint32_t items = 0;
  uint32_t done = 0;  // tiles of the items before

  for (int i = static_cast<int>(blockIdx.x); i < count; i += static_cast<int>(gridDim.x)) {
    const AttentionItem& item = work.items[i];
    const KeyRows rows(args, item.request, kv_head);
    const int tiles = (item.key_end - item.key_begin + Shape::kKeys - 1) / Shape::kKeys;
    const int32_t own_key = item.key_begin + warp_key + lane;
    const auto row_of_tile = [&](int tile) { return rows.row_or_none(own_key + tile * Shape::kKeys, item.key_end); };
    const auto bring = [&](const void* cache, uint32_t row_of_lane, T* tile, Barrier* empty, Barrier* full,
                           uint32_t parity) {
      barrier_wait(empty, parity ^ 1);
      copy_key_rows<T, kHeadDim, kWarpKeys, typename Shape::Keys>(static_cast<const T*>(cache), row_of_lane,
                                                                  tile + warp_key * Shape::Keys::kPanel, lane);
      barrier_arrive_after_copies(full);
    };
    const auto bring_keys = [&](int tile, uint32_t row_of_lane) {
      const Place at(done + static_cast<uint32_t>(tile));
      bring(args.k, row_of_lane, shared.keys[at.stage], &shared.keys_empty[at.stage], &shared.keys_full[at.stage],
            at.parity);
    };
    const auto bring_values = [&](int tile, uint32_t row_of_lane) {
      const Place at(done + static_cast<uint32_t>(tile));
      bring(args.v, row_of_lane, shared.values[at.stage], &shared.values_empty[at.stage], &shared.values_full[at.stage],
            at.parity);
    };

    // The table is read one tile ahead of the copies.
    uint32_t row = row_of_tile(0);
    uint32_t next_row = row_of_tile(1);
    barrier_wait(&shared.queries_empty, items % 2 ^ 1);
    copy_query_rows<T, kHeadDim, Shape::kRows, typename Shape::Queries>(args, item, kv_head, shared.queries, thread,
                                                                        kWarpgroup);
    barrier_arrive_after_copies(&shared.queries_full);
    bring_keys(0, row);
#pragma unroll 1
    for (int tile = 0; tile < tiles; ++tile) {
      const uint32_t row_after = row_of_tile(tile + 2);
      if (tile + 1 < tiles) bring_keys(tile + 1, next_row);
      bring_values(tile, row);
      row = next_row;
      next_row = row_after;
    }
    done += static_cast<uint32_t>(tiles);
    ++items;
  }
  copy_async_commit();
  copy_async_wait<0>();  // a thread does not end before its copies
}

/// A warpgroup's 64 rows. Lane 4 g + t of warp w has rows 16 w + g and 16 w + g + 8, and of each the columns
/// 8 n + 2 t and the next.
template <class T, int kHeadDim>
class HopperRows {
  using Shape = HopperShape<kHeadDim>;
  using Queries = typename Shape::Queries;
  using Keys = typename Shape::Keys;
  static constexpr int kKeys = Shape::kKeys;

 public:
  float largest[2];  ///< raw score (before the scale) of the two rows
  float sum[2];      ///< of this lane's columns until finish()

  __device__ __forceinline__ HopperRows(const HopperShared<T, kHeadDim>& shared, int consumer)
      : queries_(
            Queries::at(shared_address(shared.queries) + static_cast<uint32_t>(consumer * 64 * Queries::kRowBytes))),
        keys_(Keys::at(shared_address(shared.keys))),
        values_(Keys::at(shared_address(shared.values))) {}

  __device__ __forceinline__ void begin() {
#pragma unroll
    for (int i = 0; i < kHeadDim / 2; ++i) out_[i] = 0;
    largest[0] = largest[1] = kMinusInfinity;
    sum[0] = sum[1] = 0;
  }

  /// Issues scores = Q K^T.
  __device__ __forceinline__ void multiply_keys(uint32_t stage) {
    constexpr int kPanelSteps = Keys::kPanel / 16;
    const uint32_t keys = keys_ + stage * Keys::step(2 * Keys::kElements);
    wgmma_fence();
    wgmma_shared<T, false>(scores_, Queries::descriptor(queries_), Keys::descriptor(keys));
#pragma unroll
    for (int step = 1; step < kHeadDim / 16; ++step) {
      const int panel = step / kPanelSteps;
      const int within = step % kPanelSteps * 32;
      wgmma_shared<T, true>(scores_,
                            Queries::descriptor(queries_ + Queries::step(panel * Queries::kPanelBytes + within)),
                            Keys::descriptor(keys + Keys::step(panel * Keys::kPanelBytes + within)));
    }
    wgmma_commit();
  }
  __device__ __forceinline__ void scores_are_there() { registers_are_free(scores_); }

  /// Issues out += weights * V.
  __device__ __forceinline__ void multiply_values(uint32_t stage) {
    const uint32_t values = values_ + stage * Keys::step(2 * Keys::kElements);
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step) {
      wgmma_mixed<T>(out_, weights_[step], Keys::descriptor(values + Keys::step(step * 2 * Keys::kGroupBytes)));
    }
    wgmma_commit();
  }
  __device__ __forceinline__ void out_is_there() {
    registers_are_free(out_);
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step) registers_are_free(weights_[step]);
  }

  /// `key`: of this lane's first column.
  __device__ __forceinline__ void mask(int32_t key, VisibleKeys upper, VisibleKeys lower) {
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i) {
      const int32_t own = key + i / 4 * 8 + i % 2;
      const VisibleKeys visible = i % 4 < 2 ? upper : lower;
      if (own < visible.low || own > visible.high) scores_[i] = kMinusInfinity;
    }
  }

  /// Scores become 2^(score - largest). What was summed before is to be scaled by `factor` for the new largest.
  __device__ __forceinline__ void normalise(float scale_log2, float (&factor)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float best = largest[half];
#pragma unroll
      for (int i = 2 * half; i < kKeys / 2; i += 4) best = fmaxf(best, fmaxf(scores_[i], scores_[i + 1]));
      best = fmaxf(best, __shfl_xor_sync(kAllLanes, best, 1));
      best = fmaxf(best, __shfl_xor_sync(kAllLanes, best, 2));
      const float base = best == kMinusInfinity ? 0.0f : best * scale_log2;  // a row that has seen no key yet
      factor[half] = fast_exp2(largest[half] * scale_log2 - base);
      largest[half] = best;
      float added = 0;
#pragma unroll
      for (int i = 2 * half; i < kKeys / 2; i += 4) {
        scores_[i] = fast_exp2(fmaf(scores_[i], scale_log2, -base));
        scores_[i + 1] = fast_exp2(fmaf(scores_[i + 1], scale_log2, -base));
        added += scores_[i] + scores_[i + 1];
      }
      sum[half] = fmaf(sum[half], factor[half], added);
    }
  }

  __device__ __forceinline__ void scale_out(const float (&factor)[2]) {
#pragma unroll
    for (int i = 0; i < kHeadDim / 2; ++i) out_[i] *= factor[i / 2 % 2];
  }

  /// Scores as the A operand: their accumulators of two neighbouring groups of 8 keys are its registers for 16 keys.
  __device__ __forceinline__ void round_weights() {
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        weights_[step][i] = pack_pair<T>(scores_[step * 8 + 2 * i], scores_[step * 8 + 2 * i + 1]);
      }
    }
  }

  /// The sums of whole rows, the same in the 4 lanes of a row.
  __device__ __forceinline__ void finish() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      sum[half] += __shfl_xor_sync(kAllLanes, sum[half], 1);
      sum[half] += __shfl_xor_sync(kAllLanes, sum[half], 2);
    }
  }

  /// Columns 8 n + 2 t and the next of the upper (half 0) or lower row.
  __device__ __forceinline__ float2 pair(int n, int half) const {
    return {out_[4 * n + 2 * half], out_[4 * n + 2 * half + 1]};
  }

 private:
  uint32_t queries_, keys_, values_;  ///< low words of descriptors
  float out_[kHeadDim / 2];
  float scores_[kKeys / 2];
  uint32_t weights_[kKeys / 16][4];
};

/// Warpgroup `consumer` of those that compute: its rows of every item. Both go over all tiles of an item, also those of
/// which a mask leaves nothing, because they take turns.
template <class T, int kHeadDim>
__device__ __forceinline__ void consume_tiles(const AttentionArgs& args, const WorkList<AttentionItem>& work,
                                              HopperShared<T, kHeadDim>& shared, int consumer) {
  using Shape = HopperShape<kHeadDim>;
  using Place = RingPlace<Shape::kStages>;
  constexpr int kKeys = Shape::kKeys;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int group_row = consumer * 64;
  const int own_row = group_row + static_cast<int>(threadIdx.x) % kWarpgroup / 32 * 16 + lane / 4;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int count = *work.count;
  HopperRows<T, kHeadDim> rows(shared, consumer);
  uint32_t items = 0;
  uint32_t done = 0;  // tiles of the items before

  const auto wait_for = [](Barrier* full, uint32_t parity) {
    barrier_wait(full, parity);
    fence_async_proxy();  // cp.async writes through the generic proxy
    __syncwarp();         // lanes may leave the loop of the wait apart, and products want them together
  };
  const auto release = [lane](Barrier* empty) {
    if (lane == 0) barrier_arrive(empty);  // the wait for a product is one for all lanes
  };
  // A turn to issue is a phase of the warpgroup's own barrier that the other one has arrived at.
  constexpr int kTurnThreads = Shape::kConsumers * kWarpgroup;
  const auto wait_for_turn = [consumer] { named_barrier_wait(1 + consumer, kTurnThreads); };
  const auto end_turn = [consumer] { named_barrier_arrive(2 - consumer, kTurnThreads); };
  if (consumer == 1) end_turn();

  for (int i = static_cast<int>(blockIdx.x); i < count; i += static_cast<int>(gridDim.x)) {
    const AttentionItem& item = work.items[i];
    const int32_t first_key = item.key_begin;
    const int tiles = (item.key_end - first_key + kKeys - 1) / kKeys;
    // All rows of the warpgroup see the keys in [all_from, all_to].
    const int32_t all_from = visible_keys(args, item, min(group_row + 64, item.num_rows) - 1).low;
    const int32_t all_to = visible_keys(args, item, group_row).high;
    const VisibleKeys upper = visible_keys(args, item, own_row);
    const VisibleKeys lower = visible_keys(args, item, own_row + 8);
    const auto weigh = [&](int tile, float(&factor)[2]) {
      const int32_t key = first_key + tile * kKeys;
      if (key < all_from || key + kKeys - 1 > all_to) rows.mask(key + 2 * (lane % 4), upper, lower);
      rows.normalise(args.scale_log2, factor);
    };
    float factor[2];

    rows.begin();
    wait_for(&shared.queries_full, items % 2);
    const Place first(done);
    wait_for(&shared.keys_full[first.stage], first.parity);
    rows.multiply_keys(first.stage);
    wgmma_wait<0>();
    rows.scores_are_there();
    release(&shared.keys_empty[first.stage]);
    weigh(0, factor);
    rows.round_weights();
#pragma unroll 1
    for (int tile = 1; tile < tiles; ++tile) {
      const Place before(done + static_cast<uint32_t>(tile) - 1);
      const Place at(done + static_cast<uint32_t>(tile));
      wait_for(&shared.keys_full[at.stage], at.parity);
      wait_for(&shared.values_full[before.stage], before.parity);
      wait_for_turn();
      rows.multiply_keys(at.stage);
      rows.multiply_values(before.stage);
      end_turn();
      wgmma_wait<1>();
      rows.scores_are_there();
      release(&shared.keys_empty[at.stage]);
      weigh(tile, factor);
      wgmma_wait<0>();
      rows.out_is_there();
      release(&shared.values_empty[before.stage]);
      rows.scale_out(factor);
      rows.round_weights();
    }
    release(&shared.queries_empty);
    const Place last(done + static_cast<uint32_t>(tiles) - 1);
    wait_for(&shared.values_full[last.stage], last.parity);
    rows.multiply_values(last.stage);
    wgmma_wait<0>();
    rows.out_is_there();
    release(&shared.values_empty[last.stage]);

    rows.finish();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = own_row + 8 * half;
      if (row >= item.num_rows) continue;
      store_row<T, kHeadDim>(args, item, kv_head, row, rows.largest[half], rows.sum[half], lane,
                             [&](int n) { return rows.pair(n, half); });
    }
    done += static_cast<uint32_t>(tiles);
    ++items;
  }
}

/// Grid (any, kv heads), HopperShape::kThreads threads, one block a multiprocessor.
template <class T, int kHeadDim>
__global__ void __launch_bounds__(HopperShape<kHeadDim>::kThreads, 1)
    attention_hopper_kernel(AttentionArgs args, WorkList<AttentionItem> work) {
#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
  __trap();  // attention_hopper_fit() says that there is no kernel
#else
  using Shape = HopperShape<kHeadDim>;
  auto& shared = *reinterpret_cast<HopperShared<T, kHeadDim>*>(panel_shared());
  if (threadIdx.x == 0) {
    constexpr uint32_t kConsumerWarps = Shape::kConsumers * 4;
    barrier_init(&shared.queries_full, kWarpgroup);
    barrier_init(&shared.queries_empty, kConsumerWarps);
    for (int stage = 0; stage < Shape::kStages; ++stage) {
      barrier_init(&shared.keys_full[stage], kWarpgroup);
      barrier_init(&shared.keys_empty[stage], kConsumerWarps);
      barrier_init(&shared.values_full[stage], kWarpgroup);
      barrier_init(&shared.values_empty[stage], kConsumerWarps);
    }
  }
  wait_for_earlier_kernels();
  __syncthreads();
  const int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup;
  if (warpgroup == 0) {
    give_registers<Shape::kProducerRegisters>();
    produce_tiles<T, kHeadDim>(args, work, shared);
  } else {
    take_registers<Shape::kConsumerRegisters>();
    consume_tiles<T, kHeadDim>(args, work, shared, warpgroup - 1);
  }
#endif
}

}  // namespace vitrine::cuda
