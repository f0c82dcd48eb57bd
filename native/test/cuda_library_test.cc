// Loading the CUDA library: what is refused, and what the built one says where it is.
#include <dlfcn.h>

#include <exception>
#include <filesystem>

#include "backend/cuda_adapter/cuda_backend.h"
#include "core/check.h"
#include "test_device.h"
#include "test_framework.h"

namespace vitrine::test {

TEST("cuda library: a missing file, a file that is no library and another library are refused") {
  CHECK_THROWS_WITH(CudaLibrary("/nowhere/libvitrine_cuda.so"), "/nowhere/libvitrine_cuda.so does not exist");
  CHECK_THROWS_WITH(CudaLibrary("/proc/self/cmdline"), "the CUDA library /proc/self/cmdline cannot be loaded");
  Dl_info standard_library;
  CHECK(dladdr(reinterpret_cast<const void*>(&std::terminate), &standard_library) != 0);
  CHECK_THROWS_WITH(CudaLibrary(standard_library.dli_fname), "it has no function vitrine_cuda_api");
}

TEST("cuda library: the built one finds a GPU or says why not, and a context is refused for the same reason") {
  const char* driver = "/proc/driver/nvidia/version";
  const auto built =
      std::filesystem::path(std::filesystem::read_symlink("/proc/self/exe")).parent_path().parent_path() / "cuda" /
      "libvitrine_cuda.so";
  if (!std::filesystem::exists(built)) SKIP(built.string() + " is not built");
  if (std::filesystem::exists(driver)) SKIP("this machine has an NVIDIA driver; --device cuda tests a real GPU");
  const CudaLibrary library(built);
  CHECK_THROWS_WITH(library.devices(), "this machine has no NVIDIA driver");
  CHECK_THROWS_WITH(make_cuda_backend(library, 0, DType::kFloat32), "this machine has no NVIDIA driver");
}

}  // namespace vitrine::test
