// Packing at load, and reading single rows back for the embedding.
#include "backend/cpu/packed_matrix.h"

#include <algorithm>

namespace vitrine {
namespace {

constexpr int64_t kChunk = 128;  // columns converted at once: 32 rows of them stay in the first cache level

int64_t panel_size(int64_t cols, DType dtype) {
  const int64_t stored = dtype == DType::kBFloat16 ? (cols + 1) / 2 * 2 : cols;
  return stored * kPanelRows * static_cast<int64_t>(dtype_size(dtype));
}

/// Element offset of (column of the matrix, row in the panel).
int64_t index_in_panel(DType dtype, int64_t col, int64_t row) {
  if (dtype == DType::kBFloat16) return col / 2 * (2 * kPanelRows) + row * 2 + col % 2;
  return col * kPanelRows + row;
}

template <class Element>
void scatter(const Element* values, int64_t col, int64_t count, int64_t row, DType dtype, char* panel) {
  Element* to = reinterpret_cast<Element*>(panel);
  for (int64_t i = 0; i < count; ++i) to[index_in_panel(dtype, col + i, row)] = values[i];
}

}  // namespace

PackedMatrix::PackedMatrix(int64_t rows, int64_t cols, DType dtype)
    : rows_(rows),
      cols_(cols),
      dtype_(dtype),
      panel_bytes_(panel_size(cols, dtype)),
      buffer_(static_cast<size_t>((rows + kPanelRows - 1) / kPanelRows * panel_bytes_)) {}

void PackedMatrix::load_rows(int64_t first_row, int64_t row_count, const void* source, DType stored,
                             const CpuKernels& kernels, ThreadPool& pool) {
  if (row_count == 0 || cols_ == 0) return;
  const int64_t end_row = first_row + row_count;
  const int64_t first_panel = first_row / kPanelRows;
  const int64_t end_panel = (end_row + kPanelRows - 1) / kPanelRows;
  pool.parallel_for(end_panel - first_panel, [&](int64_t i) {
    load_panel(first_panel + i, first_row, end_row, static_cast<const char*>(source), stored, kernels);
  });
}

void PackedMatrix::load_panel(int64_t panel, int64_t first_row, int64_t end_row, const char* source, DType stored,
                              const CpuKernels& kernels) {
  char* to = static_cast<char*>(buffer_.data()) + panel * panel_bytes_;
  const int64_t panel_row = panel * kPanelRows;
  const int64_t begin = std::max(panel_row, first_row);
  const int64_t end = std::min(panel_row + kPanelRows, end_row);
  const auto stored_size = static_cast<int64_t>(dtype_size(stored));
  float floats[kChunk];
  uint16_t words[kChunk];
  for (int64_t col = 0; col < cols_; col += kChunk) {
    const int64_t count = std::min(kChunk, cols_ - col);
    for (int64_t row = begin; row < end; ++row) {
      kernels.load_row(source + ((row - first_row) * cols_ + col) * stored_size, stored, count, floats);
      if (dtype_ == DType::kFloat32) {
        scatter(floats, col, count, row - panel_row, dtype_, to);
      } else {
        kernels.store_row(floats, count, dtype_, words);
        scatter(words, col, count, row - panel_row, dtype_, to);
      }
    }
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
  }
}

}  // namespace vitrine
