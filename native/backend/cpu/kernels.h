// The table of kernels each instruction set fills in. Plain pointers and numbers only: the files that implement it are
// compiled with ISA flags and must not emit any inline function that the linker could pick for the common files.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/backend.h"
#include "core/dtype.h"

namespace vitrine {

/// Output rows of a weight that are stored side by side; see packed_matrix.h.
inline constexpr int kPanelRows = 32;
/// Columns of one vector register group: a panel is two of them.
inline constexpr int kGroupColumns = 16;
/// Keys of one attention tile; tiles start at multiples of it in the sequence.
inline constexpr int kTileKeys = 64;

/// What a GEMM kernel reads as x: rows in blocks, block b holding rows [b * rows / blocks, (b + 1) * rows / blocks),
/// each block k-major: [K][block rows] float32, [ceil(K / 2)][block rows] pairs of bfloat16, or, for tiles,
/// [ceil(K / 32)][block rows][32] bfloat16, 0 beyond K, in memory for more.
struct PackedRows {
  const void* data = nullptr;
  int64_t rows = 0;
  int64_t blocks = 0;
  int64_t block_bytes = 0;  ///< from one block to the next: as many as the largest takes
};

struct GemmArgs {
  PackedRows x;
  const void* weight = nullptr;  ///< packed panels
  DType dtype = DType::kFloat32;
  int64_t n = 0;
  int64_t k = 0;
  int64_t panel_bytes = 0;
  const float* bias = nullptr;  ///< [n] or null
  float* out = nullptr;         ///< [rows, n]
};

/// Part of a GEMM: column groups [first_group, end_group) of all, blocks [first_block, end_block) of x.
struct GemmRange {
  int64_t first_group = 0;
  int64_t end_group = 0;
  int64_t first_block = 0;
  int64_t end_block = 0;
  float* partial = nullptr;  ///< scratch of the calling thread: GemmKernels::partial_floats
};

struct AttentionArgs {
  const float* q = nullptr;  ///< rows of qkv
  int64_t q_stride = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
  KvLayer cache;
  int32_t group = 1;  ///< query heads of one kv head
  int32_t window = 0;
  float scale = 1.0f;  ///< of the scores, with that of K
};

/// Consecutive query tokens of one request under neighbouring kv heads.
struct AttentionItem {
  int32_t first_token = 0;
  int32_t tokens = 0;
  int32_t first_position = 0;
  int32_t kv_head = 0;
  int32_t kv_heads = 1;
  const int32_t* blocks = nullptr;  ///< the request's block table
};

/// Products that read x in one packed form.
struct GemmKernels {
  int max_block_rows;              ///< of PackedRows
  int max_rows;                    ///< that are multiplied at once: more would leave the second cache level
  bool rounds_x;                   ///< to bfloat16; otherwise one packed row is the row itself
  double products_per_nanosecond;  ///< of one core, roughly: chooses the grain of tasks, nothing else
  int64_t (*packed_row_bytes)(int64_t k);
  /// Packs rows [0, rows) of x [.., k] (row stride `stride`) into one block.
  void (*pack_rows)(const float* x, int64_t stride, int64_t rows, int64_t k, void* block);
  void (*multiply)(const GemmArgs& args, const GemmRange& range);
  /// What a range of such a product needs: `rows` and `blocks` of all of x.
  size_t (*partial_floats)(int64_t rows, int64_t blocks, int64_t k);
};

struct CpuKernels {
  GemmKernels gemm;           ///< with weights of every other dtype
  GemmKernels bfloat16_gemm;  ///< with bfloat16 weights

  void (*attend)(const AttentionArgs& args, const AttentionItem& item, void* scratch);
  /// Bytes of scratch `attend` needs for an item of `rows` = tokens * group * kv_heads.
  size_t (*attention_scratch_bytes)(int64_t rows, int32_t head_dim);
  /// Query rows of one item that keep its tiles in the first cache levels.
  int attention_rows;

  void (*rms_norm)(const float* x, const float* gain, float eps, int64_t n, float* out);
  void (*add_rms_norm)(float* residual, const float* delta, const float* gain, float eps, int64_t n, float* out);
  /// cos, sin [half]; x [2 * half] in place.
  void (*rotate)(float* x, const float* cos, const float* sin, int64_t half);
  void (*store_row)(const float* x, int64_t n, DType dtype, void* to);
  void (*load_row)(const void* x, DType dtype, int64_t n, float* to);
  /// Quantizes a row as core/float8_rows.h says: the codes as floats to `to`, which may be x. Returns the scale.
  float (*quantize_row)(const float* x, int64_t n, float* to);
  /// x[i] = x[i] * scale * scales[i] (+ bias[i], may be null).
  void (*scale_row)(float* x, int64_t n, float scale, const float* scales, const float* bias);
  void (*gated)(const float* gate, const float* up, Activation activation, int64_t n, float* out);
  /// to += weight * x.
  void (*add_scaled)(float* to, const float* x, float weight, int64_t n);

  /// Largest of x[0, n); false when some value is infinite or NaN. n >= 1.
  bool (*finite_max)(const float* x, int64_t n, float* max);
  /// First index with x[i] >= threshold, from `first`; n when there is none.
  int64_t (*find_ge)(const float* x, int64_t first, int64_t n, float threshold);
  /// out[i] = exp((x[i] - max) / temperature) (out may be null); returns their sum in float64, in a fixed order.
  double (*exp_sum)(const float* x, int64_t n, float max, float temperature, float* out);

  /// For measure_cpu_limits: each returns something that depends on all it did.
  float (*read_bytes)(const void* from, size_t bytes);
  float (*float32_flops)(int64_t rounds);   ///< rounds * kFlopsPerRound
  float (*bfloat16_flops)(int64_t rounds);  ///< rounds * bfloat16_flops_per_round; null where x is not rounded
  int64_t bfloat16_flops_per_round;
};

/// Operations of one round of CpuKernels::float32_flops.
inline constexpr int64_t kFlopsPerRound = 16 * 16 * 2;

const CpuKernels& avx2_kernels();
const CpuKernels& avx512_kernels();
const CpuKernels& avx512_bf16_kernels();
const CpuKernels& amx_bf16_kernels();

}  // namespace vitrine
