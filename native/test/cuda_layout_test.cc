// What the CUDA kernels compute on the host: tile maps and the plan of attention.
#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>

#include "backend/cuda/attention_plan.h"
#include "backend/cuda/tile_layout.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

using namespace vitrine::cuda;

struct Batch {
  std::vector<int32_t> query_start = {0};
  std::vector<int32_t> seq_lens;

  void add(int32_t cached, int32_t tokens) {
    query_start.push_back(query_start.back() + tokens);
    seq_lens.push_back(cached + tokens);
  }
};

/// Every row of the batch and every key it sees is in exactly one item; parts fill the workspace and their merges.
void check_plan(const AttentionTiling& tiling, const Batch& batch, int32_t window, const AttentionPlan& plan) {
  std::map<std::pair<int32_t, int32_t>, std::vector<std::pair<int32_t, int32_t>>> keys;  // (request, row) -> ranges
  std::set<int32_t> partial_rows;
  std::map<int32_t, int32_t> rows_of_part;
  for (const auto* items : {&plan.short_items, &plan.long_items}) {
    const int32_t most = items == &plan.short_items ? tiling.short_rows : tiling.long_rows;
    int32_t before = INT32_MAX;
    for (const AttentionItem& item : *items) {
      CHECK(item.num_rows > 0 && item.num_rows <= most);
      CHECK(item.key_begin < item.key_end);
      CHECK(item.key_end - item.key_begin <= before);
      before = item.key_end - item.key_begin;
      const auto r = static_cast<size_t>(item.request);
      CHECK_EQ(item.first_token, batch.query_start[r]);
      CHECK_EQ(item.first_position, batch.seq_lens[r] - (batch.query_start[r + 1] - batch.query_start[r]));
      for (int32_t row = item.first_row; row < item.first_row + item.num_rows; ++row) {
        keys[{item.request, row}].emplace_back(item.key_begin, item.key_end);
        if (item.first_partial >= 0) CHECK(partial_rows.insert(item.first_partial + row - item.first_row).second);
      }
      if (item.first_partial >= 0) rows_of_part[item.first_partial] = item.num_rows;
    }
  }
  CHECK_EQ(static_cast<int32_t>(partial_rows.size()), plan.partial_rows);
  CHECK(partial_rows.empty() || *partial_rows.rbegin() == plan.partial_rows - 1);
  size_t parts = 0;
  for (const AttentionMerge& merge : plan.merges) {
    CHECK(merge.num_parts > 1);
    for (int32_t p = 0; p < merge.num_parts; ++p) {
      CHECK_EQ(rows_of_part[merge.first_partial + p * merge.num_rows], merge.num_rows);
    }
    parts += static_cast<size_t>(merge.num_parts);
  }
  CHECK_EQ(parts, rows_of_part.size());
  size_t rows = 0;
  for (size_t r = 0; r < batch.seq_lens.size(); ++r) {
    const int32_t tokens = batch.query_start[r + 1] - batch.query_start[r];
    for (int32_t row = 0; row < tokens * tiling.group; ++row, ++rows) {
      const int32_t position = batch.seq_lens[r] - tokens + row / tiling.group;
      auto ranges = keys[{static_cast<int32_t>(r), row}];
      std::sort(ranges.begin(), ranges.end());
      CHECK(!ranges.empty());
      CHECK(ranges.front().first <= (window > 0 ? std::max(0, position - window + 1) : 0));
      CHECK(ranges.back().second > position && ranges.back().second <= batch.seq_lens[r]);
      for (size_t i = 1; i < ranges.size(); ++i) CHECK_EQ(ranges[i].first, ranges[i - 1].second);
    }
  }
  CHECK_EQ(keys.size(), rows);
}

}  // namespace

TEST("cuda layout: a swizzled row holds each chunk once, and 8 rows' chunks lie in 8 columns of the banks") {
  for (const int chunks : {4, 8, 12, 16, 20, 24, 28, 32, 64}) {
    for (int row = 0; row < 64; ++row) {
      std::set<int> places;
      for (int chunk = 0; chunk < chunks; ++chunk) {
        const int place = swizzled_chunk(row, chunk, chunks);
        CHECK(place >= 0 && place < chunks);
        places.insert(place);
        CHECK_EQ(place, swizzled_chunk(row % 8, chunk, chunks));
        CHECK_EQ(tile_element(row, chunk, chunks), (row * chunks + place) * 8);
      }
      CHECK_EQ(static_cast<int>(places.size()), chunks);
    }
    for (int chunk = 0; chunk < chunks; ++chunk) {
      std::set<int> columns;
      for (int row = 0; row < 8; ++row) columns.insert(tile_element(row, chunk, chunks) / 8 % 8);
      CHECK_EQ(columns.size(), size_t{8});
    }
  }
}

TEST("cuda layout: the lanes' addresses bring the operands that mma.m16n8k16 wants") {
  // ldmatrix: lane l has elements 2 * (l % 4) + {0, 1} of row l / 4 of matrix j, whose rows lanes 8 * j + i name.
  for (int lane = 0; lane < 32; ++lane) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      for (int half = 0; half < 2; ++half) {
        // PTX ISA: A: row = groupID (+ 8 for a2, a3, a6, a7), col = threadID_in_group * 2 + (i & 1) (+ 8 for i >= 4).
        const LaneAddress a = a_operand_address(8 * matrix + lane / 4);
        CHECK_EQ(a.row, lane / 4 + 8 * (matrix % 2));
        CHECK_EQ(a.chunk * 8 + 2 * (lane % 4) + half, 2 * (lane % 4) + half + 8 * (matrix / 2));
        // B: row (k) = threadID_in_group * 2 + (i & 1) (+ 8 for i >= 2), col (n) = groupID; matrices 2, 3: n + 8.
        const LaneAddress b = b_operand_address(8 * matrix + lane / 4);
        CHECK_EQ(b.row, lane / 4 + 8 * (matrix / 2));
        CHECK_EQ(b.chunk * 8 + 2 * (lane % 4) + half, 2 * (lane % 4) + half + 8 * (matrix % 2));
        // The same from [k, n]: transposed, lane l has rows 2 * (l % 4) + {0, 1} of column l / 4.
        const LaneAddress t = transposed_b_address(8 * matrix + 2 * (lane % 4) + half);
        CHECK_EQ(t.row, 2 * (lane % 4) + half + 8 * (matrix % 2));
        CHECK_EQ(t.chunk * 8 + lane / 4, lane / 4 + 8 * (matrix / 2));
      }
    }
  }
  std::set<std::pair<int, int>> cells;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const TileCell cell = accumulator_cell(lane, i);
      CHECK(cell.row < 16 && cell.col < 8);
      cells.insert({cell.row, cell.col});
    }
  }
  CHECK_EQ(cells.size(), size_t{128});
}

TEST("cuda attention plan: every row and key once, whatever the batch") {
  std::mt19937 random(5);
  const auto below = [&](int32_t bound) { return static_cast<int32_t>(random() % static_cast<uint32_t>(bound)); };
  AttentionPlan plan;
  for (int i = 0; i < 400; ++i) {
    const AttentionTiling tiling{1 + below(20), 1 + below(8), 16, i % 3 == 0 ? 0 : 64, 1 + below(300), 1 + below(300)};
    const int32_t window = i % 2 == 0 ? 0 : 1 + below(300);
    Batch batch;
    for (int32_t r = below(6); r > 0; --r) batch.add(below(3) * below(900), below(4) * below(40));
    plan_attention(tiling, batch.query_start, batch.seq_lens, window, plan);
    check_plan(tiling, batch, window, plan);
  }
}

TEST("cuda attention plan: few long requests are split over the device, many are not") {
  const AttentionTiling tiling{4, 8, 16, 128, 264, 132};
  AttentionPlan plan;
  Batch one;
  one.add(32767, 1);
  plan_attention(tiling, one.query_start, one.seq_lens, 0, plan);
  CHECK_EQ(plan.short_items.size(), size_t{32});  // 264 slots / 8 kv heads: 993 keys each, rounded up to 1024
  CHECK_EQ(plan.merges.size(), size_t{1});
  CHECK_EQ(plan.partial_rows, 32 * 4);
  plan_attention(tiling, one.query_start, one.seq_lens, 512, plan);
  CHECK_EQ(plan.short_items.size(), size_t{4});  // the window, in parts of kShortestPart
  Batch some;
  for (int i = 0; i < 8; ++i) some.add(16383, 1);
  plan_attention(tiling, some.query_start, some.seq_lens, 0, plan);
  CHECK_EQ(plan.short_items.size(), size_t{32});  // a fifth part of each would be 40 for the 33 slots of a kv head
  Batch mixed;  // a slot for each, but the long one would take as long as all of the device
  for (int i = 0; i < 32; ++i) mixed.add(127, 1);
  mixed.add(16383, 1);
  plan_attention(tiling, mixed.query_start, mixed.seq_lens, 0, plan);
  for (const AttentionItem& item : plan.short_items) CHECK(item.key_end - item.key_begin <= 640);
  Batch many;
  for (int i = 0; i < 64; ++i) many.add(4095, 1);
  plan_attention(tiling, many.query_start, many.seq_lens, 0, plan);
  CHECK_EQ(plan.short_items.size(), size_t{64});
  Batch one_long = many;
  one_long.add(99999, 1);
  plan_attention(tiling, one_long.query_start, one_long.seq_lens, 0, plan);
  for (const AttentionItem& item : plan.short_items) CHECK(item.key_end - item.key_begin <= 11008);
  Batch prefill;
  prefill.add(0, 16384);
  plan_attention(tiling, prefill.query_start, prefill.seq_lens, 0, plan);
  CHECK_EQ(plan.long_items.size(), size_t{512});
  CHECK(plan.merges.empty());
  Batch chunk;
  chunk.add(16384, 128);  // 4 tiles for the 16 slots that a kv head has of the kernel for many rows
  plan_attention(tiling, chunk.query_start, chunk.seq_lens, 0, plan);
  CHECK(plan.short_items.empty());
  CHECK_EQ(plan.long_items.size(), size_t{16});
  CHECK_EQ(plan.merges.size(), size_t{4});
}

TEST("cuda attention plan: a decode batch stays within the capacity of its size") {
  std::mt19937 random(6);
  AttentionPlan plan;
  for (int i = 0; i < 500; ++i) {
    const auto below = [&](int32_t bound) { return static_cast<int32_t>(random() % static_cast<uint32_t>(bound)); };
    // Many query heads to a kv head are several tiles, and the long kernel's where there is one.
    const AttentionTiling tiling{1 + below(80), 1 + below(8), 16, i % 4 == 0 ? 64 : 0, 1 + below(300), 1 + below(300)};
    const int32_t requests = 1 + below(40);
    Batch batch;
    for (int32_t r = 0; r < requests; ++r) batch.add(below(1 << (1 + below(17))), 1);
    plan_attention(tiling, batch.query_start, batch.seq_lens, i % 3 == 0 ? 1000 : 0, plan);
    const AttentionCapacity capacity = decode_capacity(tiling, requests);
    CHECK(static_cast<int32_t>(plan.short_items.size()) <= capacity.short_items);
    CHECK(static_cast<int32_t>(plan.long_items.size()) <= capacity.long_items);
    CHECK(static_cast<int32_t>(plan.merges.size()) <= capacity.merges);
    CHECK(plan.partial_rows <= capacity.partial_rows);
  }
}

TEST("cuda attention plan: any batch stays within the capacity of its tokens and requests") {
  std::mt19937 random(7);
  AttentionPlan plan;
  for (int i = 0; i < 1000; ++i) {
    const auto below = [&](int32_t bound) { return static_cast<int32_t>(random() % static_cast<uint32_t>(bound)); };
    const AttentionTiling tiling{1 + below(20),  1 + below(8),  16, i % 3 == 0 ? 0 : 64 << below(2),
                                 1 + below(300), 1 + below(300)};
    const int32_t requests = 1 + below(40);
    const int32_t longest = 1 << below(9);
    Batch batch;
    for (int32_t r = 0; r < requests; ++r) batch.add(below(1 << (1 + below(15))), 1 + below(longest));
    plan_attention(tiling, batch.query_start, batch.seq_lens, i % 4 == 0 ? 1000 : 0, plan);
    const AttentionCapacity capacity = batch_capacity(tiling, batch.query_start.back(), requests);
    CHECK(static_cast<int32_t>(plan.short_items.size()) <= capacity.short_items);
    CHECK(static_cast<int32_t>(plan.long_items.size()) <= capacity.long_items);
    CHECK(static_cast<int32_t>(plan.merges.size()) <= capacity.merges);
    CHECK(plan.partial_rows <= capacity.partial_rows);
  }
}

}  // namespace vitrine::test
