// Packing at load, and reading single rows back for the embedding.
#include "backend/cpu/packed_matrix.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "core/check.h"

namespace vitrine {
namespace {

constexpr int64_t kChunk = 128;  // columns packed at once: what they fill stays in the first cache level
constexpr int64_t kTaskBytes = int64_t{4} << 20;  // of panels: two threads rarely fault on the same huge page

int64_t panel_size(int64_t cols, DType dtype) {
  const int64_t stored = dtype == DType::kBFloat16 ? (cols + 1) / 2 * 2 : cols;
  return stored * kPanelRows * static_cast<int64_t>(dtype_size(dtype));
}

/// Element offset of (column of the matrix, row in the panel).
int64_t index_in_panel(DType dtype, int64_t col, int64_t row) {
  if (dtype == DType::kBFloat16) return col / 2 * (2 * kPanelRows) + row * 2 + col % 2;
  return col * kPanelRows + row;
}

/// Rows of one panel, row-major, already in the panel's dtype.
struct Tile {
  const char* data = nullptr;
  int64_t stride = 0;  ///< bytes between rows
  int64_t first_row = 0;
  int64_t rows = 0;
  int64_t first_col = 0;  ///< even
  int64_t cols = 0;
};

/// A panel is made of words of 4 bytes: a float32, two columns of bfloat16, two rows of float16, four rows of float8.
/// In blocks of four by four words rows become columns.
template <DType kDType>
class TilePacker {
 public:
  TilePacker(const Tile& tile, char* panel) : tile_(tile), panel_(panel) {}

  void pack() const {
    const int64_t block_rows = tile_.rows / kBlockRows * kBlockRows;
    const int64_t block_cols = tile_.cols / kBlockCols * kBlockCols;
    for (int64_t row = 0; row < block_rows; row += kBlockRows) {
      for (int64_t col = 0; col < block_cols; col += kBlockCols) transpose(row, col);
      scatter(row, row + kBlockRows, block_cols);
    }
    scatter(block_rows, tile_.rows, 0);
  }

 private:
  static constexpr int64_t kSize = static_cast<int64_t>(dtype_size(kDType));
  static constexpr int64_t kWordCols = kDType == DType::kBFloat16 ? 2 : 1;
  static constexpr int64_t kWordRows = 4 / kSize / kWordCols;
  static constexpr int64_t kBlockRows = 4 * kWordRows;
  static constexpr int64_t kBlockCols = 4 * kWordCols;
  static constexpr int64_t kWordColumnBytes = kPanelRows / kWordRows * 4;

  const char* from(int64_t row, int64_t col) const { return tile_.data + row * tile_.stride + col * kSize; }
  char* to(int64_t row, int64_t col) const {
    return panel_ + index_in_panel(kDType, tile_.first_col + col, tile_.first_row + row) * kSize;
  }

  /// Words `index` of the block at (row, col).
  __m128i words(int64_t row, int64_t col, int64_t index) const {
    if constexpr (kDType == DType::kFloat16) {
      const auto half = [&](int64_t r) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from(r, col))); };
      return _mm_unpacklo_epi16(half(row + 2 * index), half(row + 2 * index + 1));
    } else if constexpr (kDType == DType::kFloat8E4M3) {
      const auto pairs = [&](int64_t r) {
        return _mm_unpacklo_epi8(_mm_loadu_si32(from(r, col)), _mm_loadu_si32(from(r + 1, col)));
      };
      return _mm_unpacklo_epi16(pairs(row + 4 * index), pairs(row + 4 * index + 2));
    } else {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from(row + index, col)));
    }
  }

  void transpose(int64_t row, int64_t col) const {
    const __m128i a = words(row, col, 0), b = words(row, col, 1), c = words(row, col, 2), d = words(row, col, 3);
    const __m128i ab_low = _mm_unpacklo_epi32(a, b), ab_high = _mm_unpackhi_epi32(a, b);
    const __m128i cd_low = _mm_unpacklo_epi32(c, d), cd_high = _mm_unpackhi_epi32(c, d);
    char* column = to(row, col);
    for (const __m128i packed : {_mm_unpacklo_epi64(ab_low, cd_low), _mm_unpackhi_epi64(ab_low, cd_low),
                                 _mm_unpacklo_epi64(ab_high, cd_high), _mm_unpackhi_epi64(ab_high, cd_high)}) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(column), packed);
      column += kWordColumnBytes;
    }
  }

  /// One by one, what fills no block: rows [first_row, end_row), columns from `first_col`.
  void scatter(int64_t first_row, int64_t end_row, int64_t first_col) const {
    for (int64_t row = first_row; row < end_row; ++row) {
      for (int64_t col = first_col; col < tile_.cols; ++col) std::memcpy(to(row, col), from(row, col), kSize);
    }
  }

  Tile tile_;
  char* panel_;
};

void pack_tile(const Tile& tile, DType dtype, char* panel) {
  switch (dtype) {
    case DType::kFloat32: return TilePacker<DType::kFloat32>(tile, panel).pack();
    case DType::kFloat16: return TilePacker<DType::kFloat16>(tile, panel).pack();
    case DType::kBFloat16: return TilePacker<DType::kBFloat16>(tile, panel).pack();
    case DType::kFloat8E4M3: return TilePacker<DType::kFloat8E4M3>(tile, panel).pack();
  }
}

}  // namespace

PackedMatrix::PackedMatrix(int64_t rows, int64_t cols, DType dtype)
    : rows_(rows),
      cols_(cols),
      dtype_(dtype),
      panel_bytes_(panel_size(cols, dtype)),
      buffer_(packed_bytes(rows, cols, dtype)),
      data_(static_cast<const char*>(buffer_.data())) {}

PackedMatrix::PackedMatrix(int64_t rows, int64_t cols, DType dtype, const void* packed)
    : rows_(rows),
      cols_(cols),
      dtype_(dtype),
      panel_bytes_(panel_size(cols, dtype)),
      data_(static_cast<const char*>(packed)) {}

size_t PackedMatrix::panels_bytes(int64_t rows, int64_t cols, DType dtype) {
  return static_cast<size_t>((rows + kPanelRows - 1) / kPanelRows * panel_size(cols, dtype));
}

size_t PackedMatrix::packed_bytes(int64_t rows, int64_t cols, DType dtype) {
  const size_t scales = dtype == DType::kFloat8E4M3 ? static_cast<size_t>(rows) * sizeof(float) : 0;
  return panels_bytes(rows, cols, dtype) + scales;
}

/// Not of borrowed bytes.
float* PackedMatrix::scales_to_fill() const {
  return reinterpret_cast<float*>(static_cast<char*>(buffer_.data()) + panels_bytes(rows_, cols_, dtype_));
}

/// load(panel) for each that has some of the rows.
template <class LoadPanel>
void PackedMatrix::for_panels(int64_t first_row, int64_t row_count, ThreadPool& pool, LoadPanel load) const {
  if (row_count == 0 || cols_ == 0) return;
  require(buffer_.data() != nullptr, "load_rows: the weight's bytes are borrowed");
  const int64_t first_panel = first_row / kPanelRows;
  const int64_t end_panel = (first_row + row_count + kPanelRows - 1) / kPanelRows;
  const int64_t step = std::max<int64_t>(1, kTaskBytes / panel_bytes_);
  pool.parallel_for((end_panel - first_panel + step - 1) / step, [&](int64_t i) {
    const int64_t begin = first_panel + i * step;
    for (int64_t panel = begin; panel < std::min(end_panel, begin + step); ++panel) load(panel);
  });
}

void PackedMatrix::load_rows(int64_t first_row, int64_t row_count, const void* source, DType stored,
                             const CpuKernels& kernels, ThreadPool& pool) {
  const char* from = static_cast<const char*>(source);
  for_panels(first_row, row_count, pool, [&](int64_t panel) {
    if (dtype_ == DType::kFloat8E4M3) {
      quantize_panel(panel, first_row, first_row + row_count, from, stored, kernels);
    } else {
      load_panel(panel, first_row, first_row + row_count, from, stored, kernels);
    }
  });
}

void PackedMatrix::load_quantized_rows(int64_t first_row, int64_t row_count, const void* source, const float* scales,
                                       const CpuKernels& kernels, ThreadPool& pool) {
  if (row_count == 0) return;
  require(buffer_.data() != nullptr, "load_quantized_rows: the weight's bytes are borrowed");
  std::copy_n(scales, row_count, scales_to_fill() + first_row);
  for_panels(first_row, row_count, pool, [&](int64_t panel) {
    load_panel(panel, first_row, first_row + row_count, static_cast<const char*>(source), dtype_, kernels);
  });
}

/// A row's scale comes from all of it, so whole rows are quantized before they are packed.
void PackedMatrix::quantize_panel(int64_t panel, int64_t first_row, int64_t end_row, const char* source, DType stored,
                                  const CpuKernels& kernels) {
  const int64_t begin = std::max(panel * kPanelRows, first_row);
  const int64_t end = std::min((panel + 1) * kPanelRows, end_row);
  const int64_t row_bytes = cols_ * static_cast<int64_t>(dtype_size(stored));
  std::vector<float> floats(static_cast<size_t>(cols_));
  std::vector<char> codes(static_cast<size_t>((end - begin) * cols_));
  for (int64_t row = begin; row < end; ++row) {
    kernels.load_row(source + (row - first_row) * row_bytes, stored, cols_, floats.data());
    scales_to_fill()[row] = kernels.quantize_row(floats.data(), cols_, floats.data());
    kernels.store_row(floats.data(), cols_, dtype_, codes.data() + (row - begin) * cols_);
  }
  load_panel(panel, begin, end, codes.data(), dtype_, kernels);
}

void PackedMatrix::load_panel(int64_t panel, int64_t first_row, int64_t end_row, const char* source, DType stored,
                              const CpuKernels& kernels) {
  char* to = static_cast<char*>(buffer_.data()) + panel * panel_bytes_;
  const int64_t panel_row = panel * kPanelRows;
  const int64_t begin = std::max(panel_row, first_row);
  const int64_t end = std::min(panel_row + kPanelRows, end_row);
  const auto stored_size = static_cast<int64_t>(dtype_size(stored));
  const auto size = static_cast<int64_t>(dtype_size(dtype_));
  alignas(64) char converted[kPanelRows * kChunk * sizeof(float)];
  float floats[kChunk];
  Tile tile;
  tile.first_row = begin - panel_row;
  tile.rows = end - begin;
  for (tile.first_col = 0; tile.first_col < cols_; tile.first_col += kChunk) {
    tile.cols = std::min(kChunk, cols_ - tile.first_col);
    tile.data = source + ((begin - first_row) * cols_ + tile.first_col) * stored_size;
    tile.stride = cols_ * stored_size;
    if (stored != dtype_) {
      for (int64_t row = 0; row < tile.rows; ++row) {
        kernels.load_row(tile.data + row * tile.stride, stored, tile.cols, floats);
        kernels.store_row(floats, tile.cols, dtype_, converted + row * kChunk * size);
      }
      tile.data = converted;
      tile.stride = kChunk * size;
    }
    pack_tile(tile, dtype_, to);
  }
}

void PackedMatrix::read_row(int64_t row, float* to) const {
  const char* panel = data() + row / kPanelRows * panel_bytes_;
  const int64_t in_panel = row % kPanelRows;
  const float* floats = reinterpret_cast<const float*>(panel) + in_panel;
  const uint16_t* words = reinterpret_cast<const uint16_t*>(panel);
  switch (dtype_) {
    case DType::kFloat32:
      for (int64_t i = 0; i < cols_; ++i) to[i] = floats[i * kPanelRows];
      return;
    case DType::kFloat16:
      for (int64_t i = 0; i < cols_; ++i) to[i] = half_to_float(words[i * kPanelRows + in_panel]);
      return;
    case DType::kBFloat16:
      for (int64_t i = 0; i < cols_; ++i) to[i] = bf16_to_float(words[index_in_panel(dtype_, i, in_panel)]);
      return;
    case DType::kFloat8E4M3: fail("embed: a table cannot be float8");
  }
}

}  // namespace vitrine
