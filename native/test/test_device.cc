// Where the CUDA library is.
#include "test_device.h"

#include <cstdlib>
#include <filesystem>

namespace vitrine::test {

CudaLibrary open_cuda_library() {
  const char* named = std::getenv("VITRINE_CUDA_LIBRARY");
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  const std::string beside = program.parent_path().parent_path() / "cuda" / "libvitrine_cuda.so";
  CudaLibrary library(named != nullptr && *named != '\0' ? named : beside);
  library.devices();
  return library;
}

std::optional<CudaLibrary>& cuda_under_test() {
  static std::optional<CudaLibrary> library;
  return library;
}

}  // namespace vitrine::test
