// Sampling against a plain sort-everything sampler in double, its distribution, its errors; log-probabilities.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/philox.h"
#include "op_test_support.h"
#include "reference_backend.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

/// Probability of every token after all of SampleParams, by sorting the whole row.
std::vector<double> distribution(const std::vector<float>& logits, const SampleParams& params) {
  std::vector<double> x(logits.begin(), logits.end());
  std::map<int32_t, int> counts;
  for (const int32_t id : params.history) ++counts[id];
  for (const auto& [id, count] : counts) {
    double& value = x[static_cast<size_t>(id)];
    value = value > 0 ? value / params.repetition_penalty : value * params.repetition_penalty;
    value -= params.frequency_penalty * count + params.presence_penalty;
  }
  for (size_t i = 0; i < params.bias_ids.size(); ++i)
    x[static_cast<size_t>(params.bias_ids[i])] += params.bias_values[i];
  std::vector<size_t> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] > x[b]; });
  const double largest = x[order[0]];
  std::vector<double> p(x.size(), 0.0);
  const size_t k = params.top_k > 0 ? std::min<size_t>(static_cast<size_t>(params.top_k), x.size()) : x.size();
  double total = 0;
  for (size_t i = 0; i < k; ++i) total += p[order[i]] = std::exp((x[order[i]] - largest) / params.temperature);
  double before = 0;
  double kept = 0;
  for (size_t i = 0; i < k; ++i) {
    double& value = p[order[i]];
    const double own = value;
    if (before > params.top_p * total || own < params.min_p) value = 0;
    before += own;
    kept += value;
  }
  for (double& value : p) value /= kept;
  return p;
}

struct Setting {
  const char* name;
  SampleParams params;
};

SampleParams with(float temperature, int32_t top_k = -1, float top_p = 1, float min_p = 0) {
  SampleParams params;
  params.temperature = temperature;
  params.top_k = top_k;
  params.top_p = top_p;
  params.min_p = min_p;
  return params;
}

std::vector<Setting> settings() {
  static const std::vector<int32_t> history = {3, 5, 3, 3, 8, 900};
  static const std::vector<int32_t> bias_ids = {1, 7};
  static const std::vector<float> bias_values = {-INFINITY, 2.0f};
  std::vector<Setting> all = {{"temperature", with(1.0f)},
                              {"low temperature", with(0.2f)},
                              {"top_k", with(1.5f, 5)},
                              {"top_k 1", with(1.5f, 1)},
                              {"top_k over vocab", with(1.0f, 5000)},
                              {"large top_k", with(1.0f, 700, 0.95f)},
                              {"top_p", with(1.0f, -1, 0.7f)},
                              {"tiny top_p", with(1.0f, -1, 1e-6f)},
                              {"flat top_p", with(50.0f, -1, 0.9f)},
                              {"min_p", with(1.0f, -1, 1.0f, 0.2f)},
                              {"all filters", with(0.9f, 40, 0.8f, 0.1f)},
                              {"top_p and min_p", with(0.9f, -1, 0.9f, 0.05f)}};
  SampleParams penalized = with(0.8f);
  penalized.history = history;
  penalized.repetition_penalty = 1.3f;
  penalized.frequency_penalty = 0.4f;
  penalized.presence_penalty = 0.5f;
  all.push_back({"penalties", penalized});
  penalized.bias_ids = bias_ids;
  penalized.bias_values = bias_values;
  penalized.top_k = 30;
  all.push_back({"penalties, bias, top_k", penalized});
  return all;
}

std::vector<float> test_logits(int64_t vocab) {
  auto logits = random_floats(vocab, 11, 4.0f);
  if (vocab > 20) logits[12] = logits[4];  // a tie
  return logits;
}

}  // namespace

TEST("sampling: Philox4x32-10 gives the known answers of Random123") {
  const auto words = [](std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
    return philox4x32(counter, key);
  };
  CHECK((words({0, 0, 0, 0}, {0, 0}) == std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  CHECK((words({ones, ones, ones, ones}, {ones, ones}) ==
         std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  CHECK((words({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
         std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
  for (uint32_t i = 0; i < 1000; ++i) CHECK(uniform(7, i) > 0 && uniform(7, i) < 1);
}

OP_TEST("sampling: every setting draws from its distribution") {
  constexpr int kDraws = 4000;
  for (const int64_t vocab : {int64_t{1}, int64_t{37}, int64_t{1000}}) {
    for (const Setting& setting : settings()) {
      if (vocab < 1000 && !setting.params.history.empty()) continue;
      for_each_backend(1, [&](Backend& backend, const std::string& isa) {
        auto logits = rounded(test_logits(vocab), backend.activation_dtype());
        const auto expected = distribution(logits, setting.params);
        std::vector<int> counts(static_cast<size_t>(vocab));
        std::vector<int32_t> rows(kDraws, 0);
        std::vector<SampleParams> params(kDraws, setting.params);
        std::vector<int32_t> sampled(kDraws, -1);
        for (int i = 0; i < kDraws; ++i) {
          params[static_cast<size_t>(i)].seed = 1234567890123ULL + static_cast<uint64_t>(i % 7);
          params[static_cast<size_t>(i)].position = i / 7;
        }
        sample_now(backend, tensor_of(logits, 1, vocab), rows, params, sampled.data());
        for (const int32_t id : sampled) ++counts[static_cast<size_t>(id)];
        double chi_square = 0;  // over tokens expected at least 5 times, the others together
        double rest_expected = 0;
        int rest = 0;
        int cells = 0;
        for (size_t i = 0; i < expected.size(); ++i) {
          const double mean = expected[i] * kDraws;
          if (expected[i] == 0)
            CHECK_MESSAGE(counts[i] == 0, isa + " " + setting.name + ": impossible token " + shown(i));
          if (mean < 5) {
            rest_expected += mean;
            rest += counts[i];
            continue;
          }
          chi_square += (counts[i] - mean) * (counts[i] - mean) / mean;
          ++cells;
        }
        if (rest_expected > 5) chi_square += (rest - rest_expected) * (rest - rest_expected) / rest_expected;
        const double limit = cells + 5 * std::sqrt(2.0 * cells) + 10;  // far out in the tail; the draws are fixed
        CHECK_MESSAGE(chi_square < limit, isa + " " + setting.name + ": chi square " + shown(chi_square) + " of " +
                                              shown(cells) + " cells");
      });
    }
  }
}

OP_TEST("sampling: a token depends on logits, parameters, seed and position alone") {
  constexpr int64_t kVocab = 1000;
  constexpr int kRows = 64;
  auto logits = random_floats(kVocab * kRows, 12, 4.0f);
  std::vector<SampleParams> params;
  std::vector<int32_t> rows;
  for (int i = 0; i < kRows; ++i) {
    const auto all = settings();
    params.push_back(all[static_cast<size_t>(i) % all.size()].params);
    params.back().seed = static_cast<uint64_t>(i) << 30;
    params.back().position = i * 3;
    rows.push_back(kRows - 1 - i);
  }
  std::vector<int32_t> first(kRows);
  for (const int threads : {1, 2, 3}) {
    size_t seen = 0;
    std::vector<int32_t> sampled(kRows, -1);
    for_each_backend(threads, [&](Backend& backend, const std::string& isa) {
      sample_now(backend, tensor_of(logits, kRows, kVocab), rows, params, sampled.data());
      for (size_t i = 0; i < kRows; ++i) {
        int32_t alone = -1;
        sample_now(backend, tensor_of(logits, kRows, kVocab), {&rows[i], 1}, {&params[i], 1}, &alone);
        CHECK_MESSAGE(alone == sampled[i], isa + " row " + shown(i));
      }
      if (seen++ == 0 && threads == 1) first = sampled;
      if (seen == 1) CHECK(sampled == first);
    });
  }
}

OP_TEST("sampling: the tokens are the same on the CPU and on the device under test") {
  constexpr int64_t kVocab = 1000;
  constexpr int kRows = 256;
  ThreadPool pool(1);
  const auto cpu = make_cpu_backend(supported_cpu_isas().back(), pool);
  for_each_backend(1, [&](Backend& backend, const std::string& name) {
    auto logits = rounded(random_floats(kVocab * kRows, 14, 4.0f), backend.activation_dtype());
    std::vector<SampleParams> params;
    std::vector<int32_t> rows;
    const auto all = settings();
    for (int i = 0; i < kRows; ++i) {
      params.push_back(all[static_cast<size_t>(i) % all.size()].params);
      params.back().seed = static_cast<uint64_t>(i) * 77;
      params.back().position = i;
      rows.push_back(i);
    }
    std::vector<int32_t> tokens(kRows), expected(kRows);
    sample_now(backend, tensor_of(logits, kRows, kVocab), rows, params, tokens.data());
    sample_now(*cpu, tensor_of(logits, kRows, kVocab), rows, params, expected.data());
    int different = 0;
    for (size_t i = 0; i < kRows; ++i) different += tokens[i] != expected[i];
    // Weights have other last bits there: a random number may fall just beside a boundary.
    CHECK_MESSAGE(different <= 1, name + ": " + shown(different) + " tokens differ");
  });
}

OP_TEST("sampling: greedy takes the lowest id among the largest, after penalties and bias") {
  for_each_backend(1, [](Backend& backend, const std::string& isa) {
    for (const int64_t vocab : {1, 5, 16, 33, 1000}) {
      std::vector<float> logits(static_cast<size_t>(vocab), -1.0f);
      const int32_t row = 0;
      int32_t id = -1;
      SampleParams params;
      const auto sample = [&] {
        sample_now(backend, tensor_of(logits, 1, vocab), {&row, 1}, {&params, 1}, &id);
        return id;
      };
      CHECK_EQ(sample(), 0);
      logits[static_cast<size_t>(vocab / 2)] = logits[static_cast<size_t>(vocab - 1)] = 3.0f;
      CHECK_MESSAGE(sample() == vocab / 2, isa);
      const std::vector<int32_t> ids = {static_cast<int32_t>(vocab / 2)};
      const std::vector<float> values = {-0.5f};
      if (vocab == 1) continue;
      params.bias_ids = ids;
      params.bias_values = values;
      CHECK_EQ(sample(), static_cast<int32_t>(vocab - 1));
      params.bias_ids = {};
      params.history = ids;
      params.presence_penalty = 0.1f;
      CHECK_EQ(sample(), static_cast<int32_t>(vocab - 1));
    }
  });
}

OP_TEST("sampling: temperatures near 0 and very large ones") {
  for_each_backend(1, [](Backend& backend, const std::string& isa) {
    auto logits = rounded(test_logits(500), backend.activation_dtype());
    const auto best = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    const int32_t row = 0;
    for (const float temperature : {1e-40f, 1e-20f, 1e-4f}) {
      for (const float top_p : {1.0f, 0.5f}) {
        int32_t id = -1;
        const SampleParams params = with(temperature, -1, top_p);
        sample_now(backend, tensor_of(logits, 1, 500), {&row, 1}, {&params, 1}, &id);
        CHECK_MESSAGE(id == best, isa + " " + shown(temperature));
      }
    }
    int32_t id = -1;
    const SampleParams params = with(1e30f);
    sample_now(backend, tensor_of(logits, 1, 500), {&row, 1}, {&params, 1}, &id);
    CHECK(id >= 0 && id < 500);
  });
}

OP_TEST("sampling: non-finite logits and a wholly suppressed row are errors, logits stay as they were") {
  for_each_backend(2, [](Backend& backend, const std::string& isa) {
    const int32_t rows[] = {0, 1};
    int32_t sampled[2];
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      for (const size_t at : {size_t{0}, size_t{15}, size_t{16}, size_t{40}, size_t{98}}) {
        auto logits = test_logits(2 * 99);
        logits[99 + at] = bad;
        for (const SampleParams& each : {with(0), with(1), with(1, 5), with(1, -1, 0.5f)}) {
          const SampleParams params[] = {each, each};
          CHECK_THROWS_WITH(sample_now(backend, tensor_of(logits, 2, 99), rows, params, sampled),
                            "non-finite logits in row 1");
        }
        LogprobRequest request;
        request.row = 1;
        CHECK_THROWS_WITH(logprobs_now(backend, tensor_of(logits, 2, 99), {&request, 1}), "non-finite logits in row 1");
      }
    }
    auto logits = test_logits(30);
    const auto before = logits;
    std::vector<int32_t> ids(30);
    std::iota(ids.begin(), ids.end(), 0);
    const std::vector<float> suppressed(30, -INFINITY);
    for (const float temperature : {0.0f, 1.0f}) {
      SampleParams params = with(temperature);
      params.bias_ids = ids;
      params.bias_values = suppressed;
      CHECK_THROWS_WITH(sample_now(backend, tensor_of(logits, 1, 30), {rows, 1}, {&params, 1}, sampled),
                        "every token of row 0 is suppressed");
      params.bias_ids = std::span(ids).first(29);
      params.bias_values = std::span(suppressed).first(29);
      for (const int32_t top_k : {-1, 7}) {
        params.top_k = top_k;
        for (const float top_p : {1.0f, 0.9f}) {
          params.top_p = top_p;
          sample_now(backend, tensor_of(logits, 1, 30), {rows, 1}, {&params, 1}, sampled);
          CHECK_MESSAGE(sampled[0] == 29, isa);
        }
      }
    }
    CHECK(same_bits(logits, before));
  });
}

OP_TEST("sampling: log-probabilities equal the reference backend's") {
  const auto reference = make_reference_backend();
  for (const int64_t vocab : {1, 30, 1000, 40001}) {
    constexpr int kRows = 5;
    for_each_backend(2, [&](Backend& backend, const std::string& isa) {
      auto logits = rounded(random_floats(vocab * kRows, 13, 12.0f), backend.activation_dtype());
      if (vocab > 20) logits[3] = logits[9] = logits[17] = 13.0f;  // ties at the top
      for (const int32_t top : {0, 1, 5, 40}) {
        if (top > vocab) continue;
        struct Result {
          std::vector<float> target = std::vector<float>(kRows), top, watch;
          std::vector<int32_t> ids;
        };
        const std::vector<int32_t> watch = {0, static_cast<int32_t>(vocab - 1), static_cast<int32_t>(vocab / 2)};
        const auto run = [&](Backend& which) {
          Result result;
          result.top.resize(static_cast<size_t>(kRows * top));
          result.ids.resize(result.top.size());
          result.watch.resize(watch.size() * kRows);
          std::vector<LogprobRequest> requests;
          for (int i = 0; i < kRows; ++i) {
            requests.push_back({kRows - 1 - i, static_cast<int32_t>(i * 7 % vocab), top, watch,
                                &result.target[static_cast<size_t>(i)], result.ids.data() + i * top,
                                result.top.data() + i * top, result.watch.data() + i * 3});
          }
          logprobs_now(which, tensor_of(logits, kRows, vocab), requests);
          return result;
        };
        const Result result = run(backend);
        const Result expected = run(*reference);
        CHECK_MESSAGE(result.ids == expected.ids, isa + " top " + shown(top) + " of " + shown(vocab));
        CHECK(largest_difference(result.target, expected.target) < 4e-6);
        CHECK(largest_difference(result.top, expected.top) < 4e-6);
        CHECK(largest_difference(result.watch, expected.watch) < 4e-6);
      }
    });
  }
}

}  // namespace vitrine::test
