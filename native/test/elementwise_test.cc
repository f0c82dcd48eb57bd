// Norms, rope, the KV store, activations, gathers: against the reference backend and row by row.
#include <cmath>
#include <limits>

#include "op_cases.h"
#include "op_test_support.h"
#include "reference_backend.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

std::unique_ptr<Weight> load_vector(Backend& backend, const std::vector<float>& values) {
  auto weight = backend.create_weight(WeightKind::kVector, static_cast<int64_t>(values.size()), 1, DType::kFloat32);
  backend.load_rows(*weight, 0, weight->rows(), values.data(), DType::kFloat32);
  return weight;
}

void check_close(const std::vector<float>& values, const std::vector<float>& expected, double tolerance, DType dtype,
                 const std::string& what) {
  const double excess = largest_excess(values, expected, rounding_of(dtype));
  CHECK_MESSAGE(excess <= tolerance, what + ": differs by " + shown(excess) + " more than rounding");
}

std::string label(const std::string& isa, int64_t rows, int64_t width) {
  return isa + " [" + std::to_string(rows) + ", " + std::to_string(width) + "]";
}

}  // namespace

OP_TEST("elementwise: rms_norm and add_rms_norm") {
  const auto reference = make_reference_backend();
  for_each_backend(2, [&](Backend& backend, const std::string& isa) {
    const DType dtype = backend.activation_dtype();
    for (const RowsCase& shape : rows_cases()) {
      const int64_t rows = shape.rows;
      const int64_t width = shape.cols;
      const auto gains = random_floats(width, 1);
      const auto gain = load_vector(backend, gains);
      const auto expected_gain = load_vector(*reference, gains);
      auto x = rounded(random_floats(rows * width, 2, 3.0f), dtype);
      auto delta = rounded(random_floats(rows * width, 3), dtype);
      std::vector<float> out(x.size(), NAN);
      std::vector<float> expected(x.size(), NAN);
      const auto t = [&](std::vector<float>& values) { return tensor_of(values, rows, width); };
      backend.rms_norm(t(x), *gain, 1e-5f, t(out));
      reference->rms_norm(t(x), *expected_gain, 1e-5f, t(expected));
      check_close(out, expected, 2e-6, dtype, "rms_norm " + label(isa, rows, width));
      auto residual = x;
      auto expected_residual = x;
      for (size_t i = 0; i < x.size(); ++i) expected_residual[i] = rounded(x[i] + delta[i], dtype);
      backend.add_rms_norm(t(residual), t(delta), *gain, 1e-5f, t(out));
      reference->rms_norm(t(expected_residual), *expected_gain, 1e-5f, t(expected));
      CHECK_MESSAGE(same_bits(residual, expected_residual), "add_rms_norm " + label(isa, rows, width));
      check_close(out, expected, 2e-6, dtype, "add_rms_norm " + label(isa, rows, width));
      for (int64_t row = 0; row < rows; ++row) {
        std::vector<float> alone(static_cast<size_t>(width));
        backend.rms_norm(t(residual).rows_from(row, 1), *gain, 1e-5f, tensor_of(alone, 1, width));
        CHECK_MESSAGE(same_bits(alone.data(), out.data() + row * width, width), label(isa, rows, width));
      }
    }
  });
}

OP_TEST("elementwise: rope with q and k norm, any head and rotary size") {
  const auto reference = make_reference_backend();
  for (const RopeCase& shape : rope_cases()) {
    const int64_t width = int64_t{shape.heads + 2 * shape.kv_heads} * shape.head_dim;
    constexpr int32_t kMaxPositions = 50;
    const auto angles = random_floats(kMaxPositions * std::max(shape.rotary_dim, 1), 4);
    const RopeTable rope{angles.data(), kMaxPositions, shape.rotary_dim};
    const auto gains = random_floats(2 * shape.head_dim, 5);
    const std::vector<float> q_gain(gains.begin(), gains.begin() + shape.head_dim);
    const std::vector<float> k_gain(gains.begin() + shape.head_dim, gains.end());
    const auto expected_q = load_vector(*reference, q_gain);
    const auto expected_k = load_vector(*reference, k_gain);
    const int64_t rows = shape.rows;
    std::vector<int32_t> positions, slots;
    for (int32_t t = 0; t < rows; ++t) positions.push_back(t * 7 % kMaxPositions), slots.push_back((t * 5 + 2) % 48);
    for_each_backend(2, [&](Backend& backend, const std::string& isa) {
      const DType dtype = backend.activation_dtype();
      for (const bool with_norm : {false, true}) {
        auto qkv = rounded(random_floats(rows * width, 6), dtype);
        auto expected = qkv;
        const auto q_norm = load_vector(backend, q_gain);
        const auto k_norm = load_vector(backend, k_gain);
        std::vector<float> cache(static_cast<size_t>(48 * shape.kv_heads * shape.head_dim));
        auto values = cache;
        const KvLayer layer{cache.data(), values.data(), DType::kFloat32, 12, 4, shape.kv_heads, shape.head_dim};
        backend.rope_and_store(tensor_of(qkv, rows, width), shape.heads, rope, with_norm ? q_norm.get() : nullptr,
                               with_norm ? k_norm.get() : nullptr, 1e-6f, positions.data(), slots.data(), layer);
        reference->rope_and_store(tensor_of(expected, rows, width), shape.heads, rope,
                                  with_norm ? expected_q.get() : nullptr, with_norm ? expected_k.get() : nullptr, 1e-6f,
                                  positions.data(), slots.data(), layer);
        check_close(qkv, expected, 2e-6, dtype, "rope " + label(isa, rows, width));
      }
    });
  }
}

OP_TEST("elementwise: V is stored with exact rounding, special values included") {
  std::vector<float> values = {0.0f,
                               -0.0f,
                               1.0f,
                               INFINITY,
                               -INFINITY,
                               65504.0f,
                               65519.9f,
                               65520.0f,
                               1e30f,
                               -1e30f,
                               6e-8f,
                               3e-8f,
                               2.9e-8f,
                               6.1e-5f,
                               1.00390625f,
                               1.01171875f,
                               3.3895313892515355e38f,
                               3.4e38f,
                               448.0f,
                               464.0f,
                               -470.0f,
                               0.0009765625f,
                               0.0009766f,
                               0.0078125f,
                               NAN};
  for (const float value : random_floats(3000, 7, 8.0f)) values.push_back(value);
  for (uint32_t bits = 0x38000000; bits < 0x39000000; bits += 1021) values.push_back(std::bit_cast<float>(bits));
  const auto count = static_cast<int32_t>(values.size());
  for_each_backend(1, [&](Backend& backend, const std::string& isa) {
    for (const DType dtype : kCacheDTypes) {
      std::vector<float> qkv(values.size() * 3, 1.0f);
      std::copy(values.begin(), values.end(), qkv.begin() + 2 * count);
      std::vector<uint32_t> k(values.size()), v(values.size());
      const int32_t zero = 0;
      const float no_rope = 0;
      const float scale = dtype == DType::kFloat8E4M3 ? 0.7f : 1.0f;
      backend.rope_and_store(tensor_of(qkv, 1, 3 * count), 1, {&no_rope, 1, 0}, nullptr, nullptr, 1e-5f, &zero, &zero,
                             {k.data(), v.data(), dtype, 1, 1, 1, count, 1.0f, scale});
      std::vector<float> scaled = rounded(values, backend.activation_dtype());
      for (float& value : scaled) value *= 1 / scale;
      const EncodedRows expected(scaled, dtype);
      for (size_t i = 0; i < scaled.size(); ++i) {
        if (std::isnan(scaled[i]) && dtype != DType::kFloat8E4M3) continue;  // others have many codes for it
        const size_t at = i * dtype_size(dtype);
        CHECK_MESSAGE(
            std::memcmp(reinterpret_cast<const char*>(v.data()) + at, expected.data() + at, dtype_size(dtype)) == 0,
            isa + " " + std::string(dtype_name(dtype)) + " " + shown(values[i]));
      }
    }
  });
}

OP_TEST("elementwise: vectors load from every dtype") {
  for_each_backend(1, [](Backend& backend, const std::string& isa) {
    for (const DType stored : kDTypes) {
      const auto values = exact_floats(37, 8);
      const EncodedRows encoded(values, stored);
      const auto gain = backend.create_weight(WeightKind::kVector, 37, 1, DType::kFloat32);
      backend.load_rows(*gain, 0, 30, encoded.data(), stored);
      backend.load_rows(*gain, 30, 7, encoded.data() + 30 * dtype_size(stored), stored);
      std::vector<float> ones(37, 1.0f);
      std::vector<float> out(37);
      backend.rms_norm(tensor_of(ones, 1, 37), *gain, 0.0f, tensor_of(out, 1, 37));
      check_close(out, values, 1e-6, backend.activation_dtype(), isa + " " + std::string(dtype_name(stored)));
    }
  });
}

OP_TEST("elementwise: gated activations") {
  const auto reference = make_reference_backend();
  for (const auto& entry : kActivations) {
    const Activation activation = entry.first;
    const std::string name = entry.second;
    for_each_backend(2, [&](Backend& backend, const std::string& isa) {
      const DType dtype = backend.activation_dtype();
      for (const auto& [rows, width] : rows_cases()) {
        auto gate_up = rounded(random_floats(2 * rows * width, 9, 6.0f), dtype);
        std::vector<float> out(static_cast<size_t>(rows * width), NAN);
        auto expected = out;
        backend.gated_activation(tensor_of(gate_up, rows, 2 * width), activation, tensor_of(out, rows, width));
        reference->gated_activation(tensor_of(gate_up, rows, 2 * width), activation, tensor_of(expected, rows, width));
        check_close(out, expected, 5e-6, dtype, name + " " + label(isa, rows, width));
      }
    });
  }
}

OP_TEST("elementwise: silu is within 1e-6 of x / (1 + e^-x) everywhere, and right at its ends") {
  for_each_backend(1, [](Backend& backend, const std::string& isa) {
    if (backend.activation_dtype() != DType::kFloat32) return;  // has not so many digits
    std::vector<float> x;
    for (float value = -87.0f; value < 90.0f; value += 0.0137f) x.push_back(value);
    for (const float value : {0.0f, 1e-30f, -1e-30f, 3e38f, INFINITY, -200.0f, -3e38f}) x.push_back(value);
    const auto count = static_cast<int64_t>(x.size());
    std::vector<float> gate_up = x;
    gate_up.resize(2 * x.size(), 1.0f);
    std::vector<float> out(x.size());
    backend.gated_activation(tensor_of(gate_up, 1, 2 * count), Activation::kSilu, tensor_of(out, 1, count));
    for (size_t i = 0; i < x.size(); ++i) {
      if (x[i] < -88) {
        CHECK_MESSAGE(std::abs(out[i]) < 1e-30, isa + " " + shown(x[i]) + " gave " + shown(out[i]));
        continue;
      }
      const double expected = double{x[i]} / (1 + std::exp(-double{x[i]}));
      if (std::isinf(expected)) {
        CHECK_EQ(out[i], x[i]);
      } else {
        CHECK_MESSAGE(std::abs(out[i] - expected) <= 1e-6 * std::abs(expected),
                      isa + " " + shown(x[i]) + " gave " + shown(out[i]));
      }
    }
    std::vector<float> nan = {NAN, 1.0f};
    backend.gated_activation(tensor_of(nan, 1, 2), Activation::kSilu, tensor_of(out, 1, 1));
    CHECK_MESSAGE(std::isnan(out[0]), isa);
  });
}

OP_TEST("elementwise: token ids and gathered rows") {
  for_each_backend(1, [](Backend& backend, const std::string&) {
    const int32_t ids[] = {5, -1, 0, -3};
    const int32_t last[] = {70, 71, 72};
    int32_t out[4];
    backend.resolve_token_ids(ids, last, 4, out);
    CHECK_EQ(out[0], 5);
    CHECK_EQ(out[1], 70);
    CHECK_EQ(out[2], 0);
    CHECK_EQ(out[3], 72);
    auto x = rounded(random_floats(6 * 5, 10), backend.activation_dtype());
    const int32_t rows[] = {4, 0, 4};
    std::vector<float> gathered(15);
    backend.gather_rows(tensor_of(x, 6, 5), rows, tensor_of(gathered, 3, 5));
    for (int i = 0; i < 3; ++i) CHECK(same_bits(gathered.data() + i * 5, x.data() + rows[i] * 5, 5));
    std::vector<float> copy(x.size());
    backend.download(tensor_of(x, 6, 5), copy.data());
    CHECK(same_bits(copy, x));
  });
}

TEST("elementwise: buffers are zeroed, small and large") {
  ThreadPool pool(1);
  const auto backend = make_cpu_backend(CpuIsa::kAvx2, pool);
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{100}, size_t{5} << 20}) {
    const auto buffer = backend->allocate(bytes);
    CHECK_EQ(buffer->bytes(), bytes);
    CHECK_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, uintptr_t{0});
    const char* data = static_cast<const char*>(buffer->data());
    CHECK(std::all_of(data, data + bytes, [](char byte) { return byte == 0; }));
  }
  CHECK_THROWS_WITH(backend->allocate(size_t{1} << 60), "cannot allocate");
}

}  // namespace vitrine::test
