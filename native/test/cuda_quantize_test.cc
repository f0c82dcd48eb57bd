// Rows into float8 by the CUDA backend, run thread by thread on the host: code for code what core/float8_rows.h says.
#include "cuda_emulator.h"

#include "backend/cuda/quantize_rows.cuh"
#include "op_test_support.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

using namespace vitrine::cuda;

template <class T, int kVec>
void check_rows(DType dtype, int64_t rows, int64_t cols, unsigned threads) {
  auto x = random_floats(rows * cols, 1);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= i % 5 == 0 ? 100.0f : i % 3 == 0 ? 1e-3f : 1.0f;
  x = rounded(std::move(x), dtype);
  if (rows > 2) std::fill_n(x.begin() + cols, cols, 0.0f);
  if (rows > 3) x[static_cast<size_t>(3 * cols - 1)] = NAN;
  if (rows > 4) x[static_cast<size_t>(3 * cols)] = -INFINITY;
  const std::vector<T> input(x.begin(), x.end());
  const int64_t stride = (cols + 15) / 16 * 16;
  std::vector<Float8> codes(static_cast<size_t>(rows * stride + 16), Float8(1.0f));
  std::vector<float> scales(static_cast<size_t>(rows));
  cuda_emulator::launch({static_cast<unsigned>(rows)}, {threads}, 0, 3, [&] {
    quantize_rows_kernels::quantize_rows_kernel<T, kVec>(input.data(), cols, stride, codes.data(), scales.data());
  });
  for (int64_t row = 0; row < rows; ++row) {
    if (row == 2 || row == 3) {
      const bool bad = row == 2 ? rows > 3 : rows > 4;
      CHECK_EQ(std::isnan(scales[static_cast<size_t>(row)]), bad);
      if (bad) continue;
    }
    const Float8Row expected(x.data() + row * cols, cols);
    CHECK_EQ(scales[static_cast<size_t>(row)], expected.scale);
    for (int64_t i = 0; i < stride; ++i) {
      const int code = codes[static_cast<size_t>(row * stride + i)].__x;
      CHECK_EQ(code, i < cols ? int{expected.codes[static_cast<size_t>(i)]} : 0);
    }
  }
  for (int64_t i = rows * stride; i < rows * stride + 16; ++i) CHECK_EQ(static_cast<float>(codes[i]), 1.0f);
}

}  // namespace

TEST("cuda quantized rows on the host: scale and codes, with vectors and without, rows that are not finite") {
  check_rows<__nv_bfloat16, 8>(DType::kBFloat16, 5, 264, 64);
  check_rows<__half, 8>(DType::kFloat16, 5, 1024, 128);
  check_rows<float, 4>(DType::kFloat32, 5, 100, 32);
  check_rows<__nv_bfloat16, 1>(DType::kBFloat16, 5, 67, 96);
  check_rows<float, 1>(DType::kFloat32, 1, 1, 32);
  check_rows<__half, 1>(DType::kFloat16, 2, 33, 32);
}

}  // namespace vitrine::test
