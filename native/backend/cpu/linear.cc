// How a product is cut: rows in chunks whose packed form stays in cache, output columns (and for many rows, rows too)
// in tasks that take a few microseconds or more.
#include "backend/cpu/linear.h"

#include <algorithm>

#include "backend/cpu/lanes.h"

namespace vitrine {
namespace {

constexpr int64_t kPackedBytes = int64_t{16} << 20;  // of one chunk of x: more would leave the last cache level
constexpr int64_t kTaskGroups = 8;                   // the widest tile of the kernels, the panels they read together
constexpr int64_t kLeastTaskGroups = 2;              // a panel
constexpr double kBytesPerNanosecond = 20;           // roughly, of one core: chooses the grain, nothing else
constexpr double kInlineNanoseconds = 6000;
constexpr double kTaskNanoseconds = 8000;
constexpr int64_t kInlineElements = 32768;  // floats a pass over rows touches before the threads are worth waking

}  // namespace

void Linear::run(const PackedMatrix& weight, const float* bias, const float* x, int64_t rows, float* out) {
  const int64_t row_bytes = std::max<int64_t>(weight.cols() * static_cast<int64_t>(sizeof(float)), 1);
  const GemmKernels& kernels = kernels_for(weight);
  const int64_t most = std::clamp<int64_t>(kPackedBytes / row_bytes, 8 * kernels.max_block_rows, kernels.max_rows);
  const int64_t chunks = (rows + most - 1) / most;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t first = chunk * rows / chunks;
    const int64_t end = (chunk + 1) * rows / chunks;
    const float* const from = x + first * weight.cols();
    float* const to = out + first * weight.rows();
    if (weight.dtype() == DType::kFloat8E4M3) {
      run_quantized(weight, bias, from, end - first, to);
    } else {
      run_rows(weight, bias, from, end - first, to);
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

PackedRows Linear::pack(const float* x, int64_t rows, int64_t k, const GemmKernels& kernels) {
  PackedRows packed;
  packed.rows = rows;
  packed.blocks = (rows + kernels.max_block_rows - 1) / kernels.max_block_rows;
  packed.block_bytes = (rows + packed.blocks - 1) / packed.blocks * kernels.packed_row_bytes(k);
  if (rows == 1 && !kernels.rounds_x) {  // already k-major
    packed.data = x;
    return packed;
  }
  char* to = static_cast<char*>(packed_.reserve(static_cast<size_t>(packed.blocks * packed.block_bytes)));
  packed.data = to;
  const auto pack_block = [&](int64_t block) {
    const int64_t row = block * rows / packed.blocks;
    const int64_t end = (block + 1) * rows / packed.blocks;
    kernels.pack_rows(x + row * k, k, end - row, k, to + block * packed.block_bytes);
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
  const GemmKernels& kernels = kernels_for(weight);
  args.x = pack(x, rows, k, kernels);
  args.weight = weight.data();
  args.dtype = weight.dtype();
  args.n = n;
  args.k = k;
  args.panel_bytes = weight.panel_bytes();
  args.bias = bias;
  args.out = out;

  const int64_t groups = (n + kGroupColumns - 1) / kGroupColumns;
  const double cost =
      std::max(static_cast<double>(weight.bytes()) / kBytesPerNanosecond,
               static_cast<double>(rows * n) * static_cast<double>(k) / kernels.products_per_nanosecond);
  const bool parallel = pool_.size() > 1 && cost >= kInlineNanoseconds;
  const size_t partial_bytes = kernels.partial_floats(rows, args.x.blocks, k) * sizeof(float);
  for (AlignedBuffer& partial : partials_) partial.reserve(partial_bytes);
  const auto run = [&](int64_t lane, int64_t first_group, int64_t end_group, int64_t first_block, int64_t end_block) {
    float* const partial = static_cast<float*>(partials_[static_cast<size_t>(lane)].data());
    kernels.multiply(args, {first_group, std::min(groups, end_group), first_block, end_block, partial});
  };

  int64_t unit_groups = kLeastTaskGroups;
  while (unit_groups < kTaskGroups &&
         cost * static_cast<double>(unit_groups) < kTaskNanoseconds * static_cast<double>(groups))
    unit_groups *= 2;
  const int64_t units = (groups + unit_groups - 1) / unit_groups;
  // Too few columns for all threads: split the rows as well.
  const int64_t row_tasks = parallel ? std::min(args.x.blocks, (pool_.size() + units - 1) / units) : 1;
  if (row_tasks == 1) {
    for_runs_in_lanes(pool_, parallel, units, [&](int64_t lane, int64_t begin, int64_t end) {
      run(lane, begin * unit_groups, end * unit_groups, 0, args.x.blocks);
    });
    return;
  }
  for_each_in_lanes(pool_, parallel, units * row_tasks, [&](int64_t lane, int64_t task) {
    const int64_t unit = task / row_tasks;
    const int64_t part = task % row_tasks;
    run(lane, unit * unit_groups, (unit + 1) * unit_groups, part * args.x.blocks / row_tasks,
        (part + 1) * args.x.blocks / row_tasks);
  });
}

}  // namespace vitrine
