// Sampling and log-probabilities on the logits of a large vocabulary.
#include "bench/families.h"

namespace vitrine::bench {

void bench_logits(OpBench& bench) {
  const int64_t vocab = 128256;
  struct Case {
    const char* name;
    float temperature;
    int32_t top_k;
    float top_p, min_p;
  };
  const Case cases[] = {{"sample greedy", 0, -1, 1, 0},
                        {"sample temperature", 1, -1, 1, 0},
                        {"sample top_k 50", 1, 50, 1, 0},
                        {"sample top_p 0.9", 0.1f, -1, 0.9f, 0},
                        {"sample top_k 50 top_p 0.9 min_p 0.05", 0.7f, 50, 0.9f, 0.05f}};
  for (const size_t rows : {size_t{1}, size_t{32}}) {
    bench.free_inputs();
    Tensor x;
    const Work work{bench.element_bytes() * static_cast<double>(rows) * static_cast<double>(vocab), 0, false};
    const std::string suffix = " v" + std::to_string(vocab) + " m" + std::to_string(rows);
    std::vector<int32_t> sampled(rows);
    for (const Case& each : cases) {
      if (!bench.wanted(each.name + suffix)) continue;
      if (x.data == nullptr) x = bench.tensor(static_cast<int64_t>(rows), vocab);
      SampleParams one;
      one.temperature = each.temperature;
      one.top_k = each.top_k;
      one.top_p = each.top_p;
      one.min_p = each.min_p;
      std::vector<SampleRequest> requests;
      for (size_t i = 0; i < rows; ++i) requests.push_back({static_cast<int32_t>(i), one, &sampled[i], nullptr});
      const auto sample = [&] {
        bench.backend().plan_sampling(requests, {});
        bench.backend().sample(x, 0, rows);
        bench.backend().synchronize();
      };
      bench.measure(each.name + suffix, work, sample, Timing::kCalled);
    }
    if (!bench.wanted("logprobs" + suffix)) continue;
    if (x.data == nullptr) x = bench.tensor(static_cast<int64_t>(rows), vocab);
    float target = 0;
    std::vector<int32_t> top(5 * rows);
    std::vector<float> values(5 * rows);
    std::vector<LogprobRequest> requests(rows);
    for (size_t i = 0; i < rows; ++i) {
      requests[i].row = static_cast<int32_t>(i);
      requests[i].top_count = 5;
      requests[i].target_logprob = i == 0 ? &target : nullptr;
      requests[i].top_ids = top.data() + 5 * i;
      requests[i].top_logprobs = values.data() + 5 * i;
    }
    const auto logprobs = [&] {
      bench.backend().plan_sampling({}, requests);
      bench.backend().logprobs(x, 0, rows);
      bench.backend().synchronize();
    };
    bench.measure("logprobs top 5" + suffix, work, logprobs, Timing::kCalled);
  }
}

}  // namespace vitrine::bench
