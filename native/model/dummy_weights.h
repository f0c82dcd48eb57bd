// Weights without a checkpoint: normal numbers that depend on (seed, parameter name, element) alone, so that every run
// and every split over threads or ranks gives the same model.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/thread_pool.h"

namespace vitrine {

class DummyWeights {
 public:
  explicit DummyWeights(uint64_t seed);

  /// Elements [first, first + count) of the parameter: 1 for norm gains, N(0, 0.02) for all else.
  void fill(std::string_view parameter, int64_t first, int64_t count, ThreadPool& pool, float* out) const;

 private:
  uint64_t seed_;
  std::vector<float> quantiles_;  ///< of N(0, 0.02) at (i + 0.5) / 65536
};

}  // namespace vitrine
