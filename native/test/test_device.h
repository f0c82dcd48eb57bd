// Which device native_tests and kernel_bench run on: `--device cpu` (the default) or `--device cuda`.
#pragma once

#include <optional>
#include <string>

#include "backend/cuda_adapter/cuda_library.h"

namespace vitrine::test {

/// The library that VITRINE_CUDA_LIBRARY names, else the one that `npm run build:cuda` puts beside this program's
/// folder. Throws Error when it cannot be loaded or finds no GPU.
CudaLibrary open_cuda_library();

/// Set once by main(), before any test: the GPU's library, or nothing for the CPU.
std::optional<CudaLibrary>& cuda_under_test();

}  // namespace vitrine::test
