// Mixture of experts: routing and the chosen experts.
#include "bench/families.h"

#include <algorithm>
#include <cstring>

#include "op_cases.h"

namespace vitrine::bench {
namespace {

/// Different ids among those in the device's memory.
size_t distinct(OpBench& bench, int32_t* ids, size_t count) {
  std::vector<float> words(count);  // bits of the ids
  if (bench.on_gpu()) {
    bench.backend().download({ids, DType::kFloat32, 1, static_cast<int64_t>(count)}, words.data());
    bench.backend().synchronize();
  } else {
    std::memcpy(words.data(), ids, count * sizeof(int32_t));
  }
  std::vector<int32_t> found(count);
  std::memcpy(found.data(), words.data(), count * sizeof(int32_t));
  std::sort(found.begin(), found.end());
  return static_cast<size_t>(std::unique(found.begin(), found.end()) - found.begin());
}

std::vector<test::MoeCase> moe_cases(const OpBench& bench) {
  if (bench.options().test_cases) return test::moe_cases();
  return bench.on_gpu() ? test::moe_gpu_bench_cases() : test::moe_bench_cases();
}

}  // namespace

void bench_moe(OpBench& bench) {
  for (const test::MoeCase& shape : moe_cases(bench)) {
    const std::string name = "moe " + std::string(dtype_name(bench.stored())) + " t" + std::to_string(shape.tokens) +
                             " h" + std::to_string(shape.hidden) + " i" + std::to_string(shape.inner) + " e" +
                             std::to_string(shape.experts) + "/" + std::to_string(shape.top_k);
    if (!bench.wanted(name) || shape.tokens == 0) continue;
    bench.free_inputs();
    std::vector<std::unique_ptr<Weight>> parameters;
    std::vector<ExpertWeights> experts;
    for (int32_t e = 0; e < shape.experts; ++e) {
      parameters.push_back(bench.weight(2 * shape.inner, shape.hidden, bench.stored()));
      parameters.push_back(bench.weight(shape.hidden, shape.inner, bench.stored()));
      experts.push_back({parameters[parameters.size() - 2].get(), parameters.back().get()});
    }
    const Tensor x = bench.tensor(shape.tokens, shape.hidden);
    const Tensor router = bench.tensor(shape.tokens, shape.experts);
    const Tensor out = bench.result(shape.tokens, shape.hidden);
    const auto choices = static_cast<size_t>(shape.tokens * shape.top_k);
    const MoeRouting routing{static_cast<int32_t*>(bench.memory(nullptr, choices * sizeof(int32_t))),
                             static_cast<float*>(bench.memory(nullptr, choices * sizeof(float))), shape.experts,
                             shape.top_k, shape.normalize};
    bench.backend().moe_route(router, routing);
    const size_t used = distinct(bench, routing.expert_ids, choices);
    const double size = 3.0 * static_cast<double>(shape.hidden * shape.inner);
    bench.measure(name,
                  {static_cast<double>(used) * size * static_cast<double>(dtype_size(bench.stored())),
                   2 * size * static_cast<double>(choices), bench.subject().pairs(bench.stored())},
                  [&] {
                    bench.backend().moe_route(router, routing);
                    bench.backend().moe_experts(x, routing, experts, Activation::kSilu, out);
                  });
  }
}

}  // namespace vitrine::bench
