// The runtime's functions are looked up by name: its ABI gives an int for an error and a text for the int.
#include "profiler/cuda_profiler.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "core/check.h"

namespace vitrine {
namespace {

constexpr int kInsufficientDriver = 35;  // also what the runtime says when there is no driver at all
constexpr const char* kVersions[] = {"libcudart.so.13", "libcudart.so.12", "libcudart.so"};

/// Where the loader looks, then where toolkits are installed.
std::vector<std::string> candidates() {
  std::vector<std::string> paths(std::begin(kVersions), std::end(kVersions));
  std::vector<std::string> toolkits;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') toolkits.emplace_back(value);
  }
  for (const char* path : {"/usr/local/cuda", "/usr/local/cuda-13", "/usr/local/cuda-12", "/opt/cuda"}) {
    toolkits.emplace_back(path);
  }
  for (const std::string& toolkit : toolkits) {
    for (const char* folder : {"/lib64/", "/targets/x86_64-linux/lib/", "/lib/"}) {
      for (const char* version : kVersions) paths.push_back(toolkit + folder + version);
    }
  }
  return paths;
}

class CudaRuntime {
 public:
  CudaRuntime() {
    for (const std::string& path : candidates()) {
      if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
        find(library, path);
        return;
      }
    }
    problem_ =
        "no CUDA runtime library was found: neither libcudart.so.13, libcudart.so.12 nor libcudart.so is on the "
        "loader's path, in CUDA_HOME, CUDA_PATH or /usr/local/cuda";
  }

  void call(const char* name, int (*CudaRuntime::*function)()) const {
    require(problem_.empty(), name, ": ", problem_);
    const int code = (this->*function)();
    if (code == 0) return;
    std::string hint;
    if (code == kInsufficientDriver && !has_driver()) hint = "; this machine has no NVIDIA driver (no libcuda.so.1)";
    fail(name, ": ", error_name_(code), " (", code, "): ", error_text_(code), hint);
  }

  int (*start)() = nullptr;
  int (*stop)() = nullptr;

 private:
  template <class Function>
  bool find_symbol(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
  }

  void find(void* library, const std::string& path) {
    const bool whole = find_symbol(library, "cudaProfilerStart", start) &&
                       find_symbol(library, "cudaProfilerStop", stop) &&
                       find_symbol(library, "cudaGetErrorName", error_name_) &&
                       find_symbol(library, "cudaGetErrorString", error_text_);
    if (!whole) problem_ = "the CUDA runtime library " + path + " lacks cudaProfilerStart or cudaGetErrorName";
  }

  static bool has_driver() {
    void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (driver != nullptr) dlclose(driver);
    return driver != nullptr;
  }

  const char* (*error_name_)(int) = nullptr;
  const char* (*error_text_)(int) = nullptr;
  std::string problem_;
};

/// Never unloaded: a runtime that has seen a device does not survive that.
const CudaRuntime& runtime() {
  static const CudaRuntime loaded;
  return loaded;
}

}  // namespace

void cuda_profiler_start() { runtime().call("cudaProfilerStart", &CudaRuntime::start); }

void cuda_profiler_stop() { runtime().call("cudaProfilerStop", &CudaRuntime::stop); }

}  // namespace vitrine
