// Sampling and log-probabilities on rows of logits.
#include "bench/families.h"
#include "op_cases.h"

namespace vitrine::bench {
namespace {

constexpr int32_t kHistory = 256;  ///< tokens that penalties count
constexpr int32_t kTopLogprobs = 5;
constexpr int32_t kWatched = 16;  ///< tokens whose log-probabilities are asked for by name

/// The rows are read once.
Work one_pass(const OpBench& bench, const Tensor& logits) {
  return {bench.element_bytes() * static_cast<double>(logits.rows) * static_cast<double>(logits.cols), 0, false};
}

std::vector<int32_t> token_ids(int32_t count, int64_t vocab) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(static_cast<int64_t>(i) * 104729 % vocab);
  return ids;
}

void bench_sampling(OpBench& bench, const test::SamplingCase& shape, const Tensor& logits, const std::string& name) {
  const std::vector<int32_t> history = token_ids(kHistory, logits.cols);
  SampleParams one;
  one.temperature = shape.temperature;
  one.top_k = shape.top_k;
  one.top_p = shape.top_p;
  one.min_p = shape.min_p;
  if (shape.penalties) {
    one.history = history;
    one.repetition_penalty = 1.3f;
    one.frequency_penalty = 0.4f;
    one.presence_penalty = 0.5f;
  }
  std::vector<int32_t> sampled(static_cast<size_t>(logits.rows));
  std::vector<SampleRequest> requests;
  for (size_t i = 0; i < sampled.size(); ++i) requests.push_back({static_cast<int32_t>(i), one, &sampled[i], nullptr});
  const auto sample = [&] {
    bench.backend().plan_sampling(requests, {});
    bench.backend().sample(logits, 0, requests.size());
    bench.backend().synchronize();
  };
  bench.measure(name, one_pass(bench, logits), sample, Timing::kCalled);
}

void bench_logprobs(OpBench& bench, const Tensor& logits, const std::string& name) {
  const auto rows = static_cast<size_t>(logits.rows);
  const std::vector<int32_t> watched = token_ids(kWatched, logits.cols);
  std::vector<float> targets(rows);
  std::vector<int32_t> top_ids(rows * kTopLogprobs);
  std::vector<float> top(top_ids.size());
  std::vector<float> watched_values(rows * kWatched);
  std::vector<LogprobRequest> requests;
  for (size_t i = 0; i < rows; ++i) {
    requests.push_back({static_cast<int32_t>(i), 7, kTopLogprobs, watched, &targets[i], &top_ids[i * kTopLogprobs],
                        &top[i * kTopLogprobs], &watched_values[i * kWatched]});
  }
  const auto logprobs = [&] {
    bench.backend().plan_sampling({}, requests);
    bench.backend().logprobs(logits, 0, requests.size());
    bench.backend().synchronize();
  };
  bench.measure(name, one_pass(bench, logits), logprobs, Timing::kCalled);
}

}  // namespace

void bench_logits(OpBench& bench) {
  const bool test_cases = bench.options().test_cases;
  const int64_t vocab = test_cases ? 1000 : 128256;
  for (const int64_t rows : {1, 32}) {
    bench.free_inputs();
    const std::string suffix = " v" + std::to_string(vocab) + " m" + std::to_string(rows);
    Tensor logits;  // made when the first wanted case comes
    const auto rows_of_logits = [&] { return logits.data == nullptr ? logits = bench.tensor(rows, vocab) : logits; };
    for (const test::SamplingCase& shape : test_cases ? test::sampling_cases() : test::sampling_bench_cases()) {
      const std::string name = std::string("sample ") + shape.name + suffix;
      if (bench.wanted(name)) bench_sampling(bench, shape, rows_of_logits(), name);
    }
    const std::string name = "logprobs top " + std::to_string(kTopLogprobs) + suffix;
    if (bench.wanted(name)) bench_logprobs(bench, rows_of_logits(), name);
  }
}

}  // namespace vitrine::bench
