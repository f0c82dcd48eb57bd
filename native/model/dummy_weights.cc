// Counter-based normal numbers: 64 hashed bits give four 16-bit indices into a table of quantiles.
#include "model/dummy_weights.h"

#include <algorithm>
#include <cmath>

namespace vitrine {
namespace {

constexpr double kStandardDeviation = 0.02;
constexpr int64_t kTableSize = 65536;
constexpr int64_t kPerHash = 4;
constexpr int64_t kTaskElements = 1 << 16;

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3ULL;
  return hash;
}

/// x with P(N(0, 1) < x) = p, by bisection: exact to the last bits, and there are only 32768 of them.
double normal_quantile(double p) {
  double low = -8;
  double high = 8;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle * M_SQRT1_2) / 2 < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace

DummyWeights::DummyWeights(uint64_t seed) : seed_(seed), quantiles_(kTableSize) {
  for (int64_t i = 0; i < kTableSize / 2; ++i) {
    const double quantile = normal_quantile((static_cast<double>(i) + 0.5) / kTableSize);
    quantiles_[static_cast<size_t>(i)] = static_cast<float>(kStandardDeviation * quantile);
    quantiles_[static_cast<size_t>(kTableSize - 1 - i)] = static_cast<float>(-kStandardDeviation * quantile);
  }
}

void DummyWeights::fill(std::string_view parameter, int64_t first, int64_t count, ThreadPool& pool, float* out) const {
  if (parameter.ends_with("norm")) {
    std::fill_n(out, count, 1.0f);
    return;
  }
  const uint64_t key = mix(seed_ + 0x9e3779b97f4a7c15ULL) ^ fnv1a(parameter);
  const auto element_bits = [key](int64_t group) {
    return mix(key + static_cast<uint64_t>(group) * 0x9e3779b97f4a7c15ULL);
  };
  pool.parallel_for((count + kTaskElements - 1) / kTaskElements, [&](int64_t task) {
    const int64_t end = first + std::min(count, (task + 1) * kTaskElements);
    int64_t i = first + task * kTaskElements;
    while (i < end) {
      const int64_t group = i / kPerHash;
      uint64_t bits = element_bits(group) >> (16 * (i % kPerHash));
      for (const int64_t stop = std::min(end, (group + 1) * kPerHash); i < stop; ++i, bits >>= 16) {
        out[i - first] = quantiles_[bits & 0xffff];
      }
    }
  });
}

}  // namespace vitrine
