// oneDNN's matrix product beside ours, where oneDNN is installed: the strongest CPU library we know of. It is reached
// through onednn_linear.so beside the program, so that the program runs where oneDNN is not.
#pragma once

#include <cstdint>
#include <memory>

#include "core/dtype.h"

namespace vitrine::bench {

/// out [m, n] = x [m, k] * w^T, with w in oneDNN's packed layout; x and w in `dtype`, sums in float32.
class OneDnnLinear {
 public:
  /// Starts its threads: before the calling thread is pinned, for they inherit where it may run.
  static void start(int threads);
  /// Null without oneDNN, for a dtype that it does not multiply on this CPU, and for an empty product. `copies` of the
  /// weight are used in turn.
  static std::unique_ptr<OneDnnLinear> create(int64_t m, int64_t n, int64_t k, DType dtype, int64_t copies);

  ~OneDnnLinear();
  void run();

 private:
  explicit OneDnnLinear(void* product) : product_(product) {}
  void* product_;
};

}  // namespace vitrine::bench
