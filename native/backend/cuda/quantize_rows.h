// Rows of numbers into float8, weights at load and activations before every product; see core/float8_rows.h.
#pragma once

#include "backend/cuda/launch.h"

namespace vitrine::cuda {

/// Rows of codes begin this many bytes apart: multiples of 16, what kernels load at once. What lies between is 0.
inline int64_t float8_row_bytes(int64_t cols) { return (cols + 15) / 16 * 16; }

/// rows [n, cols] -> codes [n, float8_row_bytes(cols)], scales [n].
void quantize_rows(const VitrineTensor& rows, void* codes, float* scales, cudaStream_t stream);

}  // namespace vitrine::cuda
