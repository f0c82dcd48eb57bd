// Weights as the CPU kernels read them. A matrix [rows, cols] is stored in panels of kPanelRows output rows:
//   float32, float16, float8_e4m3fn   [ceil(rows / 32)][cols][32], and of float8_e4m3fn then float32 scales [rows]
//   bfloat16                          [ceil(rows / 32)][ceil(cols / 2)][32][2]   (pairs, for the processor's bf16 dot
//   product)
// Rows beyond the last, and the second of the last pair of an odd `cols`, are 0.
#pragma once

#include <string_view>

#include "backend/backend.h"
#include "backend/cpu/aligned_buffer.h"
#include "backend/cpu/kernels.h"
#include "core/thread_pool.h"

namespace vitrine {

/// The layout below as Backend::weight_layout() names it, the same for every instruction set. Whatever changes a packed
/// byte changes the number: files of packed weights outlive the program.
inline constexpr std::string_view kPackedLayout = "cpu-panels-1";

class PackedMatrix final : public Weight {
 public:
  /// In memory of its own, all 0.
  PackedMatrix(int64_t rows, int64_t cols, DType dtype);
  /// On packed bytes that outlive it.
  PackedMatrix(int64_t rows, int64_t cols, DType dtype, const void* packed);
  static size_t packed_bytes(int64_t rows, int64_t cols, DType dtype);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return packed_bytes(rows_, cols_, dtype_); }
  const void* packed() const override { return data_; }
  DType dtype() const { return dtype_; }
  int64_t panel_bytes() const { return panel_bytes_; }
  const char* data() const { return data_; }
  /// [rows] of a float8 matrix, behind its panels.
  const float* row_scales() const { return reinterpret_cast<const float*>(data_ + panels_bytes(rows_, cols_, dtype_)); }

  /// See Backend::load_rows; not of borrowed bytes.
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
  static size_t panels_bytes(int64_t rows, int64_t cols, DType dtype);
  float* scales_to_fill() const;
  template <class LoadPanel>
  void for_panels(int64_t first_row, int64_t row_count, ThreadPool& pool, LoadPanel load) const;

  int64_t rows_;
  int64_t cols_;
  DType dtype_;
  int64_t panel_bytes_;
  AlignedBuffer buffer_;  ///< empty: the bytes are borrowed
  const char* data_;
};

/// Norm gains and biases: [n] float32.
class PackedVector final : public Weight {
 public:
  explicit PackedVector(int64_t size) : size_(size), buffer_(packed_bytes(size)), data_(floats()) {}
  PackedVector(int64_t size, const void* packed) : size_(size), data_(static_cast<const float*>(packed)) {}
  static size_t packed_bytes(int64_t size) { return static_cast<size_t>(size) * sizeof(float); }

  int64_t rows() const override { return size_; }
  int64_t cols() const override { return 1; }
  size_t bytes() const override { return packed_bytes(size_); }
  const void* packed() const override { return data_; }
  const float* data() const { return data_; }
  /// To be filled; null where the bytes are borrowed.
  float* floats() const { return static_cast<float*>(buffer_.data()); }

 private:
  int64_t size_;
  AlignedBuffer buffer_;
  const float* data_;
};

}  // namespace vitrine
