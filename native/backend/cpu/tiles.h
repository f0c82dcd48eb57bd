// The eight tile registers of AMX as functions, by the processor's instructions or, in a build for tests
// (VITRINE_EMULATE_BF16), by what does the same. Everything has internal linkage.
//
// The instructions are written out because of gcc 12, whose _tile_loadd and _tile_loadconfig do not say which memory
// they read: it may drop what was written there just before.
#pragma once

#include <cstdint>

#include "backend/cpu/simd_avx512.h"

namespace vitrine {
namespace {

constexpr int kMostTileRows = 16;
constexpr int kTileRowBytes = 64;

/// The operand of LDTILECFG (Intel SDM, volume 2).
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

}  // namespace
}  // namespace vitrine

#ifdef VITRINE_EMULATE_BF16
#include "backend/cpu/tiles_emulated.h"
#else

namespace vitrine {
namespace {

VT_INLINE void configure_tiles(const TileConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config) : "memory"); }
VT_INLINE void release_tiles() { asm volatile("tilerelease"); }

template <int kTile>
VT_INLINE void zero_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
/// `stride`: bytes from one row to the next.
template <int kTile>
VT_INLINE void load_tile(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
VT_INLINE void store_tile(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
}
/// sums [rows][16] float32 += a [rows][16] * b [16][16], of pairs of bfloat16.
template <int kSums, int kA, int kB>
VT_INLINE void multiply_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kA), "i"(kB));
}

}  // namespace
}  // namespace vitrine
#endif
