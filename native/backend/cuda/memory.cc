#include "backend/cuda/memory.h"

#include <algorithm>

namespace vitrine::cuda {

void* allocate_device_memory(size_t bytes) {
  void* data = nullptr;
  const cudaError_t code = cudaMalloc(&data, std::max<size_t>(bytes, 1));
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0;
    size_t total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    fail(VITRINE_CUDA_OUT_OF_MEMORY, "no room for ", bytes, " bytes of GPU memory, ", free, " of ", total, " are free");
  }
  check(code, "cudaMalloc");
  return data;
}

}  // namespace vitrine::cuda
