// The product of float8 codes on tensor cores.
#pragma once

#include "backend/cuda/float8.cuh"
#include "backend/cuda/mma.cuh"
#include "backend/cuda/tile_layout.h"

namespace vitrine::cuda {

/// In code for tensor cores without float8 (below 8.9): as two products of halves, which hold every code. Each register
/// has four codes that are neighbours along k; the first product takes the first two of every register, the second one
/// the others. Which k a product takes does not matter as long as both operands agree.
__device__ inline void mma_float8_by_halves(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#pragma unroll
  for (int shift = 0; shift < 32; shift += 16) {
    const uint32_t a_halves[4] = {widen_to_halves(a[0] >> shift), widen_to_halves(a[1] >> shift),
                                  widen_to_halves(a[2] >> shift), widen_to_halves(a[3] >> shift)};
    const uint32_t b_halves[2] = {widen_to_halves(b[0] >> shift), widen_to_halves(b[1] >> shift)};
    mma_16x8x16<__half>(c, a_halves, b_halves);
  }
}

#if defined(__CUDACC__)  // the tests that run kernels on the host bring their own
/// m16n8k32 of codes.
template <>
__device__ inline void mma_16x8x16<Float8Pair>(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 890
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  mma_float8_by_halves(c, a, b);
#endif
}
#endif

}  // namespace vitrine::cuda
