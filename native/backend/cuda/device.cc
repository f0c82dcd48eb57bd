// Which devices there are, and why there is none.
#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "backend/cuda/context.h"

namespace vitrine::cuda {
namespace {

constexpr int kLeastMajor = 8;  // sm_80: tensor cores for bfloat16, asynchronous copies

bool has_driver_library() {
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver != nullptr) dlclose(driver);
  return driver != nullptr;
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version / 10 % 100);
}

}  // namespace

int device_count() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaErrorInsufficientDriver) {
    cudaGetLastError();
    if (!has_driver_library()) {
      fail(VITRINE_CUDA_NO_DRIVER, "this machine has no NVIDIA driver (libcuda.so.1 cannot be loaded)");
    }
    int driver = 0;
    int runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    cudaGetLastError();
    fail(VITRINE_CUDA_OLD_DRIVER, "the NVIDIA driver is too old: it supports CUDA ", version_text(driver),
         ", this build needs ", version_text(runtime));
  }
  if (code == cudaErrorNoDevice || (code == cudaSuccess && count == 0)) {
    cudaGetLastError();
    fail(VITRINE_CUDA_NO_DEVICE,
         "the NVIDIA driver finds no GPU (is one visible to this process? "
         "CUDA_VISIBLE_DEVICES, container settings)");
  }
  check(code, "cudaGetDeviceCount");
  return count;
}

VitrineCudaDevice describe_device(int index) {
  const int count = device_count();
  require(index >= 0 && index < count, "expected a GPU index below ", count, ", got ", index);
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  VitrineCudaDevice device{};
  std::string_view(properties.name).copy(device.name, sizeof device.name - 1);
  device.index = index;
  device.compute_major = properties.major;
  device.compute_minor = properties.minor;
  device.multiprocessors = properties.multiProcessorCount;
  device.total_bytes = properties.totalGlobalMem;
  cudaDriverGetVersion(&device.driver_version);
  cudaRuntimeGetVersion(&device.runtime_version);
  if (device.compute_major < kLeastMajor) {
    fail(VITRINE_CUDA_NO_DEVICE, "GPU ", index, " (", device.name, ") has compute capability ", device.compute_major,
         ".", device.compute_minor, "; 8.0 is needed (Ampere or newer)");
  }
  return device;
}

}  // namespace vitrine::cuda
