// The kernels of a mixture of experts of the CUDA backend, run thread by thread on the host, against sums in double.
#include "cuda_emulator.h"

#include <algorithm>

#include "backend/cuda/moe_kernels.cuh"
#include "op_test_support.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

using namespace vitrine::cuda;

template <class T>
std::vector<T> numbers(int64_t count, uint32_t seed, float scale) {
  std::vector<T> result;
  for (const float value : exact_floats(count, seed)) result.push_back(T(value * scale));
  return result;
}

double activated(double gate, double up) { return gate / (1 + std::exp(-gate)) * up; }

struct Problem {
  int32_t tokens, hidden, inner, experts, top_k;
};

/// `Kernels` has run(gated, job, blocks per row of the grid's y) and the rows of its tiles.
template <class T, class Kernels>
void check(const Problem& p) {
  std::mt19937 random(11);
  const int32_t choices = p.tokens * p.top_k;
  const auto x = numbers<T>(int64_t{p.tokens} * p.hidden, 3, 0.25f);
  std::vector<std::vector<T>> gate_up, down;
  std::vector<const void*> gate_up_table, down_table;
  for (int32_t e = 0; e < p.experts; ++e) {
    const auto seed = static_cast<uint32_t>(e) + 20;
    gate_up.push_back(numbers<T>(int64_t{2} * p.inner * p.hidden, seed, 0.125f));
    down.push_back(numbers<T>(int64_t{p.inner} * p.hidden, seed + 100, 0.125f));
  }
  for (int32_t e = 0; e < p.experts; ++e) {
    gate_up_table.push_back(gate_up[static_cast<size_t>(e)].data());
    down_table.push_back(down[static_cast<size_t>(e)].data());
  }
  std::vector<int32_t> ids;
  std::vector<float> weights;
  for (int32_t i = 0; i < choices; ++i) {
    // Expert 1 is never chosen, expert 0 by every token.
    const int32_t k = i % p.top_k;
    ids.push_back(k == 0 ? 0 : 2 + static_cast<int32_t>(random() % static_cast<uint32_t>(p.experts - 2)));
    weights.push_back(static_cast<float>(random() % 100) / 100);
  }

  std::vector<int32_t> row_start(static_cast<size_t>(p.experts + 1), -1), tile_start = row_start;
  std::vector<int32_t> choice_of_row(static_cast<size_t>(choices), -1), row_of_choice = choice_of_row;
  const ExpertGroups groups{row_start.data(), tile_start.data(), choice_of_row.data(), row_of_choice.data(),
                            p.experts,        choices,           Kernels::kRows};
  cuda_emulator::launch({1}, {64}, static_cast<size_t>(p.experts) * 4, 1,
                        [&] { moe_group_kernel(ids.data(), groups); });
  for (int32_t i = 0; i < choices; ++i) {
    const int32_t row = row_of_choice[static_cast<size_t>(i)];
    const auto expert = static_cast<size_t>(ids[static_cast<size_t>(i)]);
    CHECK_EQ(choice_of_row[static_cast<size_t>(row)], i);
    CHECK(row >= row_start[expert] && row < row_start[expert + 1]);
  }
  int32_t tiles = 0;
  for (size_t e = 0; e < static_cast<size_t>(p.experts); ++e) {
    CHECK_EQ(tile_start[e], tiles);
    tiles += (row_start[e + 1] - row_start[e] + Kernels::kRows - 1) / Kernels::kRows;
  }
  CHECK_EQ(tile_start.back(), tiles);
  CHECK_EQ(row_start.back(), choices);

  std::vector<T> inner(static_cast<size_t>(choices * p.inner), T(NAN)),
      results(static_cast<size_t>(choices * p.hidden), T(NAN));
  std::vector<T> out(x.size(), T(NAN));
  const auto blocks = static_cast<unsigned>(tiles) + 1;  // one too many
  Kernels::template run<T, true>(
      {groups, x.data(), gate_up_table.data(), inner.data(), p.inner, p.hidden, p.top_k, VITRINE_SILU}, blocks);
  Kernels::template run<T, false>({groups, inner.data(), down_table.data(), results.data(), p.hidden, p.inner, 0, 0},
                                  blocks);
  const auto combine = p.hidden % 8 == 0 ? moe_combine_kernel<T, Vec16<T>::kSize> : moe_combine_kernel<T, 1>;
  cuda_emulator::launch({static_cast<unsigned>(p.tokens)}, {32}, 0, 2, [&] {
    combine(results.data(), row_of_choice.data(), weights.data(), p.top_k, p.hidden, out.data());
  });

  std::vector<float> result, expected;
  for (const T value : out) result.push_back(static_cast<float>(value));
  double largest = 0;
  for (int32_t t = 0; t < p.tokens; ++t) {
    std::vector<double> sums(static_cast<size_t>(p.hidden));
    for (int32_t k = 0; k < p.top_k; ++k) {
      const auto choice = static_cast<size_t>(t * p.top_k + k);
      const auto expert = static_cast<size_t>(ids[choice]);
      const auto dot = [](const T* a, const T* b, int32_t count) {
        double sum = 0;
        for (int32_t i = 0; i < count; ++i) sum += double{static_cast<float>(a[i])} * static_cast<float>(b[i]);
        return sum;
      };
      std::vector<T> row;
      for (int32_t i = 0; i < p.inner; ++i) {
        const T* const gate = gate_up[expert].data() + int64_t{i} * p.hidden;
        const T* const source = x.data() + int64_t{t} * p.hidden;
        row.push_back(T(static_cast<float>(
            activated(dot(source, gate, p.hidden), dot(source, gate + int64_t{p.inner} * p.hidden, p.hidden)))));
      }
      for (int32_t i = 0; i < p.hidden; ++i) {
        sums[static_cast<size_t>(i)] +=
            double{weights[choice]} * dot(row.data(), down[expert].data() + int64_t{i} * p.inner, p.inner);
      }
    }
    for (const double sum : sums) {
      expected.push_back(static_cast<float>(sum));
      largest = std::max(largest, std::abs(sum));
    }
  }
  const double tolerance = std::is_same_v<T, float> ? 1e-6 : std::is_same_v<T, __half> ? 2e-3 : 1.6e-2;
  const double difference = largest_difference(result, expected);
  CHECK_MESSAGE(difference < tolerance * largest, "differs by " + shown(difference) + " of " + shown(largest));
}

template <class Shape>
struct TensorKernels {
  static constexpr int32_t kRows = Shape::kRows;
  template <class T, bool kGated>
  static void run(const GroupedGemm& job, unsigned tiles) {
    const int columns = kGated ? Shape::kColumns / 2 : Shape::kColumns;
    cuda_emulator::launch({static_cast<unsigned>((job.n + columns - 1) / columns), tiles},
                          {static_cast<unsigned>(Shape::kThreads)}, Shape::kSharedBytes, 3,
                          [&] { moe_gemm_kernel<T, Shape, kGated>(job); });
  }
};

struct PlainKernels {
  static constexpr int32_t kRows = kPlainRows;
  template <class T, bool kGated>
  static void run(const GroupedGemm& job, unsigned tiles) {
    const int columns = kGated ? kPlainColumns / 2 : kPlainColumns;
    cuda_emulator::launch({static_cast<unsigned>((job.n + columns - 1) / columns), tiles},
                          {static_cast<unsigned>(kPlainThreads)}, 0, 4, [&] { moe_plain_gemm_kernel<T, kGated>(job); });
  }
};

}  // namespace

TEST("cuda moe on the host: grouped products on tensor cores") {
  check<__half, TensorKernels<FewRows>>({3, 72, 40, 5, 2});
  check<__nv_bfloat16, TensorKernels<FewRows>>({20, 136, 88, 4, 3});
  check<__half, TensorKernels<FewRows>>({30, 40, 24, 70, 3});
  check<__half, TensorKernels<SomeRows>>({70, 40, 72, 4, 2});
  check<__nv_bfloat16, TensorKernels<ManyRows>>({140, 72, 104, 3, 1});
}

TEST("cuda moe on the host: products of any size and type") {
  check<float, PlainKernels>({20, 33, 17, 5, 3});
  check<__half, PlainKernels>({5, 7, 65, 3, 2});
}

TEST("cuda moe on the host: routing takes the largest logits, of equal ones the lower ids") {
  const int32_t experts = 70;
  const int32_t top_k = 40;
  std::mt19937 random(3);
  std::vector<float> logits;
  for (int32_t i = 0; i < 5 * experts; ++i) logits.push_back(static_cast<float>(static_cast<int>(random() % 9) - 4));
  logits[2 * experts + 5] = NAN;
  for (int32_t e = 0; e < experts; ++e) logits[static_cast<size_t>(4 * experts + e)] = NAN;
  for (const int normalize : {0, 1}) {
    std::vector<int32_t> ids(5 * top_k, -1);
    std::vector<float> weights(ids.size());
    const VitrineMoeRouting routing{ids.data(), weights.data(), experts, top_k, normalize};
    cuda_emulator::launch({2}, {128}, 0, 5, [&] { moe_route_kernel(logits.data(), int64_t{5}, routing); });
    for (size_t t = 0; t < 5; ++t) {
      const float* row = logits.data() + t * experts;
      if (t == 2 || t == 4) {  // not finite
        for (size_t at = t * top_k; at < (t + 1) * top_k; ++at) {
          CHECK(ids[at] >= 0 && ids[at] < experts);
          CHECK(std::isnan(weights[at]));
        }
        continue;
      }
      std::vector<int32_t> order(experts);
      for (int32_t e = 0; e < experts; ++e) order[static_cast<size_t>(e)] = e;
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return row[a] > row[b]; });
      double all = 0, best = 0;
      for (int32_t e = 0; e < experts; ++e) all += std::exp(double{row[e]});
      for (size_t k = 0; k < top_k; ++k) best += std::exp(double{row[order[k]]});
      for (size_t k = 0; k < top_k; ++k) {
        const size_t at = t * top_k + k;
        CHECK_EQ(ids[at], order[k]);
        CHECK_NEAR(weights[at], std::exp(double{row[order[k]]}) / (normalize != 0 ? best : all), 1e-6);
      }
    }
  }
}

}  // namespace vitrine::test
