// Norms, rope, the store into the cache, activations and moved rows of the CUDA backend, run thread by thread on the
// host, against the reference backend.
#include "cuda_emulator.h"

#include "backend/cuda/float8.cuh"
#include "backend/cuda/gated_activation.cuh"
#include "backend/cuda/norm.cuh"
#include "backend/cuda/rope.cuh"
#include "backend/cuda/rows.cuh"
#include "op_test_support.h"
#include "reference_backend.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

using namespace vitrine::cuda;

template <class T>
std::vector<T> stored(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

template <class T>
std::vector<float> floats(const std::vector<T>& values) {
  std::vector<float> result;
  for (const T value : values) result.push_back(static_cast<float>(value));
  return result;
}

std::unique_ptr<Weight> load_vector(Backend& backend, const std::vector<float>& values) {
  auto weight = backend.create_weight(WeightKind::kVector, static_cast<int64_t>(values.size()), 1, DType::kFloat32);
  backend.load_rows(*weight, 0, weight->rows(), values.data(), DType::kFloat32);
  return weight;
}

/// x, delta [rows, cols] through both norms, with vectors of kVec elements.
template <class T, int kVec>
void check_norm(DType dtype, int64_t rows, int64_t cols, unsigned threads) {
  const auto reference = make_reference_backend();
  const auto gains = random_floats(cols, 1);
  const auto gain = load_vector(*reference, gains);
  auto x = rounded(random_floats(rows * cols, 2, 3.0f), dtype);
  const auto delta = rounded(random_floats(rows * cols, 3), dtype);
  for (const bool add : {false, true}) {
    auto input = stored<T>(x);
    const auto added = stored<T>(delta);
    std::vector<T> out(input.size(), T(NAN));
    cuda_emulator::launch({static_cast<unsigned>(rows)}, {threads}, 0, 4, [&] {
      const auto kernel =
          add ? norm_kernels::rms_norm_kernel<T, kVec, true> : norm_kernels::rms_norm_kernel<T, kVec, false>;
      kernel(input.data(), added.data(), gains.data(), 1e-5f, cols, out.data());
    });
    auto residual = x;
    for (size_t i = 0; add && i < x.size(); ++i) residual[i] = rounded(x[i] + delta[i], dtype);
    std::vector<float> expected(x.size());
    reference->rms_norm(tensor_of(residual, rows, cols), *gain, 1e-5f, tensor_of(expected, rows, cols));
    CHECK(same_bits(floats(input), residual));
    CHECK(largest_excess(floats(out), expected, rounding_of(dtype)) <= 2e-6);
  }
}

template <class T, class C>
void check_rope(DType dtype, DType cache_dtype, int32_t heads, int32_t kv_heads, int32_t head_dim, int32_t rotary_dim,
                bool with_norm) {
  constexpr int32_t kTokens = 5;
  constexpr int32_t kBlockSize = 3;
  constexpr int32_t kBlocks = 4;
  const auto reference = make_reference_backend();
  const int64_t width = int64_t{heads + 2 * kv_heads} * head_dim;
  const auto angles = random_floats(20 * std::max(rotary_dim, 1), 4);
  const auto q_gain = random_floats(head_dim, 5);
  const auto k_gain = random_floats(head_dim, 6);
  const std::vector<int32_t> positions = {0, 7, 19, 3, 3};
  const std::vector<int32_t> slots = {11, 0, 4, 5, 2};
  const float k_scale = cache_dtype == DType::kFloat8E4M3 ? 0.3f : 1.0f;
  const float v_scale = cache_dtype == DType::kFloat8E4M3 ? 0.7f : 1.0f;
  auto values = rounded(random_floats(kTokens * width, 7), dtype);
  auto qkv = stored<T>(values);
  std::vector<C> k(static_cast<size_t>(kBlocks * kBlockSize * kv_heads * head_dim), C(77.0f));
  auto v = k;
  const rope_kernels::Job job{kTokens,
                              heads,
                              kv_heads,
                              head_dim,
                              rotary_dim,
                              kBlockSize,
                              1e-6f,
                              angles.data(),
                              with_norm ? q_gain.data() : nullptr,
                              with_norm ? k_gain.data() : nullptr,
                              positions.data(),
                              slots.data(),
                              1 / k_scale,
                              1 / v_scale};
  const unsigned blocks = static_cast<unsigned>(kTokens * (heads + 2 * kv_heads) + rope_kernels::kWarps - 1) /
                          static_cast<unsigned>(rope_kernels::kWarps);
  cuda_emulator::launch({blocks}, {rope_kernels::kWarps * 32}, 0, 8,
                        [&] { rope_kernels::rope_kernel<T, C>(job, qkv.data(), k.data(), v.data()); });

  const auto q_norm = load_vector(*reference, q_gain);
  const auto k_norm = load_vector(*reference, k_gain);
  std::vector<C> expected_k(k.size(), C(77.0f));
  auto expected_v = expected_k;
  const KvLayer layer{expected_k.data(), expected_v.data(), cache_dtype, kBlocks, kBlockSize,
                      kv_heads,          head_dim,          k_scale,     v_scale};
  reference->rope_and_store(tensor_of(values, kTokens, width), heads, {angles.data(), 20, rotary_dim},
                            with_norm ? q_norm.get() : nullptr, with_norm ? k_norm.get() : nullptr, 1e-6f,
                            positions.data(), slots.data(), layer);
  CHECK(largest_excess(floats(qkv), values, rounding_of(dtype)) <= 2e-6);
  // A number beside a tie may go to either side: then they are one step of the cache's dtype apart.
  const bool narrow = cache_dtype == DType::kFloat8E4M3;
  const double stored_rounding = rounding_of(dtype) + (narrow ? 2 : 1) * rounding_of(cache_dtype);
  CHECK(largest_excess(floats(k), floats(expected_k), stored_rounding) <= (narrow ? 0x1p-9 : 2e-6));
  CHECK(same_bits(floats(v), floats(expected_v)));
}

template <class T, int kActivation, int kVec>
void check_gated(DType dtype, Activation activation, int64_t rows, int64_t cols) {
  const auto reference = make_reference_backend();
  auto gate_up = rounded(random_floats(2 * rows * cols, 9, 6.0f), dtype);
  const auto input = stored<T>(gate_up);
  std::vector<T> out(static_cast<size_t>(rows * cols), T(NAN));
  const auto per_block = static_cast<int64_t>(gated_activation_kernels::kThreads) * kVec;
  // One row fewer than there are: a block has to do two.
  cuda_emulator::launch(
      {static_cast<unsigned>((cols + per_block - 1) / per_block), static_cast<unsigned>(rows - 1)},
      {gated_activation_kernels::kThreads}, 0, 3,
      [&] { gated_activation_kernels::gated_kernel<T, kActivation, kVec>(input.data(), rows, cols, out.data()); });
  std::vector<float> expected(out.size());
  reference->gated_activation(tensor_of(gate_up, rows, 2 * cols), activation, tensor_of(expected, rows, cols));
  CHECK(largest_excess(floats(out), expected, rounding_of(dtype)) <= 5e-6);
}

}  // namespace

TEST("cuda rows on the host: gated activations") {
  check_gated<float, VITRINE_SILU, 1>(DType::kFloat32, Activation::kSilu, 3, 301);
  check_gated<float, VITRINE_GELU, 4>(DType::kFloat32, Activation::kGelu, 2, 1100);
  check_gated<__half, VITRINE_GELU_TANH, 8>(DType::kFloat16, Activation::kGeluTanh, 3, 64);
  check_gated<__nv_bfloat16, VITRINE_SILU, 8>(DType::kBFloat16, Activation::kSilu, 2, 2056);
}

TEST("cuda rows on the host: token references, gathered rows, conversions") {
  const int32_t ids[] = {5, -1, 0, -3};
  const int32_t last[] = {70, 71, 72};
  int32_t resolved[5] = {0, 0, 0, 0, -9};
  cuda_emulator::launch({1}, {256}, 0, 1, [&] { rows_kernels::resolve_kernel(ids, last, 4, resolved); });
  const int32_t expected[] = {5, 70, 0, 72, -9};
  for (int i = 0; i < 5; ++i) CHECK_EQ(resolved[i], expected[i]);

  const auto table = random_floats(6 * 40, 10);
  const int32_t rows[] = {4, 0, 4};
  std::vector<float> gathered(3 * 40);
  cuda_emulator::launch({3}, {32}, 0, 2, [&] {
    rows_kernels::gather_kernel(reinterpret_cast<const uint32_t*>(table.data()), rows, 40,
                                reinterpret_cast<uint32_t*>(gathered.data()));
  });
  for (int i = 0; i < 3; ++i) CHECK(same_bits(gathered.data() + i * 40, table.data() + rows[i] * 40, 40));

  const std::vector<int32_t> words = {1, 2, 3, 4, 5, 6, 7};
  std::vector<int32_t> apart(8, -1);
  const rows_kernels::ScatterParts parts{{{words.data() + 2, apart.data(), 5}, {words.data(), apart.data() + 6, 1}}};
  cuda_emulator::launch({2, 2}, {2}, 0, 5, [&] { rows_kernels::scatter_kernel(parts); });
  CHECK(apart == (std::vector<int32_t>{3, 4, 5, 6, 7, -1, 1, -1}));

  std::vector<__half> half(table.size());
  cuda_emulator::launch({1}, {64}, 0, 3, [&] {
    rows_kernels::convert_kernel(table.data(), half.data(), static_cast<int64_t>(table.size()));
  });
  CHECK(same_bits(floats(half), rounded(table, DType::kFloat16)));
}

TEST("cuda rows on the host: norms with and without vectors") {
  check_norm<float, 1>(DType::kFloat32, 2, 33, 64);
  check_norm<float, 4>(DType::kFloat32, 3, 100, 32);
  check_norm<__half, 8>(DType::kFloat16, 2, 2048, 256);
  check_norm<__half, 1>(DType::kFloat16, 2, 7, 32);
  check_norm<__nv_bfloat16, 8>(DType::kBFloat16, 2, 8192, 1024);
}

TEST("cuda rows on the host: float8 comes and goes as it does on the CPU") {
  for (uint32_t codes = 0; codes < 0x10000; ++codes) {
    const float low = e4m3_to_float(static_cast<uint8_t>(codes));
    const float high = e4m3_to_float(static_cast<uint8_t>(codes >> 8));
    const auto is = [](float value, float expected) {
      return std::isnan(expected) ? std::isnan(value) : same_bits(&value, &expected, 1);
    };
    const uint32_t noise = 0xa5a50000;  // above the two codes
    const float2 floats = widen_to_floats(codes | noise);
    CHECK(is(floats.x, low) && is(floats.y, high));
    const uint32_t halves = widen_pair<__half>(codes | noise);
    CHECK(is(half_to_float(static_cast<uint16_t>(halves)), low));
    CHECK(is(half_to_float(static_cast<uint16_t>(halves >> 16)), high));
    const uint32_t brains = widen_pair<__nv_bfloat16>(codes | noise);
    CHECK(is(bf16_to_float(static_cast<uint16_t>(brains)), low));
    CHECK(is(bf16_to_float(static_cast<uint16_t>(brains >> 16)), high));
  }
  for (uint32_t high = 0; high < 0x10000; ++high) {
    for (const uint32_t low : {0x0000u, 0x0001u, 0x8000u, 0xffffu}) {
      const auto value = std::bit_cast<float>(high << 16 | low);
      const uint8_t code = from_float<Float8>(value).__x;
      if (std::isnan(value)) {
        CHECK_EQ(code & 0x7f, 0x7f);
      } else {
        CHECK_EQ(int{code}, int{float_to_e4m3(value)});
      }
    }
  }
}

TEST("cuda rows on the host: rope, head norms and the store into the cache") {
  for (const bool with_norm : {false, true}) {
    check_rope<float, float>(DType::kFloat32, DType::kFloat32, 3, 1, 20, 6, with_norm);
    check_rope<float, __half>(DType::kFloat32, DType::kFloat16, 5, 5, 33, 32, with_norm);
    check_rope<__nv_bfloat16, __nv_bfloat16>(DType::kBFloat16, DType::kBFloat16, 4, 2, 128, 128, with_norm);
    check_rope<__half, __half>(DType::kFloat16, DType::kFloat16, 2, 1, 64, 0, with_norm);
    check_rope<float, Float8>(DType::kFloat32, DType::kFloat8E4M3, 3, 1, 20, 6, with_norm);
    check_rope<__nv_bfloat16, Float8>(DType::kBFloat16, DType::kFloat8E4M3, 4, 2, 128, 128, with_norm);
  }
}

}  // namespace vitrine::test
