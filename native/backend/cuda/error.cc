// The text of CUDA's errors.
#include "backend/cuda/launch.h"

namespace vitrine::cuda {

void check(cudaError_t code, const char* what) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // an error that does not stay with the context must not come up again
  const auto status = code == cudaErrorMemoryAllocation ? VITRINE_CUDA_OUT_OF_MEMORY : VITRINE_CUDA_ERROR;
  fail(status, what, ": ", cudaGetErrorName(code), " (", static_cast<int>(code), "): ", cudaGetErrorString(code));
}

}  // namespace vitrine::cuda
