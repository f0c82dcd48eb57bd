#include "backend/cuda/attention_plan.h"

#include <algorithm>
#include <functional>
#include <queue>

namespace vitrine::cuda {
namespace {

int32_t keys_of(const AttentionItem& item) { return item.key_end - item.key_begin; }

int32_t slots_per_head(int32_t slots, const AttentionTiling& tiling) { return std::max(1, slots / tiling.kv_heads); }

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

/// Keys of each of the equal parts (the last may have fewer) of a tile.
int32_t part_of(int32_t keys, int32_t longest) {
  return keys <= longest ? keys : rounded_up(ceil_div(keys, ceil_div(keys, longest)));
}

/// When all parts are done, in keys: the device gives the next longest part to the slot that is free first.
int64_t finish_of(const std::vector<AttentionItem>& tiles, int32_t longest, int32_t slots) {
  std::vector<int32_t> parts;
  for (const AttentionItem& tile : tiles) {
    const int32_t part = part_of(keys_of(tile), longest);
    for (int32_t left = keys_of(tile); left > 0; left -= part) parts.push_back(std::min(part, left));
  }
  std::sort(parts.begin(), parts.end(), std::greater<>());
  std::priority_queue<int64_t, std::vector<int64_t>, std::greater<>> free_at(
      std::greater<>(), std::vector<int64_t>(static_cast<size_t>(slots), 0));
  int64_t finish = 0;
  for (const int32_t part : parts) {
    const int64_t end = free_at.top() + part;
    free_at.pop();
    free_at.push(end);
    finish = std::max(finish, end);
  }
  return finish;
}

/// The most keys of a part: the mean load of a slot, or the least with which there is a slot for every part (where
/// tiles are alike, a part more would wait for a whole other part), whichever ends sooner.
int32_t longest_part(const std::vector<AttentionItem>& tiles, int32_t slots) {
  int64_t total = 0;
  int32_t longest_tile = 0;
  for (const AttentionItem& tile : tiles) {
    total += keys_of(tile);
    longest_tile = std::max(longest_tile, keys_of(tile));
  }
  const int32_t mean = rounded_up(std::max<int64_t>(kShortestPart, ceil_div<int64_t>(total, slots)));
  if (tiles.size() > static_cast<size_t>(slots) || longest_tile <= mean) return mean;
  const auto has_slots = [&](int32_t longest) {
    int64_t parts = 0;
    for (const AttentionItem& tile : tiles) parts += ceil_div(keys_of(tile), longest);
    return parts <= slots;
  };
  // In steps: too_few has not slots enough, enough has.
  int32_t too_few = mean / kPartStep - 1;
  int32_t enough = rounded_up(longest_tile) / kPartStep;
  while (enough - too_few > 1) {
    const int32_t middle = too_few + (enough - too_few) / 2;
    (has_slots(middle * kPartStep) ? enough : too_few) = middle;
  }
  const int32_t one_each = enough * kPartStep;
  return one_each == mean || finish_of(tiles, mean, slots) < finish_of(tiles, one_each, slots) ? mean : one_each;
}

/// Replaces the tiles by their parts.
void split_tiles(int32_t slots_per_head, std::vector<AttentionItem>& tiles, AttentionPlan& plan) {
  const int32_t longest = longest_part(tiles, slots_per_head);
  const size_t count = tiles.size();
  for (size_t i = 0; i < count; ++i) {
    const AttentionItem tile = tiles[i];
    if (keys_of(tile) <= longest) continue;
    const int32_t part = part_of(keys_of(tile), longest);
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
  split_tiles(slots_per_head(tiling.slots, tiling), plan.short_items, plan);
  split_tiles(slots_per_head(tiling.long_slots, tiling), plan.long_items, plan);
}

AttentionCapacity decode_capacity(const AttentionTiling& tiling, int32_t requests) {
  // A tile of k keys has at most k / longest + 1 parts, and longest >= total / slots: together at most slots + tiles.
  // Only tiles with more than `longest` keys are split: fewer than `slots` of them, with less than 2 * slots parts.
  const bool is_short = tiling.long_rows == 0 || tiling.group <= tiling.short_rows;
  const int32_t slots = slots_per_head(is_short ? tiling.slots : tiling.long_slots, tiling);
  const int32_t rows = is_short ? tiling.short_rows : tiling.long_rows;
  const int32_t tiles = requests * ceil_div(tiling.group, rows);
  const int32_t items = slots + tiles;
  return {is_short ? items : 0, is_short ? 0 : items, std::min(slots, tiles), 2 * slots * std::min(rows, tiling.group)};
}

AttentionCapacity batch_capacity(const AttentionTiling& tiling, int32_t tokens, int32_t requests) {
  // As above, for each list. A request's last tile may have fewer rows.
  const int32_t slots = slots_per_head(tiling.slots, tiling);
  const int32_t long_slots = slots_per_head(tiling.long_slots, tiling);
  const auto tiles = [&](int32_t rows) {
    return static_cast<int32_t>(int64_t{tokens} * tiling.group / rows) + std::min(requests, tokens);
  };
  if (tiling.long_rows == 0) {
    const int32_t all = tiles(tiling.short_rows);
    return {slots + all, 0, std::min(slots, all), 2 * slots * tiling.short_rows};
  }
  const int32_t few = std::min(requests, tokens);
  const int32_t many = tiles(tiling.long_rows);
  return {slots + few, long_slots + many, std::min(slots, few) + std::min(long_slots, many),
          2 * (slots * tiling.short_rows + long_slots * tiling.long_rows)};
}

}  // namespace vitrine::cuda
