// Device arithmetic that every kernel needs: element types to and from float32, 16-byte loads, sums over warps and
// blocks in a fixed order.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "backend/cuda/stream_order.cuh"

namespace vitrine::cuda {

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }
__device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

/// Rounds to nearest, ties to even; a half overflows to infinity.
template <class T>
__device__ T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__device__ inline __half from_float<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

/// Two neighbouring elements in the 32 bits of a tensor core's register: `low` is the first.
template <class T>
__device__ uint32_t pack_pair(float low, float high);
template <>
__device__ inline uint32_t pack_pair<__half>(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
template <>
__device__ inline uint32_t pack_pair<__nv_bfloat16>(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

/// 16 bytes of elements: one load or store. Addresses must be 16-byte aligned.
template <class T>
struct alignas(16) Vec16 {
  static constexpr int kSize = 16 / sizeof(T);
  T at[kSize];
};

template <class T>
__device__ Vec16<T> load16(const T* from) {
  const uint4 bits = *reinterpret_cast<const uint4*>(from);
  Vec16<T> result;
  *reinterpret_cast<uint4*>(&result) = bits;
  return result;
}

template <class T>
__device__ void store16(T* to, const Vec16<T>& value) {
  *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(&value);
}

/// Sum over the 32 lanes, the same in all of them.
__device__ inline float warp_sum(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

__device__ inline float warp_max(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}

/// Sum over the block, the same in all threads. `shared`: 32 floats. blockDim.x is a multiple of 32; all threads call.
__device__ inline float block_sum(float value, float* shared) {
  value = warp_sum(value);
  const int warps = blockDim.x / 32;
  if (warps == 1) return value;
  __syncthreads();  // an earlier sum may still be read
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  return warp_sum(static_cast<int>(threadIdx.x % 32) < warps ? shared[threadIdx.x % 32] : 0.0f);
}

}  // namespace vitrine::cuda
