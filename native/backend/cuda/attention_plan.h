// How a batch's attention is cut into work for thread blocks: tiles of query rows, and where there are few tiles, parts
// of their keys (split KV, as in Flash-Decoding). Host code without CUDA; engine thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace vitrine::cuda {

/// One thread block's work for one kv head. The query rows of a request and a kv head are numbered token by token, the
/// `group` query heads of the kv head within a token: row = token * group + head. The device reads it as two int4.
struct alignas(16) AttentionItem {
  int32_t first_token = 0;     ///< of the request, in the batch
  int32_t first_row = 0;       ///< of the tile, among the request's rows
  int32_t num_rows = 0;        ///< of the tile
  int32_t first_position = 0;  ///< of the request's first query token
  int32_t request = 0;         ///< of the batch: whose block table
  int32_t key_begin = 0;       ///< positions [key_begin, key_end)
  int32_t key_end = 0;
  int32_t first_partial = -1;  ///< row of the workspace for the tile's first row; -1: writes the output itself
};
static_assert(sizeof(AttentionItem) == 32);

/// A tile whose keys were split: the sum of its parts becomes the output. Part p of row r is in workspace row
/// first_partial + p * num_rows + r.
struct alignas(16) AttentionMerge {
  int32_t first_token = 0;
  int32_t first_row = 0;
  int32_t num_rows = 0;
  int32_t first_partial = 0;
  int32_t num_parts = 0;
  int32_t unused[3] = {};
};
static_assert(sizeof(AttentionMerge) == 32);

/// What the plan must know of the kernels and the device.
struct AttentionTiling {
  int32_t group = 1;        ///< query heads of a kv head
  int32_t kv_heads = 1;     ///< each item runs once per kv head
  int32_t short_rows = 16;  ///< rows of a tile of the kernel for few rows
  int32_t long_rows = 0;    ///< rows of a tile of the kernel for many rows; 0: the short one does everything
  int32_t slots = 1;        ///< thread blocks that the device runs at once, of the kernel for few rows
  int32_t long_slots = 1;   ///< of the one for many rows
};

struct AttentionPlan {
  std::vector<AttentionItem> short_items;  ///< most keys first
  std::vector<AttentionItem> long_items;   ///< most keys first
  std::vector<AttentionMerge> merges;
  int32_t partial_rows = 0;  ///< rows of the workspace, each of kv_heads * (head_dim + 1) floats
};

constexpr int32_t kShortestPart = 128;  ///< keys below which a split costs more than it saves
constexpr int32_t kPartStep = 64;       ///< parts begin at multiples of it after the first key of their tile

/// query_start [R+1] and seq_lens [R] as in AttentionBatch, in host memory; `window`: positions a query sees, itself
/// included, 0 = all. A request with no more rows than a short tile has goes to the short items. Tiles are split so
/// that one long request does not outlast all others. Reuses the memory of `plan`.
void plan_attention(const AttentionTiling& tiling, std::span<const int32_t> query_start,
                    std::span<const int32_t> seq_lens, int32_t window, AttentionPlan& plan);

/// The most that plan_attention() makes of `requests` requests of one token each, whatever their lengths.
struct AttentionCapacity {
  int32_t short_items = 0;
  int32_t long_items = 0;
  int32_t merges = 0;
  int32_t partial_rows = 0;
};
AttentionCapacity decode_capacity(const AttentionTiling& tiling, int32_t requests);

/// The most that plan_attention() makes of any batch with so many tokens and requests.
AttentionCapacity batch_capacity(const AttentionTiling& tiling, int32_t tokens, int32_t requests);

}  // namespace vitrine::cuda
