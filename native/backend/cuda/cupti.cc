// Finding and loading CUPTI. It is never unloaded.
#include "backend/cuda/cupti.h"

#include "backend/cuda/toolkit_library.h"

namespace vitrine::cuda::cupti {
namespace {

constexpr const char* kNames[] = {"libcupti.so.13", "libcupti.so.12", "libcupti.so"};

/// Nothing is looked for elsewhere when the environment names a file.
std::vector<std::string> candidates() {
  if (const char* named = std::getenv("VITRINE_CUPTI_LIBRARY"); named != nullptr && *named != '\0') return {named};
  return toolkit_library_paths(kNames, {"/extras/CUPTI/lib64/", "/lib64/", "/targets/x86_64-linux/lib/", "/lib/"});
}

Library load() {
  Library library;
  const std::vector<std::string> paths = candidates();
  for (const std::string& path : paths) {
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) continue;
    std::string missing;
    find_function(handle, "cuptiGetResultString", library.result_string, missing);
    find_function(handle, "cuptiActivityEnable", library.enable, missing);
    find_function(handle, "cuptiActivityDisable", library.disable, missing);
    find_function(handle, "cuptiActivityFlushAll", library.flush_all, missing);
    find_function(handle, "cuptiActivityGetNextRecord", library.next_record, missing);
    find_function(handle, "cuptiActivityGetNumDroppedRecords", library.dropped_records, missing);
    find_function(handle, "cuptiActivityRegisterCallbacks", library.register_buffers, missing);
    find_function(handle, "cuptiActivityRegisterTimestampCallback", library.register_clock, missing);
    find_function(handle, "cuptiGetTimestamp", library.timestamp, missing);
    find_function(handle, "cuptiSetThreadIdType", library.set_thread_ids, missing);
    find_function(handle, "cuptiGetCallbackName", library.function_name, missing);
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
