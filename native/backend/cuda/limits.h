// What the device can do, measured: the yardstick of kernel_bench.
#pragma once

#include "backend/cuda/context.h"

namespace vitrine::cuda {

/// Blocks for about `seconds`; allocates and frees up to 2 GiB. Throws Error.
VitrineCudaLimits measure_limits(VitrineCudaContext& context, double seconds);

}  // namespace vitrine::cuda
