// Runs CUDA kernels on the host, one block at a time: every thread is a fiber, and fibers change places only where CUDA
// threads wait for each other (barriers, warp instructions). Include it before any kernel's header: it stands in for
// backend/cuda/mma.cuh and wgmma.cuh and for what nvcc declares by itself.
//
// It is strict where a GPU is not: which fiber runs next is random (a forgotten barrier reads what is not there yet),
// shared memory begins as NaN, cp.async copies either at once or when its group is waited for, and a wgmma product
// reads its operands and writes its sums either at once or when its group is waited for. Products may only read what
// cp.async wrote before a proxy fence.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#include "backend/cuda/tile_layout.h"
#include "core/dtype.h"

#undef __shared__
#undef __launch_bounds__
#define __shared__ static  // one block runs at a time
#define __launch_bounds__(...)

namespace vitrine::cuda_emulator {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

/// Of the fiber that runs.
struct ThreadState {
  Dim thread, block;
  unsigned lane = 0, warp = 0;
};
extern ThreadState current;
extern Dim grid_size, block_size;

/// Calls `kernel` once for every thread of the grid. `shared_bytes`: dynamic shared memory, checked at its end.
/// Throws std::runtime_error when threads wait for others that have ended, or shared memory was overrun.
void launch(Dim grid, Dim block, size_t shared_bytes, uint32_t seed, const std::function<void()>& kernel);

char* dynamic_shared();

/// All threads of the block, or the 32 lanes of the warp, come together; the last one to come runs `action`.
void meet_block();
void meet_warp(const std::function<void()>& action = {});

/// 64 bytes per lane of the calling warp, to exchange values around meet_warp().
void* lane_slot(unsigned lane);

void copy_async(void* to, const void* from, size_t bytes, bool valid);
void commit_copies();
void wait_copies(int pending);

/// Of something in dynamic shared memory, from its beginning, as 32-bit addresses of a kernel count.
uint32_t shared_address(const void* shared);

/// mbarriers in shared memory.
void init_barrier(uint64_t* barrier, uint32_t count);
void arrive_at_barrier(uint64_t* barrier);
void arrive_after_copies(uint64_t* barrier);
void wait_for_barrier(uint64_t* barrier, uint32_t parity);
/// `wait`: bar.sync, else bar.arrive.
void named_barrier(int id, int threads, bool wait);
void fence_async_proxy();

/// One lane's part in a wgmma.mma_async of its warp with 16-bit operands, k = 16: D (64 x columns) = A B, or D += A B.
struct Product {
  float* sums = nullptr;                  ///< columns / 2 registers
  const uint32_t* a_registers = nullptr;  ///< 4; null: A is in shared memory
  uint64_t a_descriptor = 0;
  uint64_t b_descriptor = 0;
  int columns = 0;
  bool add = false;
  bool b_along_columns = false;  ///< imm-trans-b: B is MN-major
  float (*number)(uint16_t bits) = nullptr;
};
void fence_products();
void issue_product(const Product& product);
void commit_products();
void wait_products(int pending);

/// A value of every lane to all lanes.
template <class T>
T exchange(T value, unsigned source_lane) {
  static_assert(sizeof(T) <= 64);
  std::memcpy(lane_slot(current.lane), &value, sizeof value);
  meet_warp();
  std::memcpy(static_cast<void*>(&value), lane_slot(source_lane), sizeof value);
  meet_warp();
  return value;
}

}  // namespace vitrine::cuda_emulator

#define threadIdx (::vitrine::cuda_emulator::current.thread)
#define blockIdx (::vitrine::cuda_emulator::current.block)
#define blockDim (::vitrine::cuda_emulator::block_size)
#define gridDim (::vitrine::cuda_emulator::grid_size)

inline void __syncthreads() { vitrine::cuda_emulator::meet_block(); }
inline void __syncwarp() { vitrine::cuda_emulator::meet_warp(); }
template <class T>
T __shfl_sync(unsigned, T value, int lane) {
  return vitrine::cuda_emulator::exchange(value, static_cast<unsigned>(lane) % 32);
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return vitrine::cuda_emulator::exchange(value, vitrine::cuda_emulator::current.lane ^ static_cast<unsigned>(mask));
}
template <class T>
T __shfl_up_sync(unsigned, T value, unsigned delta) {
  const unsigned lane = vitrine::cuda_emulator::current.lane;
  return vitrine::cuda_emulator::exchange(value, lane < delta ? lane : lane - delta);
}
inline unsigned __ballot_sync(unsigned, bool value) {
  unsigned votes = 0;
  for (int lane = 0; lane < 32; ++lane) votes |= static_cast<unsigned>(__shfl_sync(0xffffffffU, value, lane)) << lane;
  return votes;
}
inline bool __any_sync(unsigned mask, bool value) { return __ballot_sync(mask, value) != 0; }
inline int __popc(unsigned bits) { return std::popcount(bits); }
using std::isfinite;
using std::isnan;
/// Of all threads of the block.
inline int __syncthreads_or(int value) {
  static bool any;
  __syncthreads();
  any = false;
  __syncthreads();
  any |= value != 0;
  __syncthreads();
  return any;
}
inline int __syncthreads_and(int value) { return !__syncthreads_or(value == 0); }

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
inline uint64_t min(uint64_t a, uint64_t b) { return a < b ? a : b; }
template <class T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to += value;
  return before;
}
inline int atomicExch(int* to, int value) {
  const int before = *to;
  *to = value;
  return before;
}
inline int __clzll(long long value) {
  return value == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(value));
}
inline int __ffs(int value) { return __builtin_ffs(value); }
inline unsigned __float_as_uint(float value) { return __builtin_bit_cast(unsigned, value); }
inline float __uint_as_float(unsigned bits) { return __builtin_bit_cast(float, bits); }
inline unsigned long long __float2ull_rn(float value) { return static_cast<unsigned long long>(std::rint(value)); }
inline float rsqrtf(float value) { return 1.0f / std::sqrt(value); }

namespace vitrine::cuda {

inline float fast_exp2(float x) { return std::exp2(x); }
inline char* dynamic_shared() { return cuda_emulator::dynamic_shared(); }
inline uint4 load_streaming_16(const void* from) {
  uint4 value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
inline uint4 load_cached_16(const void* from) { return load_streaming_16(from); }
inline void copy_async_16(void* to, const void* from, bool valid) { cuda_emulator::copy_async(to, from, 16, valid); }
inline void copy_async_commit() { cuda_emulator::commit_copies(); }
template <int kPending>
void copy_async_wait() {
  cuda_emulator::wait_copies(kPending);
}

/// As the PTX ISA defines ldmatrix.x4: lane l gives the address of row l % 8 of matrix l / 8.
inline void ldmatrix(uint32_t (&to)[4], const void* row, bool transposed) {
  std::memcpy(cuda_emulator::lane_slot(cuda_emulator::current.lane), &row, sizeof row);
  cuda_emulator::meet_warp([transposed] {
    const uint16_t* rows[32];
    for (unsigned lane = 0; lane < 32; ++lane) std::memcpy(&rows[lane], cuda_emulator::lane_slot(lane), sizeof(void*));
    for (unsigned lane = 0; lane < 32; ++lane) {
      uint32_t registers[4];
      for (unsigned matrix = 0; matrix < 4; ++matrix) {
        uint16_t pair[2];
        for (unsigned i = 0; i < 2; ++i) {
          const unsigned row_index = transposed ? 2 * (lane % 4) + i : lane / 4;
          const unsigned col_index = transposed ? lane / 4 : 2 * (lane % 4) + i;
          pair[i] = rows[8 * matrix + row_index][col_index];
        }
        std::memcpy(&registers[matrix], pair, sizeof pair);
      }
      std::memcpy(static_cast<char*>(cuda_emulator::lane_slot(lane)) + 16, registers, sizeof registers);
    }
  });
  std::memcpy(to, static_cast<char*>(cuda_emulator::lane_slot(cuda_emulator::current.lane)) + 16, sizeof to);
  cuda_emulator::meet_warp();
}
inline void ldmatrix_x4(uint32_t (&to)[4], const void* row) { ldmatrix(to, row, false); }
inline void ldmatrix_x4_transposed(uint32_t (&to)[4], const void* row) { ldmatrix(to, row, true); }

template <class T>
float number_of_bits(uint16_t bits) {
  T value;
  std::memcpy(static_cast<void*>(&value), &bits, sizeof bits);
  return static_cast<float>(value);
}

/// As the PTX ISA defines the fragments of mma.m16n8k16 with 16-bit operands.
template <class T>
void mma_16x8x16(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Operands {
    float sum[4];
    uint16_t a[8], b[4];
  } own;
  std::memcpy(own.sum, sum, sizeof sum);
  std::memcpy(own.a, a, sizeof a);
  std::memcpy(own.b, b, sizeof b);
  static_assert(sizeof own <= 64);
  std::memcpy(cuda_emulator::lane_slot(cuda_emulator::current.lane), &own, sizeof own);
  cuda_emulator::meet_warp([] {
    static float a_matrix[16][16], b_matrix[16][8];
    for (int lane = 0; lane < 32; ++lane) {
      Operands of;
      std::memcpy(&of, cuda_emulator::lane_slot(static_cast<unsigned>(lane)), sizeof of);
      const int group = lane >> 2;
      const int pair = (lane % 4) * 2;
      for (int i = 0; i < 8; ++i) {  // "row = groupID for ai where 0 <= i < 2 || 4 <= i < 6, else groupID + 8"
        const int row = (i < 2 || (i >= 4 && i < 6)) ? group : group + 8;
        const int col = pair + (i & 1) + (i >= 4 ? 8 : 0);
        a_matrix[row][col] = number_of_bits<T>(of.a[i]);
      }
      for (int i = 0; i < 4; ++i) b_matrix[pair + (i & 1) + (i >= 2 ? 8 : 0)][group] = number_of_bits<T>(of.b[i]);
    }
    for (int lane = 0; lane < 32; ++lane) {
      Operands of;
      std::memcpy(&of, cuda_emulator::lane_slot(static_cast<unsigned>(lane)), sizeof of);
      for (int i = 0; i < 4; ++i) {
        const int row = (lane >> 2) + (i < 2 ? 0 : 8);
        const int col = (lane % 4) * 2 + (i & 1);
        for (int k = 0; k < 16; ++k) of.sum[i] += a_matrix[row][k] * b_matrix[k][col];
      }
      std::memcpy(cuda_emulator::lane_slot(static_cast<unsigned>(lane)), of.sum, sizeof of.sum);
    }
  });
  std::memcpy(sum, cuda_emulator::lane_slot(cuda_emulator::current.lane), sizeof sum);
  cuda_emulator::meet_warp();
}

/// As the PTX ISA defines the fragments of mma.m16n8k32 with 8-bit operands.
template <>
inline void mma_16x8x16<Float8Pair>(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Operands {
    float sum[4];
    uint8_t a[16], b[8];
  } own;
  std::memcpy(own.sum, sum, sizeof sum);
  std::memcpy(own.a, a, sizeof a);
  std::memcpy(own.b, b, sizeof b);
  static_assert(sizeof own <= 64);
  std::memcpy(cuda_emulator::lane_slot(cuda_emulator::current.lane), &own, sizeof own);
  cuda_emulator::meet_warp([] {
    static float a_matrix[16][32], b_matrix[32][8];
    for (int lane = 0; lane < 32; ++lane) {
      Operands of;
      std::memcpy(&of, cuda_emulator::lane_slot(static_cast<unsigned>(lane)), sizeof of);
      const int group = lane >> 2;
      const int first = (lane % 4) * 4;
      for (int i = 0; i < 16; ++i) {  // "row = groupID for ai where 0 <= i < 4 || 8 <= i < 12, else groupID + 8"
        const int row = (i < 4 || (i >= 8 && i < 12)) ? group : group + 8;
        a_matrix[row][first + (i & 3) + (i >= 8 ? 16 : 0)] = e4m3_to_float(of.a[i]);
      }
      for (int i = 0; i < 8; ++i) b_matrix[first + (i & 3) + (i >= 4 ? 16 : 0)][group] = e4m3_to_float(of.b[i]);
    }
    for (int lane = 0; lane < 32; ++lane) {
      Operands of;
      std::memcpy(&of, cuda_emulator::lane_slot(static_cast<unsigned>(lane)), sizeof of);
      for (int i = 0; i < 4; ++i) {
        const int row = (lane >> 2) + (i < 2 ? 0 : 8);
        const int col = (lane % 4) * 2 + (i & 1);
        for (int k = 0; k < 32; ++k) of.sum[i] += a_matrix[row][k] * b_matrix[k][col];
      }
      std::memcpy(cuda_emulator::lane_slot(static_cast<unsigned>(lane)), of.sum, sizeof of.sum);
    }
  });
  std::memcpy(sum, cuda_emulator::lane_slot(cuda_emulator::current.lane), sizeof sum);
  cuda_emulator::meet_warp();
}

// What backend/cuda/wgmma.cuh declares.
inline uint32_t shared_address(const void* shared) { return cuda_emulator::shared_address(shared); }
inline char* panel_shared() { return cuda_emulator::dynamic_shared(); }
template <class T, bool kAdd>
void wgmma_shared(float (&d)[64], uint64_t a, uint64_t b) {
  cuda_emulator::issue_product({d, nullptr, a, b, 128, kAdd, false, number_of_bits<T>});
}
template <class T, int kFloats>
void wgmma_mixed(float (&d)[kFloats], const uint32_t (&a)[4], uint64_t b) {
  cuda_emulator::issue_product({d, a, 0, b, 2 * kFloats, true, true, number_of_bits<T>});
}
inline void wgmma_fence() { cuda_emulator::fence_products(); }
inline void wgmma_commit() { cuda_emulator::commit_products(); }
template <int kPending>
void wgmma_wait() {
  cuda_emulator::wait_products(kPending);
}
template <class Register, int kCount>
void registers_are_free(Register (&)[kCount]) {}  // the host's compiler knows of every read and write
using Barrier = uint64_t;
inline void barrier_init(Barrier* barrier, uint32_t count) { cuda_emulator::init_barrier(barrier, count); }
inline void barrier_arrive(Barrier* barrier) { cuda_emulator::arrive_at_barrier(barrier); }
inline void barrier_arrive_after_copies(Barrier* barrier) { cuda_emulator::arrive_after_copies(barrier); }
inline void barrier_wait(Barrier* barrier, uint32_t parity) { cuda_emulator::wait_for_barrier(barrier, parity); }
inline void named_barrier_wait(int id, int threads) { cuda_emulator::named_barrier(id, threads, true); }
inline void named_barrier_arrive(int id, int threads) { cuda_emulator::named_barrier(id, threads, false); }
inline void fence_async_proxy() { cuda_emulator::fence_async_proxy(); }
template <int kCount>
void give_registers() {}
template <int kCount>
void take_registers() {}

}  // namespace vitrine::cuda
