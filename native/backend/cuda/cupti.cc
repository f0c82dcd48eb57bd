// Finding and loading CUPTI. It is never unloaded.
#include "backend/cuda/cupti.h"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

namespace vitrine::cuda::cupti {
namespace {

constexpr const char* kNames[] = {"libcupti.so.13", "libcupti.so.12", "libcupti.so"};

/// Nothing is looked for elsewhere when the environment names a file.
std::vector<std::string> candidates() {
  if (const char* named = std::getenv("VITRINE_CUPTI_LIBRARY"); named != nullptr && *named != '\0') return {named};
  std::vector<std::string> folders = {""};
  const auto add_toolkit = [&](const std::string& root) {
    for (const char* folder : {"/extras/CUPTI/lib64/", "/lib64/", "/targets/x86_64-linux/lib/", "/lib/"}) {
      folders.push_back(root + folder);
    }
  };
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') add_toolkit(value);
  }
  for (const char* toolkit : {"/usr/local/cuda", "/usr/local/cuda-13", "/usr/local/cuda-12", "/opt/cuda"}) {
    add_toolkit(toolkit);
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
  const std::vector<std::string> paths = candidates();
  for (const std::string& path : paths) {
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) continue;
    std::string missing;
    find(handle, "cuptiGetResultString", library.result_string, missing);
    find(handle, "cuptiActivityEnable", library.enable, missing);
    find(handle, "cuptiActivityDisable", library.disable, missing);
    find(handle, "cuptiActivityFlushAll", library.flush_all, missing);
    find(handle, "cuptiActivityGetNextRecord", library.next_record, missing);
    find(handle, "cuptiActivityGetNumDroppedRecords", library.dropped_records, missing);
    find(handle, "cuptiActivityRegisterCallbacks", library.register_buffers, missing);
    find(handle, "cuptiActivityRegisterTimestampCallback", library.register_clock, missing);
    find(handle, "cuptiGetTimestamp", library.timestamp, missing);
    find(handle, "cuptiSetThreadIdType", library.set_thread_ids, missing);
    find(handle, "cuptiGetCallbackName", library.function_name, missing);
    if (!missing.empty()) library.problem = path + " lacks " + missing + ": CUDA 12.4 or later is needed";
    return library;
  }
  library.problem = paths.size() == 1
                        ? paths[0] + ", which VITRINE_CUPTI_LIBRARY names, cannot be loaded"
                        : "libcupti.so.13, .12 or libcupti.so is not on this machine; it comes with the CUDA toolkit, "
                          "and VITRINE_CUPTI_LIBRARY may name it";
  return library;
}

}  // namespace

const Library& library() {
  static const Library loaded = load();
  return loaded;
}

}  // namespace vitrine::cuda::cupti
