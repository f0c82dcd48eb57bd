// Names and detection of the instruction sets. __builtin_cpu_supports also asks the system whether it saves the
// registers.
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "backend/cpu/cpu_backend.h"
#include "core/check.h"

namespace vitrine {
namespace {

/// AMX by cpuid: clang 15 knows no name for it. Sets the features where the processor has them and Linux lets us use
/// the tiles, whose state is so large that a process must ask for it (Documentation/arch/x86/xstate.rst, Linux 5.16).
void detect_amx(CpuFeatures& features) {
#ifdef VITRINE_EMULATE_BF16
  features.amx_tile = features.amx_bf16 = true;
#else
  constexpr unsigned kBf16 = 1U << 22;
  constexpr unsigned kTile = 1U << 24;
  unsigned eax, ebx, ecx, edx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kTile) == 0) return;
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  static const bool allowed = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  if (!allowed) return;
  features.amx_tile = true;
  features.amx_bf16 = (edx & kBf16) != 0;
#endif
}

}  // namespace

std::string_view cpu_isa_name(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx2: return "avx2";
    case CpuIsa::kAvx512: return "avx512";
    case CpuIsa::kAvx512Bf16: return "avx512_bf16";
    case CpuIsa::kAmxBf16: return "amx_bf16";
  }
  return "?";
}

std::optional<CpuIsa> parse_cpu_isa(std::string_view name) {
  for (const CpuIsa isa : {CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16, CpuIsa::kAmxBf16}) {
    if (cpu_isa_name(isa) == name) return isa;
  }
  return std::nullopt;
}

bool has_bf16_products(CpuIsa isa) { return isa == CpuIsa::kAvx512Bf16 || isa == CpuIsa::kAmxBf16; }

std::vector<CpuIsa> cpu_isas_of(const CpuFeatures& features) {
  std::vector<CpuIsa> isas;
  if (!features.avx2 || !features.fma || !features.f16c) return isas;
  isas.push_back(CpuIsa::kAvx2);
  if (!features.avx512f || !features.avx512bw || !features.avx512vl || !features.avx512dq) return isas;
  isas.push_back(CpuIsa::kAvx512);
  if (!features.avx512bf16) return isas;
  isas.push_back(CpuIsa::kAvx512Bf16);
  if (features.amx_tile && features.amx_bf16) isas.push_back(CpuIsa::kAmxBf16);
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
  detect_amx(features);
  return cpu_isas_of(features);
}

CpuIsa best_cpu_isa(const std::vector<CpuIsa>& supported) {
  require(!supported.empty(), "this processor lacks AVX2, FMA or F16C, which the CPU backend needs");
  return supported.back();
}

void check_cpu_isa(CpuIsa isa, const std::vector<CpuIsa>& supported) {
  const CpuIsa best = best_cpu_isa(supported);
  require(std::find(supported.begin(), supported.end(), isa) != supported.end(),
          "this processor, or its system, cannot run ", cpu_isa_name(isa), " code; its best is ", cpu_isa_name(best));
}

}  // namespace vitrine
