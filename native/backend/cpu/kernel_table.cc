// The only place that names the tables.
#include "backend/cpu/kernel_table.h"

#include <algorithm>

#include "core/check.h"

namespace vitrine {

const CpuKernels& kernels_for(CpuIsa isa) {
  const std::vector<CpuIsa> supported = supported_cpu_isas();
  require(!supported.empty(), "this processor lacks AVX2, FMA or F16C, which the CPU backend needs");
  require(std::find(supported.begin(), supported.end(), isa) != supported.end(), "this processor cannot run ",
          cpu_isa_name(isa), " code; its best is ", cpu_isa_name(supported.back()));
  switch (isa) {
    case CpuIsa::kAvx2: return avx2_kernels();
    case CpuIsa::kAvx512: return avx512_kernels();
    case CpuIsa::kAvx512Bf16: return avx512_bf16_kernels();
  }
  fail("unknown instruction set ", static_cast<int>(isa));
}

}  // namespace vitrine
