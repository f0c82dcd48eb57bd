// Where elements of matrix tiles (of 16 bits, or pairs of float8) lie: in shared memory (16-byte chunks, swizzled), in
// the registers of mma.sync.m16n8k16, and how wgmma is told of it. Host and device code: native_tests prove these maps
// without a GPU.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define VITRINE_HOST_DEVICE __host__ __device__
#else
#define VITRINE_HOST_DEVICE
#endif

namespace vitrine::cuda {

constexpr int kChunkElements = 8;  ///< 16 bytes of 16-bit elements: what ldmatrix and cp.async move at once

/// Two float8 codes that are neighbours along k. The product of 16 x 32 and 32 x 8 codes (m16n8k32) has its operands in
/// the registers of m16n8k16, a pair in place of each 16-bit element: what is written for a matrix [rows, k] of those
/// runs on one of 2 k codes.
struct Float8Pair {
  uint16_t codes;
};

/// Place of a row's chunk in shared memory, in chunks from the row's beginning. ldmatrix reads the same chunk of 8 rows
/// that follow each other (the first a multiple of 8): they fall into the 8 different 16-byte columns of the 32 banks.
/// Rows of a multiple of 128 bytes all begin in column 0, so the row number itself spreads them. Rows of an odd
/// multiple of 64 bytes begin in columns 0 and 4 by turns, so that 4 places per pair of rows are enough, and more could
/// leave a row of 4, 12 or 20 chunks. Depends on row % 8 only.
VITRINE_HOST_DEVICE constexpr int swizzled_chunk(int row, int chunk, int chunks_per_row) {
  return chunks_per_row % 8 == 0 ? chunk ^ (row & 7) : chunk ^ ((row >> 1) & 3);
}

/// Index of the first element of a chunk within a tile of rows of `chunks_per_row` chunks.
VITRINE_HOST_DEVICE constexpr int tile_element(int row, int chunk, int chunks_per_row) {
  return (row * chunks_per_row + swizzled_chunk(row, chunk, chunks_per_row)) * kChunkElements;
}

struct TileCell {
  int row, col;
};

/// Cell of register `index` (0..3) of a lane in the 16 x 8 float accumulator (PTX ISA, "Matrix fragments for
/// mma.m16n8k16"): lane / 4 is the row within a half, lane % 4 the pair of columns.
VITRINE_HOST_DEVICE constexpr TileCell accumulator_cell(int lane, int index) {
  return {lane / 4 + 8 * (index / 2), 2 * (lane % 4) + index % 2};
}

/// ldmatrix takes the address of row i of 8 x 8 matrix j from lane 8 * j + i and gives lane l the elements 2 * (l % 4)
/// and + 1 of row l / 4. Operand A (16 x 16, row-major) has its matrices in the order (rows 0-7, k 0-7), (rows 8-15,
/// k 0-7), (rows 0-7, k 8-15), (rows 8-15, k 8-15):
struct LaneAddress {
  int row, chunk;
};
VITRINE_HOST_DEVICE constexpr LaneAddress a_operand_address(int lane) { return {lane % 16, lane / 16}; }

/// Operand B of two neighbouring 8-column tiles from a matrix [n, k] (K of attention: a row is a key; weights: a row is
/// an output): (n 0-7, k 0-7), (n 0-7, k 8-15), (n 8-15, k 0-7), (n 8-15, k 8-15).
VITRINE_HOST_DEVICE constexpr LaneAddress b_operand_address(int lane) {
  return {lane / 16 * 8 + lane % 8, lane / 8 % 2};
}

/// Operand B of two neighbouring 8-column tiles from a matrix [k, n] (V of attention: a row is a key) by the
/// transposing ldmatrix: (k 0-7, n 0-7), (k 8-15, n 0-7), (k 0-7, n 8-15), (k 8-15, n 8-15).
VITRINE_HOST_DEVICE constexpr LaneAddress transposed_b_address(int lane) { return {lane % 16, lane / 16}; }

/// A tile as wgmma reads it: panels of kPanel columns one behind the other, each of all rows, a row of a panel being
/// 128 or 64 bytes whose chunks are swizzled as above. That is the canonical layout of that swizzle for a matrix that
/// is multiplied along its rows (Q and K: "K-major") as well as for one that is multiplied along its columns (V:
/// "MN-major"). The tile's first byte is aligned to kPanelAlignment.
template <int kHeadDim, int kRows>
struct PanelTile {
  static constexpr int kPanel = kHeadDim % 64 == 0 ? 64 : 32;
  static constexpr int kRowBytes = 2 * kPanel;
  static constexpr int kGroupBytes = 8 * kRowBytes;  ///< of 8 rows of a panel, the period of the swizzle
  static constexpr int kPanelBytes = kRows * kRowBytes;
  static constexpr int kElements = kRows * kHeadDim;
  static_assert(kHeadDim % kPanel == 0 && kRows % 8 == 0);

  VITRINE_HOST_DEVICE static constexpr int element(int row, int chunk) {
    constexpr int kChunks = kPanel / kChunkElements;
    return chunk / kChunks * kRows * kPanel + tile_element(row, chunk % kChunks, kChunks);
  }

  /// The low word of wgmma's 64-bit matrix descriptor (PTX ISA, "Matrix descriptor format") for an address in shared
  /// memory: the address and the distance from panel to panel, which has a meaning for products along the columns only,
  /// in units of 16 bytes. step(bytes) is added to go on to another address.
  VITRINE_HOST_DEVICE static constexpr uint32_t at(uint32_t address) {
    return step(static_cast<int>(address)) | step(kPanelBytes) << 16;
  }
  VITRINE_HOST_DEVICE static constexpr uint32_t step(int bytes) { return static_cast<uint32_t>(bytes) >> 4; }
  /// The whole: above it the distance from 8 rows to the next 8, and the swizzle (1: of 128 bytes, 2: of 64 bytes).
  VITRINE_HOST_DEVICE static constexpr uint64_t descriptor(uint32_t low_word) {
    return uint64_t{step(kGroupBytes)} << 32 | uint64_t{kPanel == 64 ? 1U : 2U} << 62 | low_word;
  }
};
constexpr int kPanelAlignment = 1024;

}  // namespace vitrine::cuda
