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

/// A product of one shape: the numbers of x [m, k] and weight [n, k] in double, and what the sums of token i and row j
/// are multiplied with.
struct Expected {
  int64_t m, n, k;
  std::vector<double> x, weight;
  std::vector<float> token_scales, row_scales;  ///< empty: 1
};

/// kernel(bias, out) of one shape; outputs begin as NaN, and what lies behind them must stay.
template <class Out, class Kernel>
void check_product(const Expected& product, const std::string& name, Kernel kernel) {
  const auto [m, n, k] = std::tuple{product.m, product.n, product.k};
  const auto bias = random_floats(n, 3);
  constexpr int64_t kGuard = 64;
  for (const bool with_bias : {false, true}) {
    std::vector<Out> out(static_cast<size_t>(m * n + kGuard), Out(NAN));
    kernel(with_bias ? bias.data() : nullptr, out.data());
    double worst = 0;  // error over its bound
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        double magnitude = 0;
        for (int64_t d = 0; d < k; ++d) {
          const double one = product.x[static_cast<size_t>(i * k + d)] * product.weight[static_cast<size_t>(j * k + d)];
          sum += one;
          magnitude += std::abs(one);
        }
        if (!product.token_scales.empty()) {
          const double scale =
              double{product.token_scales[static_cast<size_t>(i)]} * product.row_scales[static_cast<size_t>(j)];
          sum *= scale;
          magnitude *= scale;
        }
        if (with_bias) {
          sum += bias[static_cast<size_t>(j)];
          magnitude += std::abs(bias[static_cast<size_t>(j)]);
        }
        const double bound = 6e-8 * (4 + static_cast<double>(k) / 8) * magnitude +
                             rounding_of(dtype_of<Out>()) * std::abs(sum) +
                             (dtype_of<Out>() == DType::kFloat16 ? 0x1p-25 : 1e-30);  // a subnormal half
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

/// kernel(x, weight, store) with operands and output of T.
template <class T, class Kernel>
void check(int64_t m, int64_t n, int64_t k, const std::string& name, Kernel kernel) {
  const auto x = numbers<T>(m * k, 1);
  const auto weight = numbers<T>(n * k, 2);
  const auto doubles = [](const std::vector<T>& values) {
    std::vector<double> result;
    for (const T& value : values) result.push_back(static_cast<float>(value));
    return result;
  };
  check_product<T>({m, n, k, doubles(x), doubles(weight), {}, {}}, name, [&](const float* bias, T* out) {
    kernel(x.data(), weight.data(), PlainStore<T>{out, bias});
  });
}

/// kernel(x, weight, store) with pairs of codes; k codes.
template <class Out, class Kernel>
void check_float8(int64_t m, int64_t n, int64_t k, const std::string& name, Kernel kernel) {
  const auto codes = [k](int64_t rows, uint32_t seed) {
    std::mt19937 generator(seed);
    std::vector<uint8_t> result(static_cast<size_t>(rows * k));
    for (uint8_t& code : result) {
      do code = static_cast<uint8_t>(generator() >> 5);
      while ((code & 0x7f) == 0x7f);  // NaN
    }
    return result;
  };
  const auto doubles = [](const std::vector<uint8_t>& values) {
    std::vector<double> result;
    for (const uint8_t value : values) result.push_back(e4m3_to_float(value));
    return result;
  };
  const auto x = codes(m, 1);
  const auto weight = codes(n, 2);
  auto token_scales = random_floats(m, 4, 1e-3f);
  auto row_scales = random_floats(n, 5, 1e-3f);
  for (float& scale : token_scales) scale = std::abs(scale);
  for (float& scale : row_scales) scale = std::abs(scale);
  check_product<Out>({m, n, k, doubles(x), doubles(weight), token_scales, row_scales}, name + " of float8",
                     [&](const float* bias, Out* out) {
                       kernel(reinterpret_cast<const Float8Pair*>(x.data()),
                              reinterpret_cast<const Float8Pair*>(weight.data()),
                              ScaledStore<Out>{{out, bias}, token_scales.data(), row_scales.data()});
                     });
}

cuda_emulator::Dim grid(int64_t n, int64_t tile_n, int64_t m, int64_t tile_m) {
  return {static_cast<unsigned>((n + tile_n - 1) / tile_n), static_cast<unsigned>((m + tile_m - 1) / tile_m)};
}

template <class T, int kTileM, bool kAligned, class Store>
void run_tiles(const T* x, const T* weight, int64_t m, int64_t n, int64_t k, Store store) {
  using namespace gemm_kernels;
  const size_t shared = size_t{kTileM + kTileN} * kTileK * sizeof(T) * kStages;
  cuda_emulator::launch(grid(n, kTileN, m, kTileM), {kThreads}, shared, 5,
                        [&] { gemm_kernel<T, kTileM, kAligned>(x, weight, m, n, k, store); });
}

template <class T, int kTileM, bool kAligned>
void check_tiles(int64_t m, int64_t n, int64_t k) {
  check<T>(m, n, k, "tiles " + std::to_string(kTileM),
           [&](const T* x, const T* weight, auto store) { run_tiles<T, kTileM, kAligned>(x, weight, m, n, k, store); });
}

template <class Out, int kTileM>
void check_float8_tiles(int64_t m, int64_t n, int64_t k) {
  check_float8<Out>(m, n, k, "tiles " + std::to_string(kTileM), [&](auto x, auto weight, auto store) {
    run_tiles<Float8Pair, kTileM, true>(x, weight, m, n, k / 2, store);
  });
}

template <class T, class Store>
void run_streaming(const T* x, const T* weight, int64_t m, int64_t n, int64_t k, Store store) {
  using namespace streaming_gemm_kernels;
  cuda_emulator::launch(grid(n, kRows, 1, 1), {kThreads}, 0, 6, [&] {
    const int tokens = static_cast<int>(m);
    if (m <= kTileTokens) {
      streaming_kernel<T, 1>(weight, x, tokens, n, k, store);
    } else {
      streaming_kernel<T, 2>(weight, x, tokens, n, k, store);
    }
  });
}

template <class T>
void check_streaming(int64_t m, int64_t n, int64_t k) {
  check<T>(m, n, k, "streaming",
           [&](const T* x, const T* weight, auto store) { run_streaming(x, weight, m, n, k, store); });
}

template <class Out>
void check_float8_streaming(int64_t m, int64_t n, int64_t k) {
  check_float8<Out>(m, n, k, "streaming",
                    [&](auto x, auto weight, auto store) { run_streaming(x, weight, m, n, k / 2, store); });
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

TEST("cuda gemm on the host: tiles of float8") {
  check_float8_tiles<__nv_bfloat16, 64>(37, 130, 144);
  check_float8_tiles<__half, 64>(64, 128, 64);
  check_float8_tiles<float, 128>(130, 140, 208);
  check_float8_tiles<__nv_bfloat16, 64>(3, 5, 16);
  check_float8_tiles<float, 64>(2, 3, 0);
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

TEST("cuda gemm on the host: streaming of float8 weights, 1 to 16 tokens") {
  for (const int64_t k : {16, 64, 528, 2048, 2608}) {
    check_float8_streaming<__nv_bfloat16>(1, 33, k);
    check_float8_streaming<float>(5, 16, k);
    check_float8_streaming<__half>(9, 20, k);
    check_float8_streaming<__nv_bfloat16>(16, 40, k);
  }
}

TEST("cuda gemm on the host: a product of float8 by halves is that of the codes") {
  std::mt19937 generator(9);
  uint32_t a[32][4], b[32][2];
  const auto fill = [&](uint32_t& word) {
    do word = static_cast<uint32_t>(generator());
    while (((word & 0x7f7f7f7fU) + 0x01010101U) & 0x80808080U);  // a code is NaN
  };
  for (auto& lane : a) std::for_each(std::begin(lane), std::end(lane), fill);
  for (auto& lane : b) std::for_each(std::begin(lane), std::end(lane), fill);
  float direct[32][4] = {}, by_halves[32][4] = {};
  cuda_emulator::launch({}, {32}, 0, 9, [&] {
    const unsigned lane = threadIdx.x;
    mma_16x8x16<Float8Pair>(direct[lane], a[lane], b[lane]);
    mma_float8_by_halves(by_halves[lane], a[lane], b[lane]);
  });
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) CHECK_NEAR(by_halves[lane][i], direct[lane][i], 32 * 448.0 * 448.0 * 1e-6);
  }
}

TEST("cuda gemm on the host: float32") {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {65, 70, 33}, {5, 130, 16}, {2, 4, 0}}) {
    check<float>(m, n, k, "float32", [&, m = m, n = n, k = k](auto x, auto weight, auto store) {
      using namespace gemm_kernels;
      cuda_emulator::launch(grid(n, kTile32, m, kTile32), {kThreads}, 0, 7,
                            [&] { gemm_kernel_f32(x, weight, m, n, k, store); });
    });
  }
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 9, 4}, {1, 17, 132}, {3, 8, 260}}) {
    check<float>(m, n, k, "float32 streaming", [&, m = m, n = n, k = k](auto x, auto weight, auto store) {
      using namespace streaming_gemm_kernels;
      cuda_emulator::launch(grid(n, kWarps, 1, 1), {kThreads}, 0, 8,
                            [&] { streaming_kernel_f32<4>(weight, x, static_cast<int>(m), n, k, store); });
    });
  }
}

}  // namespace vitrine::test
