// From an instruction set to its kernels.
#pragma once

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/kernels.h"

namespace vitrine {

/// Throws Error when this processor cannot run `isa`.
const CpuKernels& kernels_for(CpuIsa isa);

}  // namespace vitrine
