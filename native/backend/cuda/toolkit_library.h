// Where the shared libraries of a CUDA toolkit may lie, and their functions: for what is loaded and never linked.
#pragma once

#include <dlfcn.h>

#include <cstdlib>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace vitrine::cuda {

/// Paths to try in turn: where the loader looks by itself, then `folders` (as "/lib64/") of each toolkit.
inline std::vector<std::string> toolkit_library_paths(std::span<const char* const> names,
                                                      std::initializer_list<const char*> folders) {
  std::vector<std::string> toolkits;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') toolkits.emplace_back(value);
  }
  for (const char* toolkit : {"/usr/local/cuda", "/usr/local/cuda-13", "/usr/local/cuda-12", "/opt/cuda"}) {
    toolkits.emplace_back(toolkit);
  }
  std::vector<std::string> paths(names.begin(), names.end());
  for (const std::string& toolkit : toolkits) {
    for (const char* folder : folders) {
      for (const char* name : names) paths.push_back(toolkit + folder + name);
    }
  }
  return paths;
}

/// A function of a loaded library; adds its name to the list in `missing` where there is none.
template <class Function>
void find_function(void* handle, const char* name, Function& function, std::string& missing) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  if (function == nullptr) missing += (missing.empty() ? "" : ", ") + std::string(name);
}

}  // namespace vitrine::cuda
