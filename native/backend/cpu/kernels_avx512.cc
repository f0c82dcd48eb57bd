// The kernel table of AVX-512. Compiled with the flags of that instruction set: include nothing here that defines
// inline functions with external linkage.
#include "backend/cpu/simd_avx512.h"

#define VT_MAX_ROWS 14
#define VT_ACCUMULATORS 28

#include "backend/cpu/attention.inc"
#include "backend/cpu/elementwise.inc"
#include "backend/cpu/gemm.inc"

namespace vitrine {

const CpuKernels& avx512_kernels() {
  static constexpr CpuKernels kernels = {
      .gemm = kFloatGemm,
      .bfloat16_gemm = kFloatGemm,
      .attend = attend,
      .attention_scratch_bytes = attention_scratch_bytes,
      .attention_rows = 56,
      .rms_norm = rms_norm,
      .add_rms_norm = add_rms_norm,
      .rotate = rotate,
      .store_row = store_row,
      .load_row = load_row,
      .quantize_row = quantize_row,
      .scale_row = scale_row,
      .gated = gated,
      .add_scaled = add_scaled,
      .finite_max = finite_max,
      .find_ge = find_ge,
      .exp_sum = exp_sum,
      .read_bytes = read_bytes,
      .float32_flops = float32_flops,
      .bfloat16_flops = nullptr,
      .bfloat16_flops_per_round = 0,
  };
  return kernels;
}

}  // namespace vitrine
