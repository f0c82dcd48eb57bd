// Entry of native_tests: [--device cpu|cuda] [filter].
#include <cstdio>
#include <exception>
#include <string>

#include "test_device.h"
#include "test_framework.h"

int main(int argc, char** argv) {
  using namespace vitrine::test;
  std::string device = "cpu";
  std::string filter;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--device" && i + 1 < argc) {
      device = argv[++i];
    } else {
      filter = argv[i];
    }
  }
  if (device != "cpu" && device != "cuda") {
    std::fprintf(stderr, "--device: expected cpu or cuda, got %s\n", device.c_str());
    return 1;
  }
  if (device == "cuda") {
    try {
      cuda_under_test() = open_cuda_library();
    } catch (const std::exception& error) {
      std::printf("skipped: %s\n", error.what());
      return kSkippedExit;
    }
  }
  return run_tests(filter, device == "cuda");
}
