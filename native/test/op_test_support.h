// What the op tests share: deterministic data, encoded weights, bitwise comparison and a loop over instruction sets.
#pragma once

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "core/dtype.h"

namespace vitrine::test {

inline std::vector<float> random_floats(int64_t count, uint32_t seed, float scale = 1.0f) {
  std::mt19937 generator(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = scale * (static_cast<float>(generator() >> 8) * 0x1p-23f - 1.0f);
  return values;
}

/// Multiples of 1/32 in [-2, 2]: exact in every dtype.
inline std::vector<float> exact_floats(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(static_cast<int>(generator() % 129) - 64) / 32.0f;
  return values;
}

/// `values` as stored in `dtype`, at an odd address (data() + 1).
class EncodedRows {
 public:
  EncodedRows(const std::vector<float>& values, DType dtype) : bytes_(values.size() * dtype_size(dtype) + 1) {
    char* to = bytes_.data() + 1;
    for (const float value : values) {
      if (dtype == DType::kFloat32) {
        std::memcpy(to, &value, sizeof value);
      } else {
        const uint16_t word = dtype == DType::kFloat16 ? float_to_half(value) : float_to_bf16(value);
        std::memcpy(to, &word, sizeof word);
      }
      to += dtype_size(dtype);
    }
  }
  const char* data() const { return bytes_.data() + 1; }

 private:
  std::vector<char> bytes_;
};

inline Tensor tensor_of(std::vector<float>& values, int64_t rows, int64_t cols) {
  return {values.data(), DType::kFloat32, rows, cols};
}

inline bool same_bits(const float* a, const float* b, int64_t count) {
  return count == 0 || std::memcmp(a, b, static_cast<size_t>(count) * sizeof(float)) == 0;
}
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && same_bits(a.data(), b.data(), static_cast<int64_t>(a.size()));
}

/// Largest |a - b|; NaN wins.
inline double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double difference = std::abs(double{a[i]} - b[i]);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

/// body(backend, name, isa) for each instruction set this processor runs, with a pool of `threads`.
template <class Body>
void for_each_isa(int threads, Body body) {
  ThreadPool pool(threads);
  for (const CpuIsa isa : supported_cpu_isas()) {
    const auto backend = make_cpu_backend(isa, pool);
    body(*backend, std::string(cpu_isa_name(isa)), isa);
  }
}

}  // namespace vitrine::test
