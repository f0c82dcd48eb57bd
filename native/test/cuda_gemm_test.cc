// The matrix products of the CUDA backend, run thread by thread on the host, against sums in double.
#include "cuda_emulator.h"

#include <algorithm>

#include "backend/cuda/gemm.cuh"
#include "backend/cuda/streaming_gemm.cuh"
#include "op_test_support.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

using namespace vitrine::cuda;

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::kFloat32;
  return std::is_same_v<T, __half> ? DType::kFloat16 : DType::kBFloat16;
}

template <class T>
std::vector<T> numbers(int64_t count, uint32_t seed) {
  const auto values = random_floats(count, seed);
  return {values.begin(), values.end()};
}

/// kernel(x, weight, bias, out) of one shape; outputs begin as NaN, and what lies behind them must stay.
template <class T, class Kernel>
void check(int64_t m, int64_t n, int64_t k, const std::string& name, Kernel kernel) {
  const auto x = numbers<T>(m * k, 1);
  const auto weight = numbers<T>(n * k, 2);
  const auto bias = random_floats(n, 3);
  constexpr int64_t kGuard = 64;
  for (const bool with_bias : {false, true}) {
    std::vector<T> out(static_cast<size_t>(m * n + kGuard), T(NAN));
    kernel(x.data(), weight.data(), with_bias ? bias.data() : nullptr, out.data());
    double worst = 0;  // error over its bound
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = with_bias ? bias[static_cast<size_t>(j)] : 0;
        double magnitude = std::abs(sum);
        for (int64_t d = 0; d < k; ++d) {
          const double product = double{static_cast<float>(x[static_cast<size_t>(i * k + d)])} *
                                 static_cast<float>(weight[static_cast<size_t>(j * k + d)]);
          sum += product;
          magnitude += std::abs(product);
        }
        const double bound =
            6e-8 * (4 + static_cast<double>(k) / 8) * magnitude + rounding_of(dtype_of<T>()) * std::abs(sum) + 1e-30;
        const double error = std::abs(static_cast<float>(out[static_cast<size_t>(i * n + j)]) - sum) / bound;
        if (!(error <= worst)) worst = error;
      }
    }
    const std::string shape = name + " m" + std::to_string(m) + " n" + std::to_string(n) + " k" + std::to_string(k);
    CHECK_MESSAGE(worst <= 1, shape + ": error is " + shown(worst) + " times its bound");
    for (int64_t i = m * n; i < m * n + kGuard; ++i) {
      CHECK_MESSAGE(std::isnan(static_cast<float>(out[static_cast<size_t>(i)])), shape + ": wrote past its end");
    }
  }
}

cuda_emulator::Dim grid(int64_t n, int64_t tile_n, int64_t m, int64_t tile_m) {
  return {static_cast<unsigned>((n + tile_n - 1) / tile_n), static_cast<unsigned>((m + tile_m - 1) / tile_m)};
}

template <class T, int kTileM, bool kAligned>
void check_tiles(int64_t m, int64_t n, int64_t k) {
  using namespace gemm_kernels;
  const size_t shared = size_t{kTileM + kTileN} * kTileK * sizeof(T) * kStages;
  check<T>(m, n, k, "tiles " + std::to_string(kTileM), [&](const T* x, const T* weight, const float* bias, T* out) {
    cuda_emulator::launch(grid(n, kTileN, m, kTileM), {kThreads}, shared, 5,
                          [&] { gemm_kernel<T, kTileM, kAligned>(x, weight, bias, m, n, k, out); });
  });
}

template <class T>
void check_streaming(int64_t m, int64_t n, int64_t k) {
  using namespace streaming_gemm_kernels;
  check<T>(m, n, k, "streaming", [&](const T* x, const T* weight, const float* bias, T* out) {
    cuda_emulator::launch(grid(n, kRows, 1, 1), {kThreads}, 0, 6, [&] {
      const int tokens = static_cast<int>(m);
      if (m <= kTileTokens) {
        streaming_kernel<T, 1>(weight, x, bias, tokens, n, k, out);
      } else {
        streaming_kernel<T, 2>(weight, x, bias, tokens, n, k, out);
      }
    });
  });
}

}  // namespace

TEST("cuda gemm on the host: tiles of tensor cores, aligned and not") {
  check_tiles<__nv_bfloat16, 64, true>(37, 130, 72);
  check_tiles<__half, 64, true>(64, 128, 32);
  check_tiles<__half, 128, true>(130, 140, 104);
  check_tiles<__nv_bfloat16, 128, false>(129, 20, 67);
  check_tiles<__half, 64, false>(3, 5, 1);
  check_tiles<__nv_bfloat16, 64, true>(2, 3, 0);
}

TEST("cuda gemm on the host: streaming of 16-bit weights, 1 to 16 tokens") {
  for (const int64_t k : {8, 32, 264, 1024, 1304}) {
    check_streaming<__nv_bfloat16>(1, 33, k);
    check_streaming<__half>(5, 16, k);
    check_streaming<__nv_bfloat16>(8, 15, k);
    check_streaming<__half>(9, 20, k);
    check_streaming<__nv_bfloat16>(16, 40, k);
  }
}

TEST("cuda gemm on the host: float32") {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {65, 70, 33}, {5, 130, 16}, {2, 4, 0}}) {
    check<float>(m, n, k, "float32", [&, m = m, n = n, k = k](auto x, auto weight, auto bias, auto out) {
      using namespace gemm_kernels;
      cuda_emulator::launch(grid(n, kTile32, m, kTile32), {kThreads}, 0, 7,
                            [&] { gemm_kernel_f32(x, weight, bias, m, n, k, out); });
    });
  }
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 9, 4}, {1, 17, 132}, {3, 8, 260}}) {
    check<float>(m, n, k, "float32 streaming", [&, m = m, n = n, k = k](auto x, auto weight, auto bias, auto out) {
      using namespace streaming_gemm_kernels;
      cuda_emulator::launch(grid(n, kWarps, 1, 1), {kThreads}, 0, 8,
                            [&] { streaming_kernel_f32<4>(weight, x, bias, static_cast<int>(m), n, k, out); });
    });
  }
}

}  // namespace vitrine::test
