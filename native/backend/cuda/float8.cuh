// float8_e4m3fn on the device: the processor's own conversions in code that is compiled for compute capability 8.9
// or more, in other code the same numbers by arithmetic.
#pragma once

#include <cuda_fp8.h>

#include "backend/cuda/numbers.cuh"

namespace vitrine::cuda {

using Float8 = __nv_fp8_e4m3;

/// Two codes, the first in the low byte, as two halves: every code is a half.
__device__ inline uint32_t widen_to_halves(uint32_t codes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  uint32_t halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(static_cast<uint16_t>(codes)));
  return halves;
#else
  // Moved to where a half has its exponent and mantissa, the bits are the number over 2^8: the exponent's bias is 7, a
  // half's 15. One more than the largest is NaN, whose exponent becomes all ones.
  const uint32_t apart = (codes & 0xffu) << 8 | (codes & 0xff00u) << 16;
  const uint32_t magnitude = (apart & 0x7f007f00u) >> 1;
  const uint32_t nan = (magnitude + 0x00800080u) & 0x40004000u;
  const uint32_t bits = (apart & 0x80008000u) | magnitude | nan;
  const __half2 numbers = __hmul2(*reinterpret_cast<const __half2*>(&bits), __float2half2_rn(256.0f));
  return *reinterpret_cast<const uint32_t*>(&numbers);
#endif
}

__device__ inline float2 widen_to_floats(uint32_t codes) {
  const uint32_t halves = widen_to_halves(codes);
  return __half22float2(*reinterpret_cast<const __half2*>(&halves));
}

/// Two codes as a pair of T, as pack_pair() makes them.
template <class T>
__device__ uint32_t widen_pair(uint32_t codes);
template <>
__device__ inline uint32_t widen_pair<__half>(uint32_t codes) {
  return widen_to_halves(codes);
}
template <>
__device__ inline uint32_t widen_pair<__nv_bfloat16>(uint32_t codes) {
  const float2 floats = widen_to_floats(codes);
  return pack_pair<__nv_bfloat16>(floats.x, floats.y);
}

__device__ inline float to_float(Float8 value) { return widen_to_floats(value.__x).x; }

/// Rounds to nearest, ties to even; what is larger than 448 becomes 448.
template <>
__device__ inline Float8 from_float<Float8>(float value) {
  return Float8(value);
}

}  // namespace vitrine::cuda
