// Chooses the kernel for a width and a dtype.
#include "backend/cuda/quantize_rows.cuh"

#include <algorithm>

#include "backend/cuda/quantize_rows.h"

namespace vitrine::cuda {

void quantize_rows(const VitrineTensor& rows, void* codes, float* scales, cudaStream_t stream) {
  using namespace quantize_rows_kernels;
  if (rows.rows == 0) return;
  for_dtype(rows.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int kVec = 16 / sizeof(T);
    const bool vectors = rows.cols % kVec == 0 && aligned_16(rows.data);
    const int64_t per_row = ceil_div<int64_t>(rows.cols, vectors ? kVec : 1);
    const auto threads = static_cast<unsigned>(std::clamp<int64_t>(ceil_div<int64_t>(per_row, 32) * 32, 32, 1024));
    const auto kernel = vectors ? quantize_rows_kernel<T, kVec> : quantize_rows_kernel<T, 1>;
    launch_kernel("quantize_rows", kernel, static_cast<unsigned>(rows.rows), threads, 0, stream,
                  static_cast<const T*>(rows.data), rows.cols, float8_row_bytes(rows.cols), static_cast<Float8*>(codes),
                  scales);
  });
}

}  // namespace vitrine::cuda
