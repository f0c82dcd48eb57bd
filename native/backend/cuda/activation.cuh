// The activation functions, in float32.
#pragma once

#include "backend/cuda/cuda_api.h"

namespace vitrine::cuda {

template <int kActivation>
__device__ float activate(float x) {
  if constexpr (kActivation == VITRINE_SILU) return x / (1.0f + expf(-x));
  if constexpr (kActivation == VITRINE_GELU) return 0.5f * x * (1.0f + erff(x * 0.70710678f));
  if constexpr (kActivation == VITRINE_GELU_TANH) {
    return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
  }
}

}  // namespace vitrine::cuda
