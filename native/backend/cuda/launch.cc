// Whether launches overlap.
#include "backend/cuda/launch.h"

#include <cstdlib>
#include <string_view>

namespace vitrine::cuda {
namespace {

bool overlap_wanted() {
  const char* const value = std::getenv("VITRINE_CUDA_PDL");
  const std::string_view wanted = value == nullptr ? "" : value;
  require(wanted.empty() || wanted == "auto" || wanted == "off", "VITRINE_CUDA_PDL: expected auto or off, got ",
          wanted);
  return wanted != "off";
}

bool device_overlaps(int device) {
  constexpr int kLeastMajor = 9;
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  return major >= kLeastMajor;
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
  if (device != known.device) known = {device, wanted && device_overlaps(device)};
  return known.overlaps;
}

}  // namespace vitrine::cuda
