// libvitrine_cuda.so as the core sees it: loaded when a GPU is asked for, never linked, never unloaded (a CUDA runtime
// that has seen a device does not survive that).
#pragma once

#include <string>
#include <vector>

#include "backend/cuda/cuda_api.h"

namespace vitrine {

class CudaLibrary {
 public:
  /// Throws Error, one line: the file is missing or no library, not this library, or of another version.
  explicit CudaLibrary(const std::string& path);

  const VitrineCudaApi& api() const { return *api_; }
  /// Throws Error with the library's own words when `status` is not VITRINE_CUDA_OK; OutOfMemory where that is so.
  void check(int status) const;
  /// The GPUs it can use, at least one. Throws Error: no driver, a driver that is too old, no GPU, none new enough.
  std::vector<VitrineCudaDevice> devices() const;

 private:
  const VitrineCudaApi* api_ = nullptr;
};

}  // namespace vitrine
