// The kernel table of AMX: that of AVX-512 with BF16 dot products, but for products with bfloat16 weights. Compiled
// with the flags of AVX-512: include nothing here that defines inline functions with external linkage.
#include "backend/cpu/gemm_tiles.inc"

namespace vitrine {

const CpuKernels& amx_bf16_kernels() {
  static const CpuKernels kernels = [] {
    CpuKernels table = avx512_bf16_kernels();
    table.bfloat16_gemm = kTileGemm;
    table.bfloat16_flops = tile_flops;
    table.bfloat16_flops_per_round = kTileFlopsPerRound;
    return table;
  }();
  return kernels;
}

}  // namespace vitrine
