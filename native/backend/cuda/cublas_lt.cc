// Finding and loading cublasLt. It is never unloaded.
#include "backend/cuda/cublas_lt.h"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

namespace vitrine::cuda::lt {
namespace {

constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};

std::vector<std::string> candidates() {
  std::vector<std::string> folders = {""};
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') folders.push_back(std::string(value) + "/lib64/");
  }
  for (const char* toolkit : {"/usr/local/cuda", "/usr/local/cuda-13", "/usr/local/cuda-12", "/opt/cuda"}) {
    folders.push_back(std::string(toolkit) + "/lib64/");
  }
  std::vector<std::string> paths;
  for (const std::string& folder : folders) {
    for (const char* name : kNames) paths.push_back(folder + name);
  }
  return paths;
}

template <class Function>
void find(void* handle, const char* name, Function& function, std::string& missing) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  if (function == nullptr) missing += (missing.empty() ? "" : ", ") + std::string(name);
}

Library load() {
  Library library;
  for (const std::string& path : candidates()) {
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) continue;
    std::string missing;
    find(handle, "cublasLtCreate", library.create, missing);
    find(handle, "cublasLtDestroy", library.destroy, missing);
    find(handle, "cublasLtGetVersion", library.version, missing);
    find(handle, "cublasLtMatmulDescCreate", library.desc_create, missing);
    find(handle, "cublasLtMatmulDescDestroy", library.desc_destroy, missing);
    find(handle, "cublasLtMatmulDescSetAttribute", library.desc_set, missing);
    find(handle, "cublasLtMatrixLayoutCreate", library.layout_create, missing);
    find(handle, "cublasLtMatrixLayoutDestroy", library.layout_destroy, missing);
    find(handle, "cublasLtMatmulPreferenceCreate", library.preference_create, missing);
    find(handle, "cublasLtMatmulPreferenceDestroy", library.preference_destroy, missing);
    find(handle, "cublasLtMatmulPreferenceSetAttribute", library.preference_set, missing);
    find(handle, "cublasLtMatmulAlgoGetHeuristic", library.heuristic, missing);
    find(handle, "cublasLtMatmul", library.matmul, missing);
    if (!missing.empty()) library.problem = path + " lacks " + missing;
    return library;
  }
  library.problem = "libcublasLt.so.13, .12 or libcublasLt.so is not on this machine";
  return library;
}

}  // namespace

const Library& library() {
  static const Library loaded = load();
  return loaded;
}

}  // namespace vitrine::cuda::lt
