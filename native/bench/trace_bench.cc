// What tracing costs: nanoseconds of one scope or range, and nothing else around it.
//   trace_bench                                              no tool
//   NVTX_INJECTION64_PATH=build/tests/nvtx_log_tool.so trace_bench    a tool that does nothing
#include <algorithm>
#include <cstdio>
#include <vector>

#include "core/clock.h"
#include "model/decoder_sites.h"
#include "profiler/nvtx.h"
#include "profiler/tracer.h"
#include "tiny_model.h"

namespace vitrine::bench {
namespace {

constexpr int kScopesPerStep = 60;
constexpr int kSteps = 400;
constexpr int kRounds = 51;

/// Median over rounds of the time of one call, in nanoseconds.
template <class Step>
void report(const char* what, Step step) {
  std::vector<double> times;
  for (int round = 0; round < kRounds; ++round) {
    const int64_t start = monotonic_ns();
    for (int i = 0; i < kSteps; ++i) step();
    times.push_back(static_cast<double>(monotonic_ns() - start) / (kSteps * kScopesPerStep));
  }
  std::nth_element(times.begin(), times.begin() + kRounds / 2, times.end());
  std::printf("%-44s %8.2f ns\n", what, times[kRounds / 2]);
}

/// The scopes of a step with `site`, the parts around them included.
void run_step(Tracer& tracer, const TraceSite& site, const Tensor& x, int32_t profile) {
  std::vector<int32_t> words(layout::kHeaderWords);
  words[static_cast<size_t>(layout::BatchHeader::kProfile)] = profile;
  static std::vector<SpanRecord> chunk;
  StepTrace step(tracer, ForwardBatchView(words), monotonic_ns());
  for (int i = 0; i < kScopesPerStep; ++i) {
    const TraceScope scope(tracer, site, x);
    asm volatile("" : : "r"(&scope) : "memory");
  }
  step.finish(chunk);
}

void run() {
  ThreadPool pool(1);
  pool.pin_caller();
  const ModelSpec spec = test::tiny_spec();
  const bool tool = nvtx::tool_attached();
  std::printf("%s\n", tool ? "an NVTX tool is attached" : "no NVTX tool is attached");
  Tracer silent(pool, false);
  Tracer marking(pool, true);
  const DecoderSites sites = decoder_sites(spec, DType::kFloat32, silent);
  const TraceSite& op = sites.layers[1].qkv_proj;
  const TraceSite& block = sites.layers[1].self_attn;
  const Tensor x{nullptr, DType::kFloat32, 8, spec.hidden_size};
  report("clock reading", [] {
    for (int i = 0; i < kScopesPerStep; ++i) asm volatile("" : : "r"(monotonic_ns()) : "memory");
  });
  report("nvtx push and pop", [] {
    for (int i = 0; i < kScopesPerStep; ++i) {
      nvtx::push("range");
      nvtx::pop();
    }
  });
  report("scope: off", [&] { run_step(silent, op, x, 0); });
  report("scope: markers on, module range", [&] { run_step(marking, op, x, 0); });
  report("scope: recorded op", [&] { run_step(silent, op, x, 1); });
  report("scope: recorded block", [&] { run_step(silent, block, x, 1); });
}

}  // namespace
}  // namespace vitrine::bench

int main() { vitrine::bench::run(); }
