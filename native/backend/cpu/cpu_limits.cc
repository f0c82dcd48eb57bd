// measure_cpu_limits: medians of LimitProbe.
#include <algorithm>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/limit_probe.h"
#include "core/clock.h"

namespace vitrine {
namespace {

/// Median of repeated measurements for about `seconds`, at least 3.
template <class Measure>
double median_rate(double seconds, Measure measure) {
  std::vector<double> rates;
  const int64_t end = monotonic_ns() + static_cast<int64_t>(seconds * 1e9);
  measure();  // wakes the threads and the clock
  while (rates.size() < 3 || monotonic_ns() < end) rates.push_back(measure());
  const auto middle = rates.begin() + static_cast<int64_t>(rates.size() / 2);
  std::nth_element(rates.begin(), middle, rates.end());
  return *middle;
}

}  // namespace

CpuLimits measure_cpu_limits(ThreadPool& pool, double seconds) {
  LimitProbe probe(pool);
  CpuLimits limits;
  limits.threads = pool.size();
  limits.read_bytes_per_second = median_rate(seconds / 2, [&] { return probe.read_rate(); });
  limits.float32_flops_per_second = median_rate(seconds / 4, [&] { return probe.float32_rate(); });
  limits.bfloat16_flops_per_second = median_rate(seconds / 4, [&] { return probe.bfloat16_rate(); });
  return limits;
}

}  // namespace vitrine
