// What every launcher of this library shares: errors, the choice of a dtype, grid sizes.
//
// A launcher is a plain host function in namespace vitrine::cuda that ends in (..., cudaStream_t stream): it chooses
// the kernel's template arguments and calls launch_kernel("name of the op", ...). It takes the structs of cuda_api.h,
// allocates nothing and never synchronises, so that it can be captured in a graph; memory it needs beside its tensors
// is a parameter. A kernel template is instantiated and launched in one .cu file. A launcher with nothing to do (no
// rows) returns before launching: an empty grid is an error of CUDA.
//
// Errors are exceptions within the library; api.cc turns them into codes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "backend/cuda/cuda_api.h"

namespace vitrine::cuda {

class Error : public std::runtime_error {
 public:
  Error(VitrineCudaStatus status, const std::string& text) : std::runtime_error(text), status_(status) {}
  VitrineCudaStatus status() const { return status_; }

 private:
  VitrineCudaStatus status_;
};

template <class... Parts>
[[noreturn]] void fail(VitrineCudaStatus status, const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Error(status, text.str());
}

template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    fail(VITRINE_CUDA_ERROR, parts...);
}

/// Throws when a CUDA call failed; `what` names it. Takes the error from the runtime's own memory of it.
void check(cudaError_t code, const char* what);

/// Whether kernels may start before the one before them on the stream has ended (programmatic dependent launch): where
/// the current device runs code for compute capability 9.0 or newer, unless VITRINE_CUDA_PDL=off.
bool launches_overlap();

/// Launches a kernel that begins with wait_for_earlier_kernels(). `what` names the op.
template <class... Parameters>
void launch_kernel(const char* what, void (*kernel)(Parameters...), dim3 grid, unsigned threads, size_t shared,
                   cudaStream_t stream, std::type_identity_t<Parameters>... arguments) {
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  const cudaLaunchConfig_t config{grid, dim3(threads), shared, stream, &overlap, launches_overlap() ? 1U : 0U};
  if (const cudaError_t code = cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel), pointers);
      code != cudaSuccess) [[unlikely]]
    check(code, what);
}

inline size_t dtype_bytes(int dtype) { return dtype == VITRINE_FLOAT32 ? 4 : dtype == VITRINE_FLOAT8_E4M3 ? 1 : 2; }

/// body(value of the element type): float, __half or __nv_bfloat16.
template <class Body>
void for_dtype(int dtype, Body body) {
  switch (dtype) {
    case VITRINE_FLOAT32: return body(float{});
    case VITRINE_FLOAT16: return body(__half{});
    case VITRINE_BFLOAT16: return body(__nv_bfloat16{});
    default: fail(VITRINE_CUDA_ERROR, "unknown dtype ", dtype);
  }
}

template <class Integer>
constexpr Integer ceil_div(Integer a, Integer b) {
  return (a + b - 1) / b;
}

constexpr int64_t kMaxGridX = 2147483647;
constexpr int64_t kMaxGridYZ = 65535;

/// Blocks of a grid's x dimension; kernels that may get more work than that loop.
inline unsigned grid_x(int64_t blocks) { return static_cast<unsigned>(blocks < kMaxGridX ? blocks : kMaxGridX); }

inline bool aligned_16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace vitrine::cuda
