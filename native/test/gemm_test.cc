// Weights in every dtype, loaded in pieces, times x: against sums in double, and bit for bit against any other batch.
#include <cmath>

#include "op_cases.h"
#include "op_test_support.h"
#include "reference_backend.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

/// A matrix of `values` [n, k] loaded in three pieces of different stored dtypes; the boundaries are not at panels.
std::unique_ptr<Weight> load_matrix(Backend& backend, const std::vector<float>& values, int64_t n, int64_t k,
                                    DType dtype) {
  auto weight = backend.create_weight(WeightKind::kMatrix, n, k, dtype);
  const int64_t cuts[] = {0, n / 3, n - n / 4, n};
  for (int piece = 0; piece < 3; ++piece) {
    const std::vector<float> rows(values.begin() + cuts[piece] * k, values.begin() + cuts[piece + 1] * k);
    // float32 holds every value of the other two, so the stored dtype changes nothing
    const DType stored = piece == 1 && dtype != DType::kFloat8E4M3 ? dtype : DType::kFloat32;
    const EncodedRows encoded(rows, stored);
    backend.load_rows(*weight, cuts[piece], cuts[piece + 1] - cuts[piece], encoded.data(), stored);
  }
  return weight;
}

std::unique_ptr<Weight> load_vector(Backend& backend, const std::vector<float>& values) {
  auto weight = backend.create_weight(WeightKind::kVector, static_cast<int64_t>(values.size()), 1, DType::kFloat32);
  backend.load_rows(*weight, 0, weight->rows(), values.data(), DType::kFloat32);
  return weight;
}

std::vector<float> multiply(Backend& backend, const Weight& weight, const Weight* bias, std::vector<float> x,
                            int64_t m) {
  std::vector<float> out(static_cast<size_t>(m * weight.rows()), NAN);
  backend.linear(weight, bias, tensor_of(x, m, weight.cols()), tensor_of(out, m, weight.rows()));
  return out;
}

std::string label(const std::string& isa, DType dtype, const GemmCase& shape) {
  return isa + " " + std::string(dtype_name(dtype)) + " m" + std::to_string(shape.m) + " n" + std::to_string(shape.n) +
         " k" + std::to_string(shape.k);
}

void compare_with_double(Backend& backend, const std::string& name, DType dtype, const GemmCase& shape) {
  const auto values = random_floats(shape.n * shape.k, 1);
  const auto x = rounded(random_floats(shape.m * shape.k, 2),
                         rounds_x(backend, dtype) ? DType::kBFloat16 : backend.activation_dtype());
  const auto bias = random_floats(shape.n, 3);
  const auto weight = load_matrix(backend, values, shape.n, shape.k, dtype);
  const auto bias_weight = load_vector(backend, bias);
  const bool with_bias = shape.m % 2 == 0;
  const auto out = multiply(backend, *weight, with_bias ? bias_weight.get() : nullptr, x, shape.m);
  double worst = 0;  // error over its bound
  for (int64_t i = 0; i < shape.m; ++i) {
    for (int64_t j = 0; j < shape.n; ++j) {
      double sum = 0;
      double magnitude = 0;
      for (int64_t k = 0; k < shape.k; ++k) {
        const float a = x[static_cast<size_t>(i * shape.k + k)];
        const double product = double{a} * rounded(values[static_cast<size_t>(j * shape.k + k)], dtype);
        sum += product;
        magnitude += std::abs(product);
      }
      if (with_bias) sum += bias[static_cast<size_t>(j)];
      // A bias of 16 bits has a rounding of its own.
      const double out_rounding = rounding_of(backend.activation_dtype()) *
                                  (std::abs(sum) + (with_bias ? std::abs(bias[static_cast<size_t>(j)]) : 0));
      const double bound =
          6e-8 * ((4 + static_cast<double>(shape.k) / 8) * magnitude + std::abs(sum)) + out_rounding + 1e-30;
      const double error = std::abs(out[static_cast<size_t>(i * shape.n + j)] - sum) / bound;
      if (!(error <= worst)) worst = error;
    }
  }
  CHECK_MESSAGE(worst <= 1, name + ": error is " + shown(worst) + " times its bound");
}

/// Rows of a float8 weight: those before `own` are quantized by the backend, the others come with scales of their own.
struct Float8Matrix {
  std::vector<Float8Row> rows;
  std::unique_ptr<Weight> weight;

  Float8Matrix(Backend& backend, int64_t n, int64_t k, int64_t own)
      : rows(static_cast<size_t>(n)), weight(backend.create_weight(WeightKind::kMatrix, n, k, DType::kFloat8E4M3)) {
    const auto values = random_floats(n * k, 1);
    const EncodedRows encoded(values, DType::kFloat32);
    backend.load_rows(*weight, 0, own, encoded.data(), DType::kFloat32);
    std::vector<uint8_t> codes(1);  // at an odd address
    std::vector<float> scales;
    for (int64_t row = 0; row < n; ++row) {
      Float8Row& quantized = rows[static_cast<size_t>(row)];
      quantized = Float8Row(values.data() + row * k, k);
      if (row < own) continue;
      quantized.scale = 0.01f * static_cast<float>(1 + row % 7);
      codes.insert(codes.end(), quantized.codes.begin(), quantized.codes.end());
      scales.push_back(quantized.scale);
    }
    const int64_t half = (n - own) / 2;
    backend.load_quantized_rows(*weight, own, half, codes.data() + 1, scales.data());
    backend.load_quantized_rows(*weight, own + half, n - own - half, codes.data() + 1 + half * k, scales.data() + half);
  }
};

void compare_float8_with_double(Backend& backend, const std::string& name, const GemmCase& shape) {
  const Float8Matrix matrix(backend, shape.n, shape.k, shape.n / 3);
  const auto x = rounded(random_floats(shape.m * shape.k, 2), backend.activation_dtype());
  const auto bias = random_floats(shape.n, 3);
  const auto bias_weight = load_vector(backend, bias);
  const bool with_bias = shape.m % 2 == 0;
  const auto out = multiply(backend, *matrix.weight, with_bias ? bias_weight.get() : nullptr, x, shape.m);
  // Tensor cores of some GPUs keep some 13 bits below the largest product of each step of 32.
  const double hardware = cuda_under_test() ? 0x1p-13 * (1 + static_cast<double>(shape.k) / 32) : 0;
  double worst = 0;  // error over its bound
  for (int64_t i = 0; i < shape.m; ++i) {
    const Float8Row token(x.data() + i * shape.k, shape.k);
    for (int64_t j = 0; j < shape.n; ++j) {
      const Float8Row& row = matrix.rows[static_cast<size_t>(j)];
      double sum = 0;
      double magnitude = 0;
      for (size_t k = 0; k < row.codes.size(); ++k) {
        const double product = double{e4m3_to_float(token.codes[k])} * e4m3_to_float(row.codes[k]);
        sum += product;
        magnitude += std::abs(product);
      }
      const double factor = double{token.scale} * row.scale;
      const double added = with_bias ? bias[static_cast<size_t>(j)] : 0;
      const double expected = sum * factor + added;
      const double bound = (6e-8 * (4 + static_cast<double>(shape.k) / 8) + hardware) * magnitude * factor +
                           2e-7 * (std::abs(sum * factor) + std::abs(expected)) +
                           rounding_of(backend.activation_dtype()) * (std::abs(expected) + std::abs(added)) + 1e-30;
      const double error = std::abs(out[static_cast<size_t>(i * shape.n + j)] - expected) / bound;
      if (!(error <= worst)) worst = error;
    }
  }
  CHECK_MESSAGE(worst <= 1, name + ": error is " + shown(worst) + " times its bound");
}

}  // namespace

OP_TEST("gemm: float8 weights, quantized by the backend or with their scales, against sums in double") {
  for_each_backend(2, [](Backend& backend, const std::string& isa) {
    for (const GemmCase& shape : gemm_cases()) {
      compare_float8_with_double(backend, label(isa, DType::kFloat8E4M3, shape), shape);
    }
  });
}

TEST("gemm: a float8 weight takes a byte an element and a scale a row, and refuses what is not for it") {
  for_each_isa(1, [](Backend& backend, const std::string&, CpuIsa) {
    Float8Matrix matrix(backend, 64, 48, 20);
    CHECK_EQ(matrix.weight->bytes(), size_t{64 * 48 + 64 * 4});
    std::vector<float> scales(64, 1.0f);
    const std::vector<uint8_t> codes(64 * 48);
    CHECK_THROWS_WITH(backend.load_rows(*matrix.weight, 0, 1, codes.data(), DType::kFloat8E4M3), "with their scales");
    CHECK_THROWS_WITH(backend.load_quantized_rows(*matrix.weight, 60, 5, codes.data(), scales.data()),
                      "rows 60 to 65 are not within");
    const auto plain = load_matrix(backend, random_floats(12, 1), 4, 3, DType::kFloat32);
    CHECK_THROWS_WITH(backend.load_quantized_rows(*plain, 0, 1, codes.data(), scales.data()), "float8 weights");
    const int32_t id = 0;
    CHECK_THROWS_WITH(backend.embed(*matrix.weight, &id, tensor_of(scales, 1, 48)), "cannot be float8");
  });
}

OP_TEST("gemm: every case, dtype and backend against sums in double") {
  for_each_backend(2, [](Backend& backend, const std::string& isa) {
    for (const DType dtype : dtypes_of(backend)) {
      for (const GemmCase& shape : gemm_cases()) {
        compare_with_double(backend, label(isa, dtype, shape), dtype, shape);
      }
    }
  });
}

TEST("gemm: a row has the same bits alone, in any batch and at any thread count") {
  // Large enough that rows, columns and chunks of x are all split.
  for (const GemmCase& shape : {GemmCase{70, 1100, 515}, {331, 96, 4097}, {45, 2048, 130}}) {
    const auto values = random_floats(shape.n * shape.k, 4);
    const auto x = random_floats(shape.m * shape.k, 5);
    for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat8E4M3}) {
      std::vector<std::vector<float>> whole;  // by instruction set
      for (const int threads : {1, 2, 3}) {
        size_t which = 0;
        for_each_isa(threads, [&](Backend& backend, const std::string& isa, CpuIsa) {
          const auto weight = load_matrix(backend, values, shape.n, shape.k, dtype);
          const auto out = multiply(backend, *weight, nullptr, x, shape.m);
          if (threads == 1) whole.push_back(out);
          const std::vector<float>& expected = whole[which++];
          CHECK_MESSAGE(same_bits(out, expected), label(isa, dtype, shape) + ", threads " + std::to_string(threads));
          for (const int64_t rows : {1, 2, 5, 8, 14, 30, 56}) {
            for (int64_t first = 0; first < shape.m; first += threads == 1 ? rows : 4 * rows) {
              const int64_t count = std::min(rows, shape.m - first);
              const std::vector<float> part(x.begin() + first * shape.k, x.begin() + (first + count) * shape.k);
              const auto alone = multiply(backend, *weight, nullptr, part, count);
              CHECK_MESSAGE(
                  same_bits(alone.data(), expected.data() + first * shape.n, count * shape.n),
                  label(isa, dtype, shape) + ", rows from " + std::to_string(first) + " by " + std::to_string(rows));
            }
          }
        });
      }
    }
  }
}

TEST("gemm: tiles add 32 inputs at a time, the even and the odd ones apart") {
  for_each_isa(1, [](Backend& backend, const std::string& isa, CpuIsa which) {
    if (which != CpuIsa::kAmxBf16) return;
    const GemmCase shape{40, 40, 1100};  // three blocks and five stretches: sums wait in memory
    const auto values = rounded(random_floats(shape.n * shape.k, 9), DType::kBFloat16);
    const auto x = rounded(random_floats(shape.m * shape.k, 10), DType::kBFloat16);
    const auto weight = load_matrix(backend, values, shape.n, shape.k, DType::kBFloat16);
    std::vector<float> expected;
    for (int64_t i = 0; i < shape.m; ++i) {
      for (int64_t j = 0; j < shape.n; ++j) {
        float sum = 0;
        for (int64_t first = 0; first < shape.k; first += 32) {
          float parts[2] = {};
          for (int64_t k = first; k < std::min(first + 32, shape.k); ++k) {
            parts[k % 2] = std::fma(x[static_cast<size_t>(i * shape.k + k)],
                                    values[static_cast<size_t>(j * shape.k + k)], parts[k % 2]);
          }
          sum += parts[0] + parts[1];
        }
        expected.push_back(sum);
      }
    }
    CHECK_MESSAGE(same_bits(multiply(backend, *weight, nullptr, x, shape.m), expected), isa);
  });
}

OP_TEST("gemm: infinity and NaN in one row stay there") {
  for_each_backend(1, [](Backend& backend, const std::string& isa) {
    std::vector<DType> dtypes = dtypes_of(backend);
    dtypes.push_back(DType::kFloat8E4M3);
    for (const DType dtype : dtypes) {
      const auto weight = load_matrix(backend, random_floats(40 * 9, 6), 40, 9, dtype);
      auto x = random_floats(3 * 9, 7);
      const auto clean = multiply(backend, *weight, nullptr, x, 3);
      x[9 + 4] = INFINITY;
      x[9 + 5] = NAN;
      const auto dirty = multiply(backend, *weight, nullptr, x, 3);
      for (int j = 0; j < 40; ++j) {
        CHECK_MESSAGE(same_bits(&dirty[static_cast<size_t>(j)], &clean[static_cast<size_t>(j)], 1), isa);
        CHECK_MESSAGE(std::isnan(dirty[static_cast<size_t>(40 + j)]), isa);
        CHECK_MESSAGE(same_bits(&dirty[static_cast<size_t>(80 + j)], &clean[static_cast<size_t>(80 + j)], 1), isa);
      }
    }
  });
}

OP_TEST("gemm: rows of a packed matrix come back exactly (tied embeddings)") {
  for_each_backend(2, [](Backend& backend, const std::string& isa) {
    for (const DType dtype : dtypes_of(backend)) {
      for (const int64_t cols : {1, 7, 64, 129, 300}) {
        const int64_t rows = 75;
        const auto values = random_floats(rows * cols, 8);
        const auto weight = load_matrix(backend, values, rows, cols, dtype);
        CHECK_EQ(weight->rows(), rows);
        CHECK_EQ(weight->cols(), cols);
        std::vector<int32_t> ids;
        for (int32_t i = 0; i < 2 * rows; ++i) ids.push_back(i * 31 % static_cast<int32_t>(rows));
        std::vector<float> out(ids.size() * static_cast<size_t>(cols), NAN);
        backend.embed(*weight, ids.data(), tensor_of(out, static_cast<int64_t>(ids.size()), cols));
        for (size_t t = 0; t < ids.size(); ++t) {
          for (int64_t i = 0; i < cols; ++i) {
            CHECK_MESSAGE(out[t * static_cast<size_t>(cols) + static_cast<size_t>(i)] ==
                              rounded(values[static_cast<size_t>(ids[t] * cols + i)], dtype),
                          isa + " " + std::string(dtype_name(dtype)));
          }
        }
      }
    }
  });
}

TEST("gemm: shapes that do not fit are refused") {
  ThreadPool pool(1);
  const auto backend = make_cpu_backend(CpuIsa::kAvx2, pool);
  const auto weight = load_matrix(*backend, random_floats(12, 1), 4, 3, DType::kFloat32);
  std::vector<float> x(10);
  std::vector<float> out(10);
  CHECK_THROWS_WITH(backend->linear(*weight, nullptr, tensor_of(x, 2, 4), tensor_of(out, 2, 4)), "linear: [2, 4]");
  CHECK_THROWS_WITH(backend->load_rows(*weight, 2, 3, x.data(), DType::kFloat32), "rows 2 to 5 are not within");
  CHECK_THROWS_WITH(backend->create_weight(WeightKind::kVector, 4, 2, DType::kFloat32), "one column, got 2");
}

TEST("cpu_isa: names, and an instruction set that this processor lacks") {
  for (const CpuIsa isa : {CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16, CpuIsa::kAmxBf16}) {
    CHECK(parse_cpu_isa(cpu_isa_name(isa)) == isa);
    const auto supported = supported_cpu_isas();
    ThreadPool pool(1);
    if (std::find(supported.begin(), supported.end(), isa) == supported.end()) {
      CHECK_THROWS_WITH(make_cpu_backend(isa, pool), "this processor");
    } else {
      CHECK(make_cpu_backend(isa, pool)->name() == cpu_isa_name(isa));
    }
  }
  CHECK(!parse_cpu_isa("sse2").has_value());
}

TEST("cpu_isa: what a processor must have, and the line that says so") {
  CpuFeatures features{.avx2 = true,
                       .fma = true,
                       .f16c = true,
                       .avx512f = true,
                       .avx512bw = true,
                       .avx512vl = true,
                       .avx512dq = true,
                       .avx512bf16 = true,
                       .amx_tile = true,
                       .amx_bf16 = true};
  CHECK((cpu_isas_of(features) == std::vector{CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16, CpuIsa::kAmxBf16}));
  for (bool CpuFeatures::*needed : {&CpuFeatures::amx_tile, &CpuFeatures::amx_bf16}) {
    CpuFeatures without = features;
    without.*needed = false;
    CHECK((cpu_isas_of(without) == std::vector{CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16}));
    CHECK_THROWS_WITH(check_cpu_isa(CpuIsa::kAmxBf16, cpu_isas_of(without)),
                      "this processor, or its system, cannot run amx_bf16 code; its best is avx512_bf16");
  }
  features.avx512bf16 = false;
  CHECK((cpu_isas_of(features) == std::vector{CpuIsa::kAvx2, CpuIsa::kAvx512}));
  features.avx512dq = false;
  features.avx512bf16 = true;
  CHECK((cpu_isas_of(features) == std::vector{CpuIsa::kAvx2}));
  CHECK_THROWS_WITH(check_cpu_isa(CpuIsa::kAvx512, cpu_isas_of(features)),
                    "this processor, or its system, cannot run avx512 code; its best is avx2");
  for (bool CpuFeatures::*needed : {&CpuFeatures::avx2, &CpuFeatures::fma, &CpuFeatures::f16c}) {
    CpuFeatures old = features;
    old.*needed = false;
    CHECK(cpu_isas_of(old).empty());
    CHECK_THROWS_WITH(best_cpu_isa(cpu_isas_of(old)), "this processor lacks AVX2, FMA or F16C");
    CHECK_THROWS_WITH(check_cpu_isa(CpuIsa::kAvx2, cpu_isas_of(old)), "this processor lacks AVX2, FMA or F16C");
  }
}

TEST("cpu_limits: every rate is measured") {
  ThreadPool pool(2);
  const CpuLimits limits = measure_cpu_limits(pool, 0.05);
  CHECK_EQ(limits.threads, 2);
  CHECK(limits.read_bytes_per_second > 1e8);
  CHECK(limits.float32_flops_per_second > 1e8);
  const bool has_bf16 = has_bf16_products(supported_cpu_isas().back());
  CHECK_EQ(limits.bfloat16_flops_per_second > 1e8, has_bf16);
}

}  // namespace vitrine::test
