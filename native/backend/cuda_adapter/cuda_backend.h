// Backend on an NVIDIA GPU: turns its calls into those of libvitrine_cuda.so and error codes into exceptions. No header
// of CUDA is needed here.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "backend/cuda_adapter/cuda_library.h"

namespace vitrine {

/// Activations, weights and KV cache in `dtype`. Of the engine thread: the device becomes current for the caller.
/// Throws Error when the device cannot be used.
std::unique_ptr<Backend> make_cuda_backend(const CudaLibrary& library, int device, DType dtype);

struct CudaLimits {
  double copy_bytes_per_second = 0;    ///< read and written
  double matmul_flops_per_second = 0;  ///< of cublasLt in the backend's dtype; 0 without it
};
/// Measures the device of a CUDA backend for about `seconds`.
CudaLimits measure_cuda_limits(Backend& backend, double seconds);

/// What multiplies its matrices: "cublasLt 13.0.2", or "built-in kernels (why)".
std::string cuda_matmul_library(Backend& backend);

}  // namespace vitrine
