// RMSNorm of rows.
#pragma once

#include "backend/cuda/launch.h"

namespace vitrine::cuda {

/// out = x * rsqrt(mean(x^2) + eps) * gain, [rows, cols]; the sum in float32. `out` may be `x`.
void rms_norm(const VitrineTensor& x, const float* gain, float eps, const VitrineTensor& out, cudaStream_t stream);

/// residual += delta, rounded to its dtype; out = rms_norm(residual).
void add_rms_norm(const VitrineTensor& residual, const VitrineTensor& delta, const float* gain, float eps,
                  const VitrineTensor& out, cudaStream_t stream);

}  // namespace vitrine::cuda
