// Names and detection of the instruction sets. __builtin_cpu_supports also asks the system whether it saves the
// registers.
#include <algorithm>

#include "backend/cpu/cpu_backend.h"
#include "core/check.h"

namespace vitrine {

std::string_view cpu_isa_name(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx2: return "avx2";
    case CpuIsa::kAvx512: return "avx512";
    case CpuIsa::kAvx512Bf16: return "avx512_bf16";
  }
  return "?";
}

std::optional<CpuIsa> parse_cpu_isa(std::string_view name) {
  for (const CpuIsa isa : {CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16}) {
    if (cpu_isa_name(isa) == name) return isa;
  }
  return std::nullopt;
}

std::vector<CpuIsa> cpu_isas_of(const CpuFeatures& features) {
  std::vector<CpuIsa> isas;
  if (!features.avx2 || !features.fma || !features.f16c) return isas;
  isas.push_back(CpuIsa::kAvx2);
  if (!features.avx512f || !features.avx512bw || !features.avx512vl || !features.avx512dq) return isas;
  isas.push_back(CpuIsa::kAvx512);
  if (features.avx512bf16) isas.push_back(CpuIsa::kAvx512Bf16);
  return isas;
}

std::vector<CpuIsa> supported_cpu_isas() {
  __builtin_cpu_init();
  CpuFeatures features{};
  features.avx2 = __builtin_cpu_supports("avx2");
  features.fma = __builtin_cpu_supports("fma");
  features.f16c = __builtin_cpu_supports("f16c");
  features.avx512f = __builtin_cpu_supports("avx512f");
  features.avx512bw = __builtin_cpu_supports("avx512bw");
  features.avx512vl = __builtin_cpu_supports("avx512vl");
  features.avx512dq = __builtin_cpu_supports("avx512dq");
#ifdef VITRINE_EMULATE_BF16
  features.avx512bf16 = true;
#else
  features.avx512bf16 = __builtin_cpu_supports("avx512bf16");
#endif
  return cpu_isas_of(features);
}

CpuIsa best_cpu_isa(const std::vector<CpuIsa>& supported) {
  require(!supported.empty(), "this processor lacks AVX2, FMA or F16C, which the CPU backend needs");
  return supported.back();
}

void check_cpu_isa(CpuIsa isa, const std::vector<CpuIsa>& supported) {
  const CpuIsa best = best_cpu_isa(supported);
  require(std::find(supported.begin(), supported.end(), isa) != supported.end(), "this processor cannot run ",
          cpu_isa_name(isa), " code; its best is ", cpu_isa_name(best));
}

}  // namespace vitrine
