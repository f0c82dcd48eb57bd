// How a product is cut: rows in chunks whose packed form stays in cache, output columns (and for many rows, rows too)
// in tasks that take a few microseconds or more.
#include "backend/cpu/linear.h"

#include <algorithm>

#include "backend/cpu/lanes.h"

namespace vitrine {
namespace {

constexpr int64_t kPackedBytes = int64_t{4} << 20;  // of one chunk of x
constexpr int64_t kTaskGroups = 8;                  // the widest tile of the kernels, the panels they read together
constexpr double kBytesPerNanosecond = 20;          // rough rates of one core: they choose the grain, nothing else
constexpr double kProductsPerNanosecond = 60;
constexpr double kInlineNanoseconds = 6000;
constexpr double kTaskNanoseconds = 8000;
constexpr int64_t kTasksPerThread = 32;
constexpr int64_t kInlineElements = 32768;  // floats a pass over rows touches before the threads are worth waking

}  // namespace

void Linear::run(const PackedMatrix& weight, const float* bias, const float* x, int64_t rows, float* out) {
  const int64_t row_bytes = std::max<int64_t>(packed_row_bytes(weight.cols(), false), 1);
  const int64_t block = kernels_.max_block_rows;
  const int64_t chunk = std::max<int64_t>(kPackedBytes / row_bytes / block, 8) * block;
  for (int64_t first = 0; first < rows; first += chunk) {
    const float* const from = x + first * weight.cols();
    float* const to = out + first * weight.rows();
    if (weight.dtype() == DType::kFloat8E4M3) {
      run_quantized(weight, bias, from, std::min(chunk, rows - first), to);
    } else {
      run_rows(weight, bias, from, std::min(chunk, rows - first), to);
    }
  }
}

void Linear::run_quantized(const PackedMatrix& weight, const float* bias, const float* x, int64_t rows, float* out) {
  const int64_t k = weight.cols();
  const int64_t n = weight.rows();
  auto* const codes = static_cast<float*>(quantized_.reserve(static_cast<size_t>(rows * k) * sizeof(float)));
  row_scales_.resize(static_cast<size_t>(rows));
  const auto for_rows = [&](int64_t elements, auto body) {
    if (elements < kInlineElements) {
      for (int64_t row = 0; row < rows; ++row) body(row);
    } else {
      pool_.parallel_for(rows, body);
    }
  };
  for_rows(rows * k, [&](int64_t row) {
    row_scales_[static_cast<size_t>(row)] = kernels_.quantize_row(x + row * k, k, codes + row * k);
  });
  run_rows(weight, nullptr, codes, rows, out);
  for_rows(rows * n, [&](int64_t row) {
    kernels_.scale_row(out + row * n, n, row_scales_[static_cast<size_t>(row)], weight.row_scales(), bias);
  });
}

PackedRows Linear::pack(const float* x, int64_t rows, int64_t k, bool as_pairs) {
  PackedRows packed;
  packed.rows = rows;
  packed.blocks = (rows + kernels_.max_block_rows - 1) / kernels_.max_block_rows;
  packed.row_bytes = packed_row_bytes(k, as_pairs);
  if (rows == 1 && !as_pairs) {  // already k-major
    packed.data = x;
    return packed;
  }
  char* to = static_cast<char*>(packed_.reserve(static_cast<size_t>(rows * packed.row_bytes)));
  packed.data = to;
  const auto pack_block = [&](int64_t block) {
    const int64_t row = block * rows / packed.blocks;
    const int64_t end = (block + 1) * rows / packed.blocks;
    kernels_.pack_rows(x + row * k, k, end - row, k, as_pairs, to + row * packed.row_bytes);
  };
  if (rows * k < kInlineElements) {
    for (int64_t block = 0; block < packed.blocks; ++block) pack_block(block);
  } else {
    pool_.parallel_for(packed.blocks, pack_block);
  }
  return packed;
}

void Linear::run_rows(const PackedMatrix& weight, const float* bias, const float* x, int64_t rows, float* out) {
  const int64_t n = weight.rows();
  if (n == 0) return;
  const int64_t k = weight.cols();
  GemmArgs args;
  args.x = pack(x, rows, k, kernels_.bf16_pairs && weight.dtype() == DType::kBFloat16);
  args.weight = weight.data();
  args.dtype = weight.dtype();
  args.n = n;
  args.k = k;
  args.panel_bytes = weight.panel_bytes();
  args.bias = bias;
  args.out = out;

  const int64_t groups = (n + kGroupColumns - 1) / kGroupColumns;
  const double cost = std::max(static_cast<double>(weight.bytes()) / kBytesPerNanosecond,
                               static_cast<double>(rows * n) * static_cast<double>(k) / kProductsPerNanosecond);
  const bool parallel = pool_.size() > 1 && cost >= kInlineNanoseconds;
  const int64_t wanted = parallel ? std::clamp<int64_t>(static_cast<int64_t>(cost / kTaskNanoseconds), pool_.size(),
                                                        kTasksPerThread * pool_.size())
                                  : 1;
  const int64_t units = (groups + kTaskGroups - 1) / kTaskGroups;
  const int64_t column_tasks = std::min(units, wanted);
  // Too few columns for all threads: split the rows as well.
  const int64_t row_tasks = std::min(args.x.blocks, (wanted + column_tasks - 1) / column_tasks);
  const size_t partial_bytes = kernels_.gemm_partial_floats(rows, args.x.blocks, k) * sizeof(float);
  for (AlignedBuffer& partial : partials_) partial.reserve(partial_bytes);
  for_each_in_lanes(pool_, parallel, column_tasks * row_tasks, [&](int64_t lane, int64_t task) {
    const int64_t c = task / row_tasks;
    const int64_t r = task % row_tasks;
    GemmRange range;
    range.first_group = c * units / column_tasks * kTaskGroups;
    range.end_group = std::min(groups, (c + 1) * units / column_tasks * kTaskGroups);
    range.first_block = r * args.x.blocks / row_tasks;
    range.end_block = (r + 1) * args.x.blocks / row_tasks;
    range.partial = static_cast<float*>(partials_[static_cast<size_t>(lane)].data());
    kernels_.gemm(args, range);
  });
}

}  // namespace vitrine
