// oneDNN's matrix product beside ours, where oneDNN is installed when the benches are built: the strongest CPU library
// we know of.
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
  /// Null for a dtype that oneDNN does not multiply on this CPU, and for an empty product. `copies` of the weight are
  /// used in turn.
  static std::unique_ptr<OneDnnLinear> create(int64_t m, int64_t n, int64_t k, DType dtype, int64_t copies);

  virtual ~OneDnnLinear() = default;
  virtual void run() = 0;
};

}  // namespace vitrine::bench
