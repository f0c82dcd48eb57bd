#include "backend/cuda/attention_plan.h"

#include <algorithm>

namespace vitrine::cuda {
namespace {

int32_t keys_of(const AttentionItem& item) { return item.key_end - item.key_begin; }

int32_t slots_per_head(const AttentionTiling& tiling) { return std::max(1, tiling.slots / tiling.kv_heads); }

template <class Integer>
Integer ceil_div(Integer a, Integer b) {
  return (a + b - 1) / b;
}

int32_t rounded_up(int64_t keys) { return static_cast<int32_t>(ceil_div<int64_t>(keys, kPartStep) * kPartStep); }

void add_tiles(const AttentionTiling& tiling, AttentionItem item, int32_t tokens, int32_t tile_rows, int32_t window,
               std::vector<AttentionItem>& tiles) {
  const int32_t rows = tokens * tiling.group;
  for (int32_t row = 0; row < rows; row += tile_rows) {
    item.first_row = row;
    item.num_rows = std::min(tile_rows, rows - row);
    const int32_t oldest = item.first_position + row / tiling.group;
    const int32_t newest = item.first_position + (row + item.num_rows - 1) / tiling.group;
    item.key_begin = window > 0 ? std::max(0, oldest - window + 1) : 0;
    item.key_end = newest + 1;
    tiles.push_back(item);
  }
}

/// Replaces the tiles by their parts.
void split_tiles(const AttentionTiling& tiling, std::vector<AttentionItem>& tiles, AttentionPlan& plan) {
  int64_t total = 0;
  for (const AttentionItem& tile : tiles) total += keys_of(tile);
  const int32_t longest =
      rounded_up(std::max<int64_t>(kShortestPart, ceil_div<int64_t>(total, slots_per_head(tiling))));
  const size_t count = tiles.size();
  for (size_t i = 0; i < count; ++i) {
    const AttentionItem tile = tiles[i];
    if (keys_of(tile) <= longest) continue;
    const int32_t part = rounded_up(ceil_div(keys_of(tile), ceil_div(keys_of(tile), longest)));
    const int32_t parts = ceil_div(keys_of(tile), part);
    plan.merges.push_back({tile.first_token, tile.first_row, tile.num_rows, plan.partial_rows, parts});
    for (int32_t p = 0; p < parts; ++p) {
      AttentionItem item = tile;
      item.key_begin = tile.key_begin + p * part;
      item.key_end = std::min(tile.key_end, item.key_begin + part);
      item.first_partial = plan.partial_rows;
      plan.partial_rows += tile.num_rows;
      if (p == 0) {
        tiles[i] = item;
      } else {
        tiles.push_back(item);
      }
    }
  }
  std::stable_sort(tiles.begin(), tiles.end(),
                   [](const AttentionItem& a, const AttentionItem& b) { return keys_of(a) > keys_of(b); });
}

}  // namespace

void plan_attention(const AttentionTiling& tiling, std::span<const int32_t> query_start,
                    std::span<const int32_t> seq_lens, int32_t window, AttentionPlan& plan) {
  plan.short_items.clear();
  plan.long_items.clear();
  plan.merges.clear();
  plan.partial_rows = 0;
  for (size_t r = 0; r < seq_lens.size(); ++r) {
    const int32_t tokens = query_start[r + 1] - query_start[r];
    AttentionItem item;
    item.first_token = query_start[r];
    item.first_position = seq_lens[r] - tokens;
    item.request = static_cast<int32_t>(r);
    if (tiling.long_rows == 0 || tokens * tiling.group <= tiling.short_rows) {
      add_tiles(tiling, item, tokens, tiling.short_rows, window, plan.short_items);
    } else {
      add_tiles(tiling, item, tokens, tiling.long_rows, window, plan.long_items);
    }
  }
  split_tiles(tiling, plan.short_items, plan);
  split_tiles(tiling, plan.long_items, plan);
}

AttentionCapacity decode_capacity(const AttentionTiling& tiling, int32_t requests) {
  // A tile of k keys has at most k / longest + 1 parts, and longest >= total / slots: together at most slots + tiles.
  // Only tiles with more than `longest` keys are split: fewer than `slots` of them, with less than 2 * slots parts.
  const int32_t slots = slots_per_head(tiling);
  const bool is_short = tiling.long_rows == 0 || tiling.group <= tiling.short_rows;
  const int32_t rows = is_short ? tiling.short_rows : tiling.long_rows;
  const int32_t tiles = requests * ceil_div(tiling.group, rows);
  const int32_t items = slots + tiles;
  return {is_short ? items : 0, is_short ? 0 : items, std::min(slots, tiles), 2 * slots * std::min(rows, tiling.group)};
}

}  // namespace vitrine::cuda
