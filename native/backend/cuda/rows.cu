// Chooses the unit of a copy.
#include "backend/cuda/rows.cuh"

#include <algorithm>

#include "backend/cuda/rows.h"

namespace vitrine::cuda {
namespace {

using namespace rows_kernels;

template <class Unit>
void launch_gather(const void* table, const int32_t* rows, const VitrineTensor& out, int64_t row_bytes,
                   cudaStream_t stream) {
  const int64_t units = row_bytes / static_cast<int64_t>(sizeof(Unit));
  const auto threads = static_cast<unsigned>(std::clamp<int64_t>(ceil_div<int64_t>(units, 32) * 32, 32, 512));
  launch_kernel("gather_rows", gather_kernel<Unit>, static_cast<unsigned>(out.rows), threads, 0, stream,
                static_cast<const Unit*>(table), rows, units, static_cast<Unit*>(out.data));
}

}  // namespace

void resolve_token_ids(const int32_t* ids, const int32_t* last_sampled, int32_t count, int32_t* out,
                       cudaStream_t stream) {
  if (count == 0) return;
  launch_kernel("resolve_token_ids", resolve_kernel, static_cast<unsigned>(ceil_div(count, 256)), 256, 0, stream, ids,
                last_sampled, count, out);
}

void gather_rows(const void* table, const int32_t* rows, const VitrineTensor& out, cudaStream_t stream) {
  const int64_t row_bytes = out.cols * static_cast<int64_t>(dtype_bytes(out.dtype));
  if (out.rows == 0 || row_bytes == 0) return;
  if (row_bytes % 16 == 0 && aligned_16(table) && aligned_16(out.data)) {
    launch_gather<uint4>(table, rows, out, row_bytes, stream);
  } else if (row_bytes % 4 == 0) {  // rows of whole words start at words, as tensors do
    launch_gather<uint32_t>(table, rows, out, row_bytes, stream);
  } else {
    launch_gather<uint16_t>(table, rows, out, row_bytes, stream);
  }
}

void scatter(const std::vector<ScatterPart>& parts, cudaStream_t stream) {
  if (parts.empty()) return;
  require(parts.size() <= kMostScatterParts, "scatter: ", parts.size(), " parts are too many for one launch");
  ScatterParts arguments;
  std::copy(parts.begin(), parts.end(), arguments.parts);
  int64_t longest = 1;
  for (const ScatterPart& part : parts) longest = std::max(longest, part.count);
  const dim3 grid(static_cast<unsigned>(std::min<int64_t>(ceil_div<int64_t>(longest, 256), 64)),
                  static_cast<unsigned>(parts.size()));
  launch_kernel("scatter", scatter_kernel, grid, 256, 0, stream, arguments);
}

void convert(const void* from, int from_dtype, void* to, int to_dtype, int64_t count, cudaStream_t stream) {
  if (count == 0) return;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(ceil_div<int64_t>(count, 256), 8192));
  for_dtype(from_dtype, [&](auto source) {
    for_dtype(to_dtype, [&](auto target) {
      using From = decltype(source);
      using To = decltype(target);
      launch_kernel("convert", convert_kernel<From, To>, blocks, 256, 0, stream, static_cast<const From*>(from),
                    static_cast<To*>(to), count);
    });
  });
}

}  // namespace vitrine::cuda
