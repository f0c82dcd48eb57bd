// The tile registers in memory of each thread, for tests: the functions of tiles.h after Intel's pseudo-code (SDM,
// volume 2: LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TDPBF16PS), with AVX-512. What would raise #UD or #GP ends the
// program with a line that says why.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace vitrine {
namespace {

struct EmulatedTile {
  alignas(64) float rows[kMostTileRows][kTileRowBytes / 4];
};

struct EmulatedTiles {
  TileConfig config{.palette = 0};
  EmulatedTile tiles[8];
};

thread_local EmulatedTiles emulated_tiles;

static void check_tiles(bool fits, const char* what) {
  if (fits) return;
  std::fprintf(stderr, "tiles: %s\n", what);
  std::abort();
}

static EmulatedTile& configured_tile(int tile) {
  check_tiles(emulated_tiles.config.palette == 1, "an instruction before LDTILECFG");
  check_tiles(emulated_tiles.config.rows[tile] > 0, "an instruction on a tile without rows");
  return emulated_tiles.tiles[tile];
}

static void zero_all_tiles() { __builtin_memset(emulated_tiles.tiles, 0, sizeof emulated_tiles.tiles); }

static void configure_tiles(const TileConfig& config) {
  check_tiles(config.palette == 1 && config.start_row == 0, "LDTILECFG: a palette or a start row that is not ours");
  for (int tile = 0; tile < 16; ++tile) {
    check_tiles(config.rows[tile] <= kMostTileRows && config.row_bytes[tile] <= kTileRowBytes &&
                    (config.rows[tile] == 0) == (config.row_bytes[tile] == 0) && (tile < 8 || config.rows[tile] == 0),
                "LDTILECFG: a tile's shape");
  }
  emulated_tiles.config = config;
  zero_all_tiles();
}

static void release_tiles() {
  emulated_tiles.config.palette = 0;
  zero_all_tiles();
}

template <int kTile>
static void zero_tile() {
  configured_tile(kTile) = EmulatedTile{};
}

template <int kTile>
static void load_tile(const void* from, int64_t stride) {
  EmulatedTile& tile = configured_tile(kTile);
  tile = EmulatedTile{};
  for (int row = 0; row < emulated_tiles.config.rows[kTile]; ++row) {
    __builtin_memcpy(tile.rows[row], static_cast<const char*>(from) + row * stride,
                     emulated_tiles.config.row_bytes[kTile]);
  }
}

template <int kTile>
static void store_tile(void* to, int64_t stride) {
  const EmulatedTile& tile = configured_tile(kTile);
  for (int row = 0; row < emulated_tiles.config.rows[kTile]; ++row) {
    __builtin_memcpy(static_cast<char*>(to) + row * stride, tile.rows[row], emulated_tiles.config.row_bytes[kTile]);
  }
}

/// Products of the even and of the odd inputs are summed apart from 0 on, with fused multiply-adds, then added to each
/// other and to the sum so far; denormal numbers count as 0, results too.
template <int kSums, int kA, int kB>
static void multiply_tiles() {
  static_assert(kSums != kA && kSums != kB && kA != kB);
  EmulatedTile& sums = configured_tile(kSums);
  const EmulatedTile& a = configured_tile(kA);
  const EmulatedTile& b = configured_tile(kB);
  const TileConfig& config = emulated_tiles.config;
  check_tiles(config.rows[kA] == config.rows[kSums] && config.row_bytes[kB] == config.row_bytes[kSums] &&
                  config.row_bytes[kA] == config.rows[kB] * 4 && config.row_bytes[kB] % 4 == 0,
              "TDPBF16PS: shapes that do not go together");
  const unsigned modes = _mm_getcsr();
  _mm_setcsr(modes | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON);
  asm volatile("" : : : "memory");  // no arithmetic before this, none after the next
  for (int row = 0; row < config.rows[kSums]; ++row) {
    V16 evens = zero();
    V16 odds = zero();
    for (int pair = 0; pair < config.row_bytes[kA] / 4; ++pair) {
      uint32_t x;
      __builtin_memcpy(&x, &a.rows[row][pair], sizeof x);
      const Pairs16 x_pair{_mm512_set1_epi32(static_cast<int>(x))};
      const Pairs16 w{_mm512_castps_si512(load(b.rows[pair]).v)};
      evens = fma(even(x_pair), even(w), evens);
      odds = fma(odd(x_pair), odd(w), odds);
    }
    store(sums.rows[row], add(load(sums.rows[row]), add(evens, odds)));
  }
  asm volatile("" : : : "memory");
  _mm_setcsr(modes);
}

}  // namespace
}  // namespace vitrine
