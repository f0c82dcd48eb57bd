// The only place that names the tables.
#include "backend/cpu/kernel_table.h"

#include "core/check.h"

namespace vitrine {

const CpuKernels& kernels_for(CpuIsa isa) {
  check_cpu_isa(isa, supported_cpu_isas());
  switch (isa) {
    case CpuIsa::kAvx2: return avx2_kernels();
    case CpuIsa::kAvx512: return avx512_kernels();
    case CpuIsa::kAvx512Bf16: return avx512_bf16_kernels();
    case CpuIsa::kAmxBf16: return amx_bf16_kernels();
  }
  fail("unknown instruction set ", static_cast<int>(isa));
}

}  // namespace vitrine
