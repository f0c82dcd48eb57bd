// The gated activations of MLPs.
#pragma once

#include "backend/cuda/launch.h"

namespace vitrine::cuda {

/// gate_up [T, 2I] -> out [T, I] = activation(gate) * up, computed in float32. `activation`: VitrineActivation.
void gated_activation(const VitrineTensor& gate_up, int activation, const VitrineTensor& out, cudaStream_t stream);

}  // namespace vitrine::cuda
