// Finding and loading cublasLt. It is never unloaded.
#include "backend/cuda/cublas_lt.h"

#include "backend/cuda/toolkit_library.h"

namespace vitrine::cuda::lt {
namespace {

constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};

Library load() {
  Library library;
  for (const std::string& path : toolkit_library_paths(kNames, {"/lib64/"})) {
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) continue;
    std::string missing;
    find_function(handle, "cublasLtCreate", library.create, missing);
    find_function(handle, "cublasLtDestroy", library.destroy, missing);
    find_function(handle, "cublasLtGetVersion", library.version, missing);
    find_function(handle, "cublasLtMatmulDescCreate", library.desc_create, missing);
    find_function(handle, "cublasLtMatmulDescDestroy", library.desc_destroy, missing);
    find_function(handle, "cublasLtMatmulDescSetAttribute", library.desc_set, missing);
    find_function(handle, "cublasLtMatrixLayoutCreate", library.layout_create, missing);
    find_function(handle, "cublasLtMatrixLayoutDestroy", library.layout_destroy, missing);
    find_function(handle, "cublasLtMatmulPreferenceCreate", library.preference_create, missing);
    find_function(handle, "cublasLtMatmulPreferenceDestroy", library.preference_destroy, missing);
    find_function(handle, "cublasLtMatmulPreferenceSetAttribute", library.preference_set, missing);
    find_function(handle, "cublasLtMatmulAlgoGetHeuristic", library.heuristic, missing);
    find_function(handle, "cublasLtMatmul", library.matmul, missing);
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
