// What onednn_linear.so exports.
#pragma once

#include <cstdint>

namespace vitrine::bench {

struct OneDnnModule {
  void (*start)(int threads);
  /// Null where this CPU cannot. `bfloat16`: of x and w, else float32. m, n, k and copies are at least 1.
  void* (*create)(int64_t m, int64_t n, int64_t k, bool bfloat16, int64_t copies);
  void (*run)(void* product);
  void (*destroy)(void* product);
};

inline constexpr char kOneDnnModuleSymbol[] = "vitrine_onednn_module";

}  // namespace vitrine::bench
