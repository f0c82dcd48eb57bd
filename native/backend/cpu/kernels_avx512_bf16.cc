// The kernel table of AVX-512 with BF16 dot products. Compiled with the flags of that instruction set: include nothing
// here that defines inline functions with external linkage.
#define VT_BF16_PAIRS

#include "backend/cpu/simd_avx512.h"

#define VT_MAX_ROWS 14
#define VT_ACCUMULATORS 28

#include "backend/cpu/attention.inc"
#include "backend/cpu/elementwise.inc"
#include "backend/cpu/gemm.inc"

namespace vitrine {
namespace {

static void gemm_pairs(const GemmArgs& args, const GemmRange& range) { gemm_range<BFloat16DotWeight>(args, range); }

constexpr GemmKernels kPairGemm = {
    .max_block_rows = VT_MAX_ROWS,
    .max_rows = 512,
    .rounds_x = true,
    .products_per_nanosecond = 60,
    .packed_row_bytes = packed_row_bytes<true>,
    .pack_rows = pack_rows<true>,
    .multiply = gemm_pairs,
    .partial_floats = gemm_partial_floats,
};

static float bfloat16_flops(int64_t rounds) {
  V16 chains[16];
  for (int c = 0; c < 16; ++c) chains[c] = zero();
  uint32_t x = 0x3f003f00;
  uint16_t words[32];
  for (int i = 0; i < 32; ++i) words[i] = static_cast<uint16_t>(0x3f00 + i);
  asm volatile("" : "+r"(x), "+m"(words));  // so that the loop is not folded
  const Pairs16 w = load_pairs(words);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < 16; ++c) chains[c] = dot_pairs(x, w, chains[c]);
  }
  V16 sum = zero();
  for (int c = 0; c < 16; ++c) sum = add(sum, chains[c]);
  return hsum(sum);
}

}  // namespace

const CpuKernels& avx512_bf16_kernels() {
  static constexpr CpuKernels kernels = {
      .gemm = kFloatGemm,
      .bfloat16_gemm = kPairGemm,
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
      .bfloat16_flops = bfloat16_flops,
      .bfloat16_flops_per_round = 2 * kFlopsPerRound,
  };
  return kernels;
}

}  // namespace vitrine
