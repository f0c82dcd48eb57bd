// What the op tests share: deterministic data, encoded weights, comparison, loops over instruction sets and backends.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda_adapter/cuda_backend.h"
#include "core/dtype.h"
#include "core/float8_rows.h"
#include "staged_backend.h"
#include "test_device.h"

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
      } else if (dtype == DType::kFloat8E4M3) {
        *to = static_cast<char>(float_to_e4m3(value));
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

/// A row as core/float8_rows.h says that it is quantized.
struct Float8Row {
  std::vector<uint8_t> codes;
  float scale = 0;

  Float8Row() = default;
  Float8Row(const float* x, int64_t n) : codes(static_cast<size_t>(n)) {
    float largest = kFloat8LeastMagnitude;
    for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));
    scale = largest / kFloat8Largest;
    for (int64_t i = 0; i < n; ++i) codes[static_cast<size_t>(i)] = float_to_e4m3(x[i] / scale);
  }
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

/// sampled[i] = the token of row rows[i] with params[i], at once.
inline void sample_now(Backend& backend, const Tensor& logits, std::span<const int32_t> rows,
                       std::span<const SampleParams> params, int32_t* sampled) {
  std::vector<SampleRequest> requests;
  for (size_t i = 0; i < rows.size(); ++i) requests.push_back({rows[i], params[i], sampled + i, nullptr});
  backend.plan_sampling(requests, {});
  backend.sample(logits, 0, requests.size());
  backend.synchronize();
}

inline void logprobs_now(Backend& backend, const Tensor& logits, std::span<const LogprobRequest> requests) {
  backend.plan_sampling({}, requests);
  backend.logprobs(logits, 0, requests.size());
  backend.synchronize();
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

/// What one rounding to `dtype` may change, relative to the number; 0 for float32.
inline double rounding_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return 0;
    case DType::kFloat16: return 0x1p-11;
    case DType::kBFloat16: return 0x1p-8;
    case DType::kFloat8E4M3: return 0x1p-4;
  }
  return INFINITY;
}

inline float rounded(float value, DType dtype) {
  if (dtype == DType::kFloat32) return value;
  return dtype == DType::kFloat16 ? half_to_float(float_to_half(value)) : bf16_to_float(float_to_bf16(value));
}
inline std::vector<float> rounded(std::vector<float> values, DType dtype) {
  for (float& value : values) value = rounded(value, dtype);
  return values;
}

/// Largest excess of |value - expected| over relative * |expected|; NaN wins.
inline double largest_excess(const std::vector<float>& values, const std::vector<float>& expected, double relative) {
  double largest = values.size() == expected.size() ? 0 : INFINITY;
  for (size_t i = 0; i < values.size() && i < expected.size(); ++i) {
    const double excess = std::abs(double{values[i]} - expected[i]) - relative * std::abs(expected[i]);
    if (!(excess <= largest)) largest = excess;
  }
  return largest;
}

/// body(backend, name) for each backend of the device under test: every instruction set of the CPU, or a GPU with every
/// dtype of activations. Tensors are float32 in host memory; numbers that are none of activation_dtype() are rounded.
template <class Body>
void for_each_backend(int threads, Body body) {
  if (!cuda_under_test()) {
    for_each_isa(threads, [&](Backend& backend, const std::string& name, CpuIsa) { body(backend, name); });
    return;
  }
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    const auto device = make_cuda_backend(*cuda_under_test(), 0, dtype);
    const auto staged = make_staged_backend(*device);
    body(*staged, "cuda " + std::string(dtype_name(dtype)));
  }
}

/// Dtypes of weights that go with a backend: a GPU's are those of its activations.
inline std::vector<DType> dtypes_of(const Backend& backend) {
  if (cuda_under_test()) return {backend.activation_dtype()};
  return {DType::kFloat32, DType::kFloat16, DType::kBFloat16};
}

/// Dtypes of caches.
inline std::vector<DType> cache_dtypes_of(const Backend& backend) {
  std::vector<DType> dtypes = dtypes_of(backend);
  dtypes.push_back(DType::kFloat8E4M3);
  return dtypes;
}

/// Kernels that multiply pairs of bfloat16 round what they multiply with a bfloat16 weight.
inline bool rounds_x(const Backend& backend, DType dtype) {
  const auto isa = parse_cpu_isa(backend.name());
  return dtype == DType::kBFloat16 && isa.has_value() && has_bf16_products(*isa);
}

}  // namespace vitrine::test
