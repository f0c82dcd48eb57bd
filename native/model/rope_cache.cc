// Rotary embedding tables, dynamic NTK included.
#include "model/rope_cache.h"

#include <cmath>
#include <vector>

namespace vitrine {
namespace {

/// Inverse frequencies of a position beyond the original context: theta grows with it (see RopeSpec.dynamicNtk).
void dynamic_inv_freq(const DynamicNtk& ntk, int32_t rotary_dim, int64_t position, std::vector<float>& inv_freq) {
  const double growth = ntk.factor * static_cast<double>(position + 1) / ntk.original_max_positions - (ntk.factor - 1);
  const double exponent = static_cast<double>(rotary_dim) / (rotary_dim - 2);
  const auto base = static_cast<float>(ntk.theta * std::pow(growth, exponent));
  for (size_t i = 0; i < inv_freq.size(); ++i) {
    inv_freq[i] = 1.0f / std::pow(base, static_cast<float>(2 * i) / static_cast<float>(rotary_dim));
  }
}

}  // namespace

RopeCache::RopeCache(const RopeSpec& spec, int32_t max_positions, Backend& backend, ThreadPool& pool) {
  constexpr int64_t kPositionsPerTask = 256;
  const auto half = static_cast<size_t>(spec.rotary_dim / 2);
  std::vector<float> table(2 * half * static_cast<size_t>(max_positions));
  pool.parallel_for((max_positions + kPositionsPerTask - 1) / kPositionsPerTask, [&](int64_t task) {
    std::vector<float> inv_freq = spec.inv_freq;
    const int64_t end = std::min<int64_t>(max_positions, (task + 1) * kPositionsPerTask);
    for (int64_t position = task * kPositionsPerTask; position < end; ++position) {
      if (spec.dynamic_ntk && static_cast<double>(position) >= spec.dynamic_ntk->original_max_positions) {
        dynamic_inv_freq(*spec.dynamic_ntk, spec.rotary_dim, position, inv_freq);
      }
      float* row = table.data() + static_cast<size_t>(position) * 2 * half;
      for (size_t i = 0; i < half; ++i) {
        const float angle = inv_freq[i] * static_cast<float>(position);
        row[i] = std::cos(angle) * spec.attention_factor;
        row[half + i] = std::sin(angle) * spec.attention_factor;
      }
    }
  });
  buffer_ = backend.allocate(table.size() * sizeof(float));
  backend.write(buffer_->data(), table.data(), table.size() * sizeof(float));
  backend.synchronize();
  table_ = {static_cast<const float*>(buffer_->data()), max_positions, spec.rotary_dim};
}

}  // namespace vitrine
