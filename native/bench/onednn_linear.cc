#include "bench/onednn_linear.h"

#include <dlfcn.h>

#include <filesystem>

#include "bench/onednn_module.h"

namespace vitrine::bench {
namespace {

/// Null where it was not built, or oneDNN is not there to be loaded.
const OneDnnModule* module() {
  static const OneDnnModule* const found = [] {
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
    void* const library = dlopen((program.parent_path() / "onednn_linear.so").c_str(), RTLD_NOW | RTLD_LOCAL);
    return library == nullptr ? nullptr : static_cast<const OneDnnModule*>(dlsym(library, kOneDnnModuleSymbol));
  }();
  return found;
}

}  // namespace

void OneDnnLinear::start(int threads) {
  if (module() != nullptr) module()->start(threads);
}

std::unique_ptr<OneDnnLinear> OneDnnLinear::create(int64_t m, int64_t n, int64_t k, DType dtype, int64_t copies) {
  if (module() == nullptr || dtype == DType::kFloat16 || m == 0 || n == 0 || k == 0) return nullptr;
  void* const product = module()->create(m, n, k, dtype == DType::kBFloat16, copies);
  return product == nullptr ? nullptr : std::unique_ptr<OneDnnLinear>(new OneDnnLinear(product));
}

OneDnnLinear::~OneDnnLinear() { module()->destroy(product_); }

void OneDnnLinear::run() { module()->run(product_); }

}  // namespace vitrine::bench
