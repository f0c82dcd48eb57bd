// The attention kernels of the CUDA backend, run thread by thread on the host, against attention in double.
#include "cuda_emulator.h"

#include <algorithm>
#include <numeric>

#include "backend/cuda/attention_decode.cuh"
#include "backend/cuda/attention_general.cuh"
#include "backend/cuda/attention_hopper.cuh"
#include "backend/cuda/attention_prefill.cuh"
#include "op_test_support.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

using namespace vitrine::cuda;

struct Problem {
  int32_t group, kv_heads, head_dim, block_size, window, slots;
  std::vector<int32_t> seq_lens, query_lens;
};

/// C: elements of the cache, T or Float8.
template <class T, class C = T>
class Attention {
 public:
  explicit Attention(const Problem& problem) : p_(problem) {
    std::mt19937 random(7);
    query_start_ = block_start_ = {0};
    for (size_t r = 0; r < p_.seq_lens.size(); ++r) {
      query_start_.push_back(query_start_.back() + p_.query_lens[r]);
      block_start_.push_back(block_start_.back() + (p_.seq_lens[r] + p_.block_size - 1) / p_.block_size);
    }
    blocks_.resize(static_cast<size_t>(block_start_.back()));
    std::iota(blocks_.begin(), blocks_.end(), 0);
    std::shuffle(blocks_.begin(), blocks_.end(), random);
    const size_t cache = blocks_.size() * static_cast<size_t>(p_.kv_heads * p_.block_size * p_.head_dim);
    k_.assign(cache, C(NAN));  // what was never stored must not be seen
    v_.assign(cache, C(NAN));
    for (size_t r = 0; r < p_.seq_lens.size(); ++r) {
      for (int32_t key = 0; key < p_.seq_lens[r]; ++key) {
        for (int32_t head = 0; head < p_.kv_heads; ++head) {
          for (int32_t d = 0; d < p_.head_dim; ++d) {
            k_[place(r, key, head) + static_cast<size_t>(d)] = C(value(random) / k_scale());
            v_[place(r, key, head) + static_cast<size_t>(d)] = C(value(random) / v_scale());
          }
        }
      }
    }
    q_.resize(static_cast<size_t>(tokens() * q_stride()));
    for (T& x : q_) x = T(value(random));
  }

  int64_t tokens() const { return query_start_.back(); }
  int64_t heads() const { return int64_t{p_.group} * p_.kv_heads; }
  int64_t q_stride() const { return (heads() + 2 * p_.kv_heads) * p_.head_dim; }

  std::vector<float> expected() const {
    std::vector<float> result;
    for (size_t r = 0; r < p_.seq_lens.size(); ++r) {
      for (int32_t t = 0; t < p_.query_lens[r]; ++t) {
        const int32_t position = p_.seq_lens[r] - p_.query_lens[r] + t;
        for (int32_t head = 0; head < heads(); ++head) expect_head(r, query_start_[r] + t, position, head, result);
      }
    }
    return result;
  }

  template <int kFast, bool kHopper>
  std::vector<float> run(uint32_t seed) {
    AttentionPlan plan;
    AttentionTiling tiling;
    tiling.group = p_.group;
    tiling.kv_heads = p_.kv_heads;
    tiling.slots = tiling.long_slots = p_.slots;
    if constexpr (kFast > 0) tiling.long_rows = PrefillShape<kFast, sizeof(C)>::kRows;
    if constexpr (kHopper) tiling.long_rows = HopperShape<kFast>::kRows;
    plan_attention(tiling, query_start_, p_.seq_lens, p_.window, plan);
    parts = plan.partial_rows;
    std::vector<T> out(static_cast<size_t>(tokens() * heads() * p_.head_dim), T(NAN));
    std::vector<float> partial(static_cast<size_t>(plan.partial_rows * p_.kv_heads * p_.head_dim), NAN);
    std::vector<float> lse(static_cast<size_t>(plan.partial_rows * p_.kv_heads), NAN);
    AttentionArgs args;
    args.q = q_.data();
    args.q_stride = q_stride();
    args.out = out.data();
    args.out_stride = heads() * p_.head_dim;
    args.k = k_.data();
    args.v = v_.data();
    args.block_start = block_start_.data();
    args.blocks = blocks_.data();
    args.partial_out = partial.data();
    args.partial_lse = lse.data();
    args.kv_heads = p_.kv_heads;
    args.group = p_.group;
    args.head_dim = p_.head_dim;
    args.block_size = p_.block_size;
    if ((p_.block_size & (p_.block_size - 1)) == 0)
      args.block_shift = __builtin_ctz(static_cast<unsigned>(p_.block_size));
    args.window = p_.window;
    args.scale_log2 = static_cast<float>(M_LOG2E / std::sqrt(p_.head_dim)) * k_scale();
    args.v_scale = v_scale();

    const auto launch = [&](auto& items, unsigned threads, size_t shared, auto kernel) {
      if (items.empty()) return;
      const auto count = static_cast<int32_t>(items.size());
      const auto blocks = std::max(1U, static_cast<unsigned>(count) - 1);  // one block has to do two
      cuda_emulator::launch({blocks, static_cast<unsigned>(p_.kv_heads)}, {threads}, shared, seed, [&] {
        kernel(args, WorkList{items.data(), &count});
      });
    };
    if constexpr (kFast > 0) {
      launch(plan.short_items, 128, DecodeShape<kFast, sizeof(C)>::kSharedBytes, attention_decode_kernel<T, C, kFast>);
      if constexpr (kHopper) {
        launch(plan.long_items, HopperShape<kFast>::kThreads, kHopperSharedBytes<kFast>,
               attention_hopper_kernel<T, kFast>);
      } else {
        launch(plan.long_items, 128, PrefillShape<kFast, sizeof(C)>::kSharedBytes,
               attention_prefill_kernel<T, C, kFast>);
      }
    } else {
      const auto kernel = p_.head_dim <= 64 ? attention_general_kernel<T, C, 2> : attention_general_kernel<T, C, 10>;
      launch(plan.short_items, 128, general_shared_bytes(p_.head_dim), kernel);
    }
    launch(plan.merges, 128, 0, attention_merge_kernel<T>);
    std::vector<float> result;
    for (const T x : out) result.push_back(static_cast<float>(x));
    return result;
  }

  int32_t parts = 0;

 private:
  static constexpr float k_scale() { return std::is_same_v<C, Float8> ? 0.3f : 1.0f; }
  static constexpr float v_scale() { return std::is_same_v<C, Float8> ? 1.7f : 1.0f; }

  static float value(std::mt19937& random) { return static_cast<float>(static_cast<int>(random() % 129) - 64) / 32.0f; }

  size_t place(size_t request, int32_t key, int32_t head) const {
    const int32_t block = blocks_[static_cast<size_t>(block_start_[request] + key / p_.block_size)];
    return static_cast<size_t>(((int64_t{block} * p_.kv_heads + head) * p_.block_size + key % p_.block_size) *
                               p_.head_dim);
  }

  void expect_head(size_t request, int32_t token, int32_t position, int32_t head, std::vector<float>& result) const {
    const T* query = q_.data() + token * q_stride() + int64_t{head} * p_.head_dim;
    std::vector<double> sums(static_cast<size_t>(p_.head_dim));
    double total = 0;
    for (int32_t key = p_.window > 0 ? std::max(0, position - p_.window + 1) : 0; key <= position; ++key) {
      const size_t at = place(request, key, head / p_.group);
      double score = 0;
      for (size_t d = 0; d < sums.size(); ++d)
        score += double{static_cast<float>(query[d])} * static_cast<float>(k_[at + d]) * k_scale();
      const double weight = std::exp(score / std::sqrt(p_.head_dim));
      total += weight;
      for (size_t d = 0; d < sums.size(); ++d) sums[d] += weight * static_cast<float>(v_[at + d]);
    }
    for (const double sum : sums) result.push_back(static_cast<float>(sum / total * v_scale()));
  }

  Problem p_;
  std::vector<int32_t> query_start_, block_start_, blocks_;
  std::vector<C> k_, v_;
  std::vector<T> q_;
};

template <class T>
constexpr double tolerance() {
  return std::is_same_v<T, float> ? 4e-6 : std::is_same_v<T, __half> ? 2e-3 : 1.6e-2;
}

template <class T, int kFast, bool kHopper = false, class C = T>
void check(Problem problem, int32_t head_dim, bool split) {
  problem.head_dim = head_dim;
  Attention<T, C> attention(problem);
  const auto expected = attention.expected();
  for (const uint32_t seed : {1U, 2U}) {
    const double difference = largest_difference(attention.template run<kFast, kHopper>(seed), expected);
    CHECK_MESSAGE(difference < tolerance<T>(),
                  "head_dim " + std::to_string(head_dim) + " group " + std::to_string(problem.group) + " window " +
                      std::to_string(problem.window) + ": differs by " + shown(difference));
  }
  CHECK_EQ(attention.parts > 0, split);
}

}  // namespace

TEST("cuda attention on the host: decode on tensor cores") {
  check<__half, 64>({4, 2, 0, 16, 0, 1, {1, 17, 64, 130}, {1, 1, 1, 1}}, 64, false);
  check<__nv_bfloat16, 128>({1, 2, 0, 5, 0, 1, {33, 1}, {1, 1}}, 128, false);
  check<__half, 96>({16, 1, 0, 32, 40, 1, {100, 20}, {1, 1}}, 96, false);
  check<__half, 256>({3, 1, 0, 1, 0, 1, {70}, {5}}, 256, false);
  check<__half, 128>({8, 2, 0, 16, 0, 8, {700, 3, 300}, {1, 1, 2}}, 128, true);
  check<__nv_bfloat16, 64>({5, 1, 0, 48, 301, 4, {517}, {3}}, 64, true);
}

TEST("cuda attention on the host: prefill on tensor cores") {
  check<__half, 64>({4, 1, 0, 16, 0, 1, {90, 7}, {90, 5}}, 64, false);
  check<__nv_bfloat16, 128>({1, 2, 0, 7, 0, 1, {150, 40}, {150, 17}}, 128, false);
  check<__half, 96>({2, 1, 0, 32, 33, 1, {200}, {100}}, 96, false);
  check<__half, 256>({7, 1, 0, 64, 0, 1, {75}, {13}}, 256, false);
  check<__half, 128>({17, 1, 0, 16, 0, 4, {900}, {2}}, 128, true);
}

TEST("cuda attention on the host: prefill with the products of Hopper") {
  check<__half, 64, true>({4, 1, 0, 16, 0, 1, {90, 7}, {90, 5}}, 64, false);
  check<__nv_bfloat16, 128, true>({1, 2, 0, 7, 0, 1, {300, 40, 130}, {150, 17, 130}}, 128, false);
  check<__half, 96, true>({2, 1, 0, 32, 33, 1, {330}, {150}}, 96, false);
  check<__nv_bfloat16, 64, true>({8, 1, 0, 1, 200, 1, {700}, {40}}, 64, false);
  check<__half, 128, true>({17, 1, 0, 48, 0, 4, {900}, {2}}, 128, true);
}

TEST("cuda attention on the host: any head_dim and float32") {
  check<float, 0>({1, 1, 0, 1, 0, 1, {1}, {1}}, 1, false);
  check<float, 0>({5, 1, 0, 3, 0, 1, {70, 10}, {20, 10}}, 7, false);
  check<__half, 0>({4, 2, 0, 5, 33, 1, {129, 1, 66}, {100, 1, 2}}, 33, false);
  check<__nv_bfloat16, 0>({2, 1, 0, 7, 5, 1, {33}, {33}}, 300, false);
  check<float, 0>({4, 2, 0, 16, 0, 8, {600, 30}, {1, 1}}, 64, true);
}

TEST("cuda attention on the host: a cache of float8, decode") {
  check<__half, 64, false, Float8>({4, 2, 0, 16, 0, 1, {1, 17, 64, 130}, {1, 1, 1, 1}}, 64, false);
  check<__nv_bfloat16, 128, false, Float8>({1, 2, 0, 5, 0, 1, {33, 1}, {1, 1}}, 128, false);
  check<__half, 96, false, Float8>({16, 1, 0, 32, 40, 1, {100, 20}, {1, 1}}, 96, false);
  check<__half, 256, false, Float8>({3, 1, 0, 1, 0, 1, {70}, {5}}, 256, false);
  check<__half, 128, false, Float8>({8, 2, 0, 16, 0, 8, {700, 3, 300}, {1, 1, 2}}, 128, true);
  check<__nv_bfloat16, 64, false, Float8>({5, 1, 0, 48, 301, 4, {517}, {3}}, 64, true);
}

TEST("cuda attention on the host: a cache of float8, prefill") {
  check<__half, 64, false, Float8>({4, 1, 0, 16, 0, 1, {90, 7}, {90, 5}}, 64, false);
  check<__nv_bfloat16, 128, false, Float8>({1, 2, 0, 7, 0, 1, {150, 40}, {150, 17}}, 128, false);
  check<__half, 96, false, Float8>({2, 1, 0, 32, 33, 1, {200}, {100}}, 96, false);
  check<__half, 256, false, Float8>({7, 1, 0, 64, 0, 1, {75}, {13}}, 256, false);
  check<__half, 128, false, Float8>({17, 1, 0, 16, 0, 4, {900}, {2}}, 128, true);
}

TEST("cuda attention on the host: a cache of float8, any head_dim and float32") {
  check<float, 0, false, Float8>({5, 1, 0, 3, 0, 1, {70, 10}, {20, 10}}, 7, false);
  check<__half, 0, false, Float8>({4, 2, 0, 5, 33, 1, {129, 1, 66}, {100, 1, 2}}, 33, false);
  check<__nv_bfloat16, 0, false, Float8>({2, 1, 0, 7, 5, 1, {33}, {33}}, 300, false);
  check<float, 0, false, Float8>({4, 2, 0, 16, 0, 8, {600, 30}, {1, 1}}, 64, true);
}

}  // namespace vitrine::test
