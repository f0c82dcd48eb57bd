// Whether launches overlap.
#include "backend/cuda/launch.h"

#include <cstdlib>
#include <string_view>

#include "backend/cuda/stream_order.cuh"

namespace vitrine::cuda {
namespace {

bool overlap_wanted() {
  const char* const value = std::getenv("VITRINE_CUDA_PDL");
  const std::string_view wanted = value == nullptr ? "" : value;
  require(wanted.empty() || wanted == "auto" || wanted == "off", "VITRINE_CUDA_PDL: expected auto or off, got ",
          wanted);
  return wanted != "off";
}

/// Never launched: its attributes say for which architecture the code was compiled that the current device runs. A
/// newer device than the library was built for may run code that was compiled for one that knows no waiting.
__global__ void probe_kernel() { wait_for_earlier_kernels(); }

bool code_waits() {
  constexpr int kLeastArchitecture = 90;
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, probe_kernel), "cudaFuncGetAttributes");
  return attributes.ptxVersion >= kLeastArchitecture && attributes.binaryVersion >= kLeastArchitecture;
}

}  // namespace

bool launches_overlap() {
  struct Known {
    int device = -1;
    bool overlaps = false;
  };
  static const bool wanted = overlap_wanted();
  thread_local Known known;
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  if (device != known.device) known = {device, wanted && code_waits()};
  return known.overlaps;
}

}  // namespace vitrine::cuda
