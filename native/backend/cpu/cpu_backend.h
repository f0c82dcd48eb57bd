// The CPU backend's door: instruction sets, the thread pool and the factory. Everything else is inside backend/cpu.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "core/thread_pool.h"

namespace vitrine {

enum class CpuIsa : uint8_t { kAvx2, kAvx512, kAvx512Bf16, kAmxBf16 };

std::string_view cpu_isa_name(CpuIsa isa);  ///< "avx2", "avx512", "avx512_bf16", "amx_bf16"
std::optional<CpuIsa> parse_cpu_isa(std::string_view name);
/// Multiplies pairs of bfloat16: then x is rounded to bfloat16 for a product with a bfloat16 weight.
bool has_bf16_products(CpuIsa isa);
/// What a processor has, of what the kernels use.
struct CpuFeatures {
  bool avx2, fma, f16c;
  bool avx512f, avx512bw, avx512vl, avx512dq;
  bool avx512bf16;
  bool amx_tile, amx_bf16;
};
/// Instruction sets that a processor can run, slowest first; empty below AVX2 + FMA + F16C.
std::vector<CpuIsa> cpu_isas_of(const CpuFeatures& features);
/// Those of this processor (and the OS). Asks Linux for the tiles of AMX, which it gives to a process as a whole.
std::vector<CpuIsa> supported_cpu_isas();
/// Throws Error, in one line, when nothing is supported or `isa` is not.
void check_cpu_isa(CpuIsa isa, const std::vector<CpuIsa>& supported);
/// The best of them. Throws Error when nothing is supported.
CpuIsa best_cpu_isa(const std::vector<CpuIsa>& supported);

/// Throws Error when `isa` is not supported here. The pool must outlive the backend.
std::unique_ptr<Backend> make_cpu_backend(CpuIsa isa, ThreadPool& pool);

struct CpuLimits {
  int threads = 0;
  double read_bytes_per_second = 0;
  double float32_flops_per_second = 0;
  double bfloat16_flops_per_second = 0;  ///< 0 where has_bf16_products() is false
};
/// Measures the machine with the pool's threads for about `seconds`.
CpuLimits measure_cpu_limits(ThreadPool& pool, double seconds);

}  // namespace vitrine
