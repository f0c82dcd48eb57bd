// What only Hopper (sm_90a) has: the product of a warpgroup (4 warps, the first a multiple of 4) with operands in
// shared memory, mbarriers that copies arrive at, registers that move from warp to warp.
//
// wgmma is asynchronous: from its issue until wgmma_wait() nothing may touch its accumulators, the registers of its A
// operand or its tiles in shared memory. It reads shared memory through the async proxy: what cp.async or stores have
// written there needs fence_async_proxy() between the barrier that says so and the product.
//
// Registers of lane 4 g + t of warp w of the warpgroup: accumulator float 4 n + i is row 16 w + g + 8 (i / 2), column
// 8 n + 2 t + i % 2; a[] is as in mma.cuh, for the rows 16 w to 16 w + 15.
//
// The tests that run kernels on the host bring functions of the same names (test/cuda_emulator.h).
#pragma once
#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "backend/cuda/tile_layout.h"

namespace vitrine::cuda {

__device__ inline uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

/// The block's dynamic shared memory, for tiles in panels. A kernel that asks for it has no other shared memory.
__device__ inline char* panel_shared() {
  extern __shared__ __align__(kPanelAlignment) char vitrine_panel_shared[];
  return vitrine_panel_shared;
}

// --- products -------------------------------------------------------------------------------------------------------

#define VITRINE_REGISTERS_32                                               \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"

#define VITRINE_REGISTERS_48 \
  VITRINE_REGISTERS_32       \
  ", "                       \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"

#define VITRINE_REGISTERS_64 \
  VITRINE_REGISTERS_48       \
  ", "                       \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

#define VITRINE_FLOATS_4(how, d, i) how(d[i]), how(d[(i) + 1]), how(d[(i) + 2]), how(d[(i) + 3])
#define VITRINE_FLOATS_16(how, d, i)                                                                 \
  VITRINE_FLOATS_4(how, d, i), VITRINE_FLOATS_4(how, d, (i) + 4), VITRINE_FLOATS_4(how, d, (i) + 8), \
      VITRINE_FLOATS_4(how, d, (i) + 12)
#define VITRINE_FLOATS_32(how, d) VITRINE_FLOATS_16(how, d, 0), VITRINE_FLOATS_16(how, d, 16)
#define VITRINE_FLOATS_48(how, d) VITRINE_FLOATS_32(how, d), VITRINE_FLOATS_16(how, d, 32)
#define VITRINE_FLOATS_64(how, d) VITRINE_FLOATS_48(how, d), VITRINE_FLOATS_16(how, d, 48)

// `how` is "=f" with add = 0, which overwrites the accumulators, and "+f" with add = 1. The numbers at the end: neither
// operand is negated, both are multiplied along their rows.
#define VITRINE_WGMMA_SHARED(type, how, add)                                                                         \
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " add ", 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32." type \
               "." type " {" VITRINE_REGISTERS_64 "}, %64, %65, add, 1, 1, 0, 0;\n}"                                 \
               : VITRINE_FLOATS_64(how, d)                                                                           \
               : "l"(a), "l"(b))

// The operands behind the accumulators.
#define VITRINE_MIXED_AFTER_32 "{%32, %33, %34, %35}, %36"
#define VITRINE_MIXED_AFTER_48 "{%48, %49, %50, %51}, %52"
#define VITRINE_MIXED_AFTER_64 "{%64, %65, %66, %67}, %68"

// Likewise; B is multiplied along its columns.
#define VITRINE_WGMMA_MIXED(columns, floats, type)                                                                     \
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\nwgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type \
               "." type " {" VITRINE_REGISTERS_##floats "}, " VITRINE_MIXED_AFTER_##floats ", add, 1, 1, 1;\n}"        \
               : VITRINE_FLOATS_##floats("+f", d)                                                                      \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))

/// d = A B^T, or d += A B^T: A is 64 x 16 and B 128 x 16, both in shared memory with rows along k.
template <class T, bool kAdd>
__device__ __forceinline__ void wgmma_shared(float (&d)[64], uint64_t a, uint64_t b) {
  constexpr bool kHalf = std::is_same_v<T, __half>;
  if constexpr (kHalf && kAdd) VITRINE_WGMMA_SHARED("f16", "+f", "1");
  if constexpr (kHalf && !kAdd) VITRINE_WGMMA_SHARED("f16", "=f", "0");
  if constexpr (!kHalf && kAdd) VITRINE_WGMMA_SHARED("bf16", "+f", "1");
  if constexpr (!kHalf && !kAdd) VITRINE_WGMMA_SHARED("bf16", "=f", "0");
}

/// d += A B: A is 64 x 16 in registers, B 16 x N (N = 2 kFloats) in shared memory with rows along N.
template <class T, int kFloats>
__device__ __forceinline__ void wgmma_mixed(float (&d)[kFloats], const uint32_t (&a)[4], uint64_t b) {
  static_assert(kFloats == 32 || kFloats == 48 || kFloats == 64);
  constexpr bool kHalf = std::is_same_v<T, __half>;
  if constexpr (kFloats == 32 && kHalf) VITRINE_WGMMA_MIXED("64", 32, "f16");
  if constexpr (kFloats == 32 && !kHalf) VITRINE_WGMMA_MIXED("64", 32, "bf16");
  if constexpr (kFloats == 48 && kHalf) VITRINE_WGMMA_MIXED("96", 48, "f16");
  if constexpr (kFloats == 48 && !kHalf) VITRINE_WGMMA_MIXED("96", 48, "bf16");
  if constexpr (kFloats == 64 && kHalf) VITRINE_WGMMA_MIXED("128", 64, "f16");
  if constexpr (kFloats == 64 && !kHalf) VITRINE_WGMMA_MIXED("128", 64, "bf16");
}

#undef VITRINE_REGISTERS_32
#undef VITRINE_REGISTERS_48
#undef VITRINE_REGISTERS_64
#undef VITRINE_FLOATS_4
#undef VITRINE_FLOATS_16
#undef VITRINE_FLOATS_32
#undef VITRINE_FLOATS_48
#undef VITRINE_FLOATS_64
#undef VITRINE_MIXED_AFTER_32
#undef VITRINE_MIXED_AFTER_48
#undef VITRINE_MIXED_AFTER_64
#undef VITRINE_WGMMA_SHARED
#undef VITRINE_WGMMA_MIXED

/// Before the first product, and before a product whose registers were touched since the last one.
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

/// Ends a group of products.
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until at most kPending groups of this warp are under way.
template <int kPending>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

/// After the wait for a product: the compiler, which takes a product for done when it is issued, may neither read its
/// accumulators earlier nor put anything else into its operands' registers.
template <int kCount>
__device__ __forceinline__ void registers_are_free(float (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(registers[i]));
}
template <int kCount>
__device__ __forceinline__ void registers_are_free(uint32_t (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(registers[i]));
}

// --- barriers -------------------------------------------------------------------------------------------------------

/// An mbarrier in shared memory: a phase ends when `count` arrivals have come.
using Barrier = uint64_t;

__device__ inline void barrier_init(Barrier* barrier, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}

/// What this thread did before is seen by whom the end of the phase lets go on.
__device__ inline void barrier_arrive(Barrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

/// Arrives, as one of the count, when all copy_async_16() that this thread has begun have ended; does not wait.
__device__ inline void barrier_arrive_after_copies(Barrier* barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

/// Waits for the end of a phase, the first (parity 0), the second (1), the third (0) ...: the caller is at most one
/// phase behind. The phase before the first counts as one that has ended.
__device__ inline void barrier_wait(Barrier* barrier, uint32_t parity) {
  uint32_t ended;
  do {
    asm volatile(
        "{\n.reg .pred ended;\nmbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
        "selp.u32 %0, 1, 0, ended;\n}"
        : "=r"(ended)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  } while (ended == 0);
}

/// Barriers 1 to 15 of the block (0 is that of __syncthreads) let go on when `threads` threads have come, those that
/// wait and those that only arrive taken together.
__device__ inline void named_barrier_wait(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ inline void named_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// What this thread has seen written to shared memory so far is seen by the products it issues from here on.
__device__ inline void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// All threads of a warpgroup: from here on each has kCount registers (a multiple of 8).
template <int kCount>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

}  // namespace vitrine::cuda

#endif
