// Tensor cores from sm_80 on: the m16n8k16 product of 16-bit types with float32 sums, ldmatrix and cp.async.
//
// Lane l = 4 g + t of a warp holds (rows g, g + 8; columns as given; each register a pair of neighbours along k)
//   a[0] row g, k 2t   a[1] row g + 8, k 2t   a[2] row g, k 2t + 8   a[3] row g + 8, k 2t + 8
//   b[0] k 2t, column g   b[1] k 2t + 8, column g
//   c[0], c[1] row g, columns 2t, 2t + 1   c[2], c[3] row g + 8, likewise
//
// The tests that run kernels on the host bring functions of the same names (test/cuda_emulator.h).
#pragma once
#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace vitrine::cuda {

template <class T>
__device__ inline void mma_16x8x16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

template <>
__device__ inline void mma_16x8x16<__nv_bfloat16>(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <>
__device__ inline void mma_16x8x16<__half>(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8 x 8 matrices of 16-bit elements: lane i gives the address of row i % 8 of matrix i / 8 (16-byte aligned,
/// shared memory); it gets of each the pair at row lane / 4, columns 2 (lane % 4).
__device__ inline void ldmatrix_x4(uint32_t (&to)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared)))
               : "memory");
}

/// The same with each matrix transposed: a lane gets column lane / 4, rows 2 (lane % 4) and the next.
__device__ inline void ldmatrix_x4_transposed(uint32_t (&to)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared)))
               : "memory");
}

/// The block's dynamic shared memory.
__device__ inline char* dynamic_shared() {
  extern __shared__ __align__(128) char vitrine_dynamic_shared[];
  return vitrine_dynamic_shared;
}

/// 2^x in one instruction: its last bits differ from exp2f's, and results below 2^-126 become 0.
__device__ inline float fast_exp2(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

/// 16 bytes that are read once: past the first-level cache. Nothing may write them while the kernel runs.
__device__ inline uint4 load_streaming_16(const void* from) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from));
  return value;
}

/// 16 bytes that other warps read as well. A plain load: what the kernel before wrote is there after
/// wait_for_earlier_kernels(), across which loads of what never changes may be moved.
__device__ inline uint4 load_cached_16(const void* from) { return *static_cast<const uint4*>(from); }

/// 16 bytes from global to shared memory past the registers; zeros, and no read, where `valid` is false.
__device__ inline void copy_async_16(void* shared, const void* global, bool valid) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(global), "r"(valid ? 16 : 0)
      : "memory");
}

__device__ inline void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most kPending of the groups this thread has committed are under way.
template <int kPending>
__device__ inline void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace vitrine::cuda

#endif
