// Weights as the CPU kernels read them. A matrix [rows, cols] is stored in panels of kPanelRows output rows:
//   float32, float16, float8_e4m3fn   [ceil(rows / 32)][cols][32]
//   bfloat16   [ceil(rows / 32)][ceil(cols / 2)][32][2]   (pairs, for the processor's bf16 dot product)
// Rows beyond the last, and the second of the last pair of an odd `cols`, are 0.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "backend/cpu/aligned_buffer.h"
#include "backend/cpu/kernels.h"
#include "core/thread_pool.h"

namespace vitrine {

class PackedMatrix final : public Weight {
 public:
  PackedMatrix(int64_t rows, int64_t cols, DType dtype);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return buffer_.bytes() + row_scales_.size() * sizeof(float); }
  DType dtype() const { return dtype_; }
  int64_t panel_bytes() const { return panel_bytes_; }
  const char* data() const { return static_cast<const char*>(buffer_.data()); }
  /// [rows] of a float8 matrix.
  const float* row_scales() const { return row_scales_.data(); }

  /// See Backend::load_rows.
  void load_rows(int64_t first_row, int64_t row_count, const void* source, DType stored, const CpuKernels& kernels,
                 ThreadPool& pool);
  /// See Backend::load_quantized_rows.
  void load_quantized_rows(int64_t first_row, int64_t row_count, const void* source, const float* scales,
                           const CpuKernels& kernels, ThreadPool& pool);
  /// Row `row` as floats [cols].
  void read_row(int64_t row, float* to) const;

 private:
  void load_panel(int64_t panel, int64_t first_row, int64_t end_row, const char* source, DType stored,
                  const CpuKernels& kernels);
  void quantize_panel(int64_t panel, int64_t first_row, int64_t end_row, const char* source, DType stored,
                      const CpuKernels& kernels);
  template <class LoadPanel>
  void for_panels(int64_t first_row, int64_t row_count, ThreadPool& pool, LoadPanel load) const;

  int64_t rows_;
  int64_t cols_;
  DType dtype_;
  int64_t panel_bytes_;
  AlignedBuffer buffer_;
  std::vector<float> row_scales_;  ///< of float8
};

/// Norm gains and biases: [n] float32.
class PackedVector final : public Weight {
 public:
  explicit PackedVector(int64_t size) : size_(size), buffer_(static_cast<size_t>(size) * sizeof(float)) {}

  int64_t rows() const override { return size_; }
  int64_t cols() const override { return 1; }
  size_t bytes() const override { return buffer_.bytes(); }
  float* data() const { return static_cast<float*>(buffer_.data()); }

 private:
  int64_t size_;
  AlignedBuffer buffer_;
};

}  // namespace vitrine
