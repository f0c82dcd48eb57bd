// The loops themselves are kernels; here they get their data and their clock.
#include "backend/cpu/limit_probe.h"

#include <unistd.h>

#include <algorithm>

#include "backend/cpu/kernel_table.h"
#include "core/clock.h"

namespace vitrine {
namespace {

constexpr size_t kReadBytes = size_t{512} << 20;
constexpr int64_t kPartsPerThread = 8;
constexpr int64_t kRounds = 200'000;

size_t read_buffer_bytes() {
  const auto free = static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return std::clamp(free / 4, size_t{16} << 20, kReadBytes);
}

}  // namespace

LimitProbe::LimitProbe(ThreadPool& pool)
    : pool_(pool),
      kernels_(kernels_for(best_cpu_isa(supported_cpu_isas()))),
      buffer_(read_buffer_bytes()),
      parts_(kPartsPerThread * pool.size()),
      part_bytes_(buffer_.bytes() / static_cast<size_t>(parts_) / 4096 * 4096) {
  char* data = static_cast<char*>(buffer_.data());
  pool_.parallel_for(parts_, [&](int64_t i) {  // untouched pages would all be the one zero page
    std::fill_n(data + static_cast<size_t>(i) * part_bytes_, part_bytes_, static_cast<char>(1));
  });
}

double LimitProbe::read_rate() {
  const char* data = static_cast<const char*>(buffer_.data());
  const int64_t start = monotonic_ns();
  pool_.parallel_for(parts_, [&](int64_t i) {
    sink_ = kernels_.read_bytes(data + static_cast<size_t>(i) * part_bytes_, part_bytes_);
  });
  return static_cast<double>(part_bytes_) * static_cast<double>(parts_) * 1e9 /
         static_cast<double>(monotonic_ns() - start);
}

double LimitProbe::flops_rate(float (*kernel)(int64_t), double flops_per_round) {
  const int64_t start = monotonic_ns();
  pool_.parallel_for(pool_.size(), [&](int64_t) { sink_ = kernel(kRounds); });
  return static_cast<double>(pool_.size() * kRounds) * flops_per_round * 1e9 /
         static_cast<double>(monotonic_ns() - start);
}

double LimitProbe::float32_rate() { return flops_rate(kernels_.float32_flops, kFlopsPerRound); }

double LimitProbe::bfloat16_rate() {
  if (kernels_.bfloat16_flops == nullptr) return 0;
  return flops_rate(kernels_.bfloat16_flops, static_cast<double>(kernels_.bfloat16_flops_per_round));
}

}  // namespace vitrine
