// measure_cpu_limits: what all threads together read from memory and multiply, with the best kernels of this processor.
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "backend/cpu/aligned_buffer.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/kernel_table.h"
#include "core/check.h"
#include "core/clock.h"

namespace vitrine {
namespace {

constexpr size_t kReadBytes = size_t{512} << 20;
constexpr int64_t kRounds = 200'000;

size_t read_buffer_bytes() {
  const auto free = static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return std::clamp(free / 4, size_t{16} << 20, kReadBytes);
}

/// Median units per second of repeated calls of work(), each doing `units`, for about `seconds` (at least 3 calls).
template <class Work>
double median_rate(double seconds, double units, Work work) {
  std::vector<double> rates;
  const int64_t end = monotonic_ns() + static_cast<int64_t>(seconds * 1e9);
  work();  // wakes the threads and the clock
  while (rates.size() < 3 || monotonic_ns() < end) {
    const int64_t start = monotonic_ns();
    work();
    rates.push_back(units * 1e9 / static_cast<double>(monotonic_ns() - start));
  }
  std::nth_element(rates.begin(), rates.begin() + static_cast<int64_t>(rates.size() / 2), rates.end());
  return rates[rates.size() / 2];
}

}  // namespace

CpuLimits measure_cpu_limits(ThreadPool& pool, double seconds) {
  const std::vector<CpuIsa> isas = supported_cpu_isas();
  require(!isas.empty(), "this processor lacks AVX2, FMA or F16C, which the CPU backend needs");
  const CpuKernels& kernels = kernels_for(isas.back());
  const int64_t threads = pool.size();
  std::atomic<float> sink{0};  // results must be used
  CpuLimits limits;
  limits.threads = pool.size();

  const AlignedBuffer buffer(read_buffer_bytes());
  char* data = static_cast<char*>(buffer.data());
  const int64_t parts = threads * 8;
  const size_t part_bytes = buffer.bytes() / static_cast<size_t>(parts) / 4096 * 4096;
  pool.parallel_for(parts, [&](int64_t i) {  // untouched pages would all be the one zero page
    std::fill_n(data + static_cast<size_t>(i) * part_bytes, part_bytes, static_cast<char>(1));
  });
  limits.read_bytes_per_second =
      median_rate(seconds / 2, static_cast<double>(part_bytes) * static_cast<double>(parts), [&] {
        pool.parallel_for(parts, [&](int64_t i) {
          sink = kernels.read_bytes(data + static_cast<size_t>(i) * part_bytes, part_bytes);
        });
      });

  const double flops =
      static_cast<double>(kRounds) * static_cast<double>(kFlopsPerRound) * static_cast<double>(threads);
  limits.float32_flops_per_second = median_rate(
      seconds / 4, flops, [&] { pool.parallel_for(threads, [&](int64_t) { sink = kernels.float32_flops(kRounds); }); });
  if (kernels.bfloat16_flops != nullptr) {
    limits.bfloat16_flops_per_second = median_rate(seconds / 4, 2 * flops, [&] {
      pool.parallel_for(threads, [&](int64_t) { sink = kernels.bfloat16_flops(kRounds); });
    });
  }
  return limits;
}

}  // namespace vitrine
