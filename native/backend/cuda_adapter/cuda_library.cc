// dlopen and what can be wrong with what it finds.
#include "backend/cuda_adapter/cuda_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include "core/check.h"

namespace vitrine {

CudaLibrary::CudaLibrary(const std::string& path) {
  require(access(path.c_str(), F_OK) == 0, "the CUDA library ", path, " does not exist");
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  require(handle != nullptr, "the CUDA library ", path, " cannot be loaded: ", handle == nullptr ? dlerror() : "");
  const auto get = reinterpret_cast<VitrineCudaApiFunction>(dlsym(handle, VITRINE_CUDA_API_SYMBOL));
  require(get != nullptr, path, " is not the CUDA library of Vitrine: it has no function ", VITRINE_CUDA_API_SYMBOL);
  api_ = get();
  require(api_->abi_version == VITRINE_CUDA_ABI_VERSION && api_->struct_bytes == sizeof(VitrineCudaApi),
          "the CUDA library ", path, " speaks version ", api_->abi_version, " of the interface, this addon ",
          VITRINE_CUDA_ABI_VERSION, ": install the CUDA package of the same version as vitrine, or rebuild it");
}

void CudaLibrary::check(int status) const {
  if (status == VITRINE_CUDA_OK) [[likely]]
    return;
  if (status == VITRINE_CUDA_OUT_OF_MEMORY) throw OutOfMemory(api_->last_error());
  fail(api_->last_error());
}

std::vector<VitrineCudaDevice> CudaLibrary::devices() const {
  int count = 0;
  check(api_->device_count(&count));
  std::vector<VitrineCudaDevice> devices;
  int first_refusal = VITRINE_CUDA_OK;
  std::string why;
  for (int i = 0; i < count; ++i) {
    VitrineCudaDevice device;
    const int status = api_->describe_device(i, &device);
    if (status == VITRINE_CUDA_OK) {
      devices.push_back(device);
    } else if (first_refusal == VITRINE_CUDA_OK) {
      first_refusal = status;
      why = api_->last_error();
    }
  }
  require(!devices.empty(), why);
  return devices;
}

}  // namespace vitrine
