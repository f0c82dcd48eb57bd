// The sampling kernels of the CUDA backend, run thread by thread on the host, against the CPU's sampler.
#include "cuda_emulator.h"

#include <algorithm>
#include <numeric>

#include "backend/cuda/sample.cuh"
#include "core/philox.h"
#include "op_test_support.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

using namespace vitrine::cuda;
using namespace vitrine::cuda::sample_kernels;

/// One row through the kernel, as backend/cuda/sampler.cc launches it.
SampleResult sample_row(const std::vector<float>& logits, const SampleParams& params, uint32_t seed) {
  const auto vocab = static_cast<int64_t>(logits.size());
  SampleRow row{};
  row.uniform = uniform(params.seed, static_cast<uint32_t>(params.position));
  row.temperature = params.temperature;
  row.top_p = params.top_p;
  row.min_p = params.min_p;
  row.frequency_penalty = params.frequency_penalty;
  row.presence_penalty = params.presence_penalty;
  row.repetition_penalty = params.repetition_penalty;
  row.top_k = params.top_k;
  row.history_count = static_cast<int32_t>(params.history.size());
  row.bias_count = static_cast<int32_t>(params.bias_ids.size());
  row.adjusted = params.history.empty() && params.bias_ids.empty() ? -1 : 3;
  int32_t device_token = -7;
  row.device_token = &device_token;
  std::vector<float> adjusted(logits.size());
  std::vector<int32_t> counts(logits.size());
  SampleResult result{-7, -7};
  const SampleBatch batch{&row,
                          1,
                          params.history.data(),
                          params.bias_ids.data(),
                          params.bias_values.data(),
                          adjusted.data(),
                          counts.data(),
                          &result,
                          3};
  cuda_emulator::launch({1}, {kThreads}, 0, seed, [&] { sample_kernel<float>(logits.data(), vocab, batch); });
  CHECK_EQ(device_token, std::max(result.token, 0));  // the next step embeds it, whatever became of this one
  return result;
}

std::vector<SampleParams> settings() {
  static const std::vector<int32_t> history = {3, 5, 3, 3, 8, 900};
  static const std::vector<int32_t> bias_ids = {1, 7};
  static const std::vector<float> bias_values = {-INFINITY, 2.0f};
  std::vector<SampleParams> all;
  const auto add = [&](float temperature, int32_t top_k, float top_p, float min_p) -> SampleParams& {
    SampleParams& params = all.emplace_back();
    params.temperature = temperature;
    params.top_k = top_k;
    params.top_p = top_p;
    params.min_p = min_p;
    return params;
  };
  add(0, -1, 1, 0);
  add(1, -1, 1, 0);
  add(0.2f, -1, 1, 0);
  add(1, -1, 1, 0.2f);
  add(1.5f, 1, 1, 0);
  add(1.5f, 5, 1, 0);
  add(1, 1200, 0.95f, 0);  // more than the list in shared memory holds
  add(1, -1, 0.7f, 0);
  add(1, -1, 1e-6f, 0);
  add(50, -1, 0.9f, 0);
  add(0.9f, 40, 0.8f, 0.1f);
  add(1e-40f, -1, 0.5f, 0);
  for (const float temperature : {0.0f, 0.8f}) {
    SampleParams& penalized = add(temperature, 30, 1, 0);
    penalized.history = history;
    penalized.repetition_penalty = 1.3f;
    penalized.frequency_penalty = 0.4f;
    penalized.presence_penalty = 0.5f;
    penalized.bias_ids = bias_ids;
    penalized.bias_values = bias_values;
  }
  return all;
}

}  // namespace

TEST("cuda sampling on the host: the tokens of the CPU's sampler") {
  ThreadPool pool(1);
  const auto cpu = make_cpu_backend(supported_cpu_isas().back(), pool);
  int draws = 0;
  int different = 0;
  for (const int64_t vocab : {int64_t{1}, int64_t{37}, int64_t{1500}}) {
    auto logits = random_floats(vocab, 21, 4.0f);
    if (vocab > 100) logits[12] = logits[4] = logits[40];  // ties
    for (SampleParams params : settings()) {
      if (vocab < 1000 && !params.history.empty()) continue;
      for (int32_t position = 0; position < 6; ++position) {
        params.seed = static_cast<uint64_t>(vocab) << 20;
        params.position = position;
        const SampleResult result = sample_row(logits, params, static_cast<uint32_t>(position));
        CHECK_EQ(result.status, static_cast<int32_t>(kSampled));
        const int32_t row = 0;
        int32_t expected = -1;
        sample_now(*cpu, tensor_of(logits, 1, vocab), {&row, 1}, {&params, 1}, &expected);
        ++draws;
        different += result.token != expected;
      }
    }
  }
  CHECK_MESSAGE(different <= 1, shown(different) + " of " + shown(draws) + " tokens differ");
}

TEST("cuda sampling on the host: many equal logits are told apart by their ids") {
  const std::vector<float> logits(1700, 1.5f);
  SampleParams params;
  CHECK_EQ(sample_row(logits, params, 1).token, 0);
  params.temperature = 1;
  for (const int32_t top_k : {1, 3, 700, 1600}) {
    params.top_k = top_k;
    for (int32_t position = 0; position < 4; ++position) {
      params.position = position;
      const double drawn = uniform(params.seed, static_cast<uint32_t>(position)) * top_k;
      CHECK_EQ(sample_row(logits, params, 2).token, static_cast<int32_t>(drawn));
    }
  }
}

TEST("cuda sampling on the host: bad rows are reported") {
  SampleParams params;
  params.temperature = 1;
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    auto logits = random_floats(600, 3);
    logits[577] = bad;
    CHECK_EQ(sample_row(logits, params, 1).status, static_cast<int32_t>(kNonFiniteLogits));
  }
  const auto logits = random_floats(30, 4);
  std::vector<int32_t> ids(30);
  std::iota(ids.begin(), ids.end(), 0);
  std::vector<float> values(30, -INFINITY);
  params.bias_ids = ids;
  params.bias_values = values;
  CHECK_EQ(sample_row(logits, params, 1).status, static_cast<int32_t>(kAllSuppressed));
  values[4] = INFINITY;
  CHECK_EQ(sample_row(logits, params, 1).status, static_cast<int32_t>(kNonFiniteAdjusted));
  values[4] = 0;
  CHECK_EQ(sample_row(logits, params, 1).token, 4);
}

TEST("cuda sampling on the host: log-probabilities and the best tokens, by more than one list") {
  auto logits = random_floats(2600, 5, 12.0f);
  logits[3] = logits[9] = logits[17] = 13.0f;
  double total = 0;
  for (const float x : logits) total += std::exp(double{x} - 13);
  const auto expected = [&](size_t id) { return logits[id] - 13.0 - std::log(total); };
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  for (const int32_t top : {0, 1, 5, 1024, 2600}) {
    const SampleResult sampled[] = {{7, kSampled}, {100, kSampled}};
    const LogprobRow row{0, top == 5 ? -2 : 100, 0, top, 0, 2, 0};  // -2: what the second sample gave
    const int32_t watch[] = {0, 2599};
    int32_t status = -1;
    float target = 0;
    float watched[2];
    std::vector<int32_t> ids(static_cast<size_t>(top) + 1, -5);
    std::vector<float> values(ids.size(), NAN);
    const LogprobBatch batch{&row, 1, watch, &status, &target, ids.data(), values.data(), watched, sampled};
    cuda_emulator::launch({1}, {kThreads}, 0, 9, [&] { logprobs_kernel<float>(logits.data(), 2600, batch); });
    CHECK_EQ(status, static_cast<int32_t>(kSampled));
    CHECK_NEAR(target, expected(100), 4e-6);
    CHECK_NEAR(watched[0], expected(0), 4e-6);
    CHECK_NEAR(watched[1], expected(2599), 4e-6);
    for (size_t i = 0; i < static_cast<size_t>(top); ++i) {
      CHECK_EQ(static_cast<size_t>(ids[i]), order[i]);
      CHECK_NEAR(values[i], expected(order[i]), 4e-6);
    }
    CHECK_EQ(ids.back(), -5);
  }
}

}  // namespace vitrine::test
