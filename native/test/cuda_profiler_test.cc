// What is said where CUDA's profiler calls cannot work. Each machine shows one of the cases.
#include "profiler/cuda_profiler.h"

#include <dlfcn.h>

#include <string>

#include "test_framework.h"

namespace vitrine::test {
namespace {

bool can_load(const char* library) {
  void* handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
  if (handle != nullptr) dlclose(handle);
  return handle != nullptr;
}

std::string message_of(void (*call)()) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST("cuda_profiler: without a driver or a runtime the error says which") {
  const std::string start = message_of(cuda_profiler_start);
  const std::string stop = message_of(cuda_profiler_stop);
  if (can_load("libcuda.so.1")) {
    // A driver: it works where it has a device, and every other answer is CUDA's own.
    CHECK(start.empty() || start.starts_with("cudaProfilerStart: cudaError"));
    CHECK(stop.empty() || stop.starts_with("cudaProfilerStop: cudaError"));
    return;
  }
  CHECK(start.starts_with("cudaProfilerStart: "));
  CHECK(stop.starts_with("cudaProfilerStop: "));
  for (const std::string& message : {start, stop}) {
    const bool no_driver = message.find("cudaErrorInsufficientDriver (35): ") != std::string::npos &&
                           message.find("no NVIDIA driver") != std::string::npos;
    const bool no_runtime = message.find("no CUDA runtime library was found") != std::string::npos;
    CHECK_MESSAGE(no_driver || no_runtime, message);
    if (can_load("libcudart.so.13") || can_load("libcudart.so.12")) CHECK_MESSAGE(no_driver, message);
  }
}

}  // namespace vitrine::test
