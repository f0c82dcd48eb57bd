// V16: 16 floats in one AVX-512 register. Included only by files compiled with -mavx512f -mavx512bw -mavx512vl
// -mavx512dq (-mavx512bf16); everything has internal linkage, so that no AVX-512 code can be picked by the linker for
// the common files.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#define VT_INLINE static inline __attribute__((always_inline))

// With VT_BF16_PAIRS, bfloat16 pairs are multiplied by the processor, or, in a build for tests (VITRINE_EMULATE_BF16),
// by what does the same.

namespace vitrine {
namespace {

struct V16 {
  __m512 v;
};

/// 16 words of two bfloat16 each: the even one in the low half.
struct Pairs16 {
  __m512i v;
};

VT_INLINE V16 zero() { return {_mm512_setzero_ps()}; }
VT_INLINE V16 set1(float x) { return {_mm512_set1_ps(x)}; }
VT_INLINE V16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
VT_INLINE void store(float* p, V16 x) { _mm512_storeu_ps(p, x.v); }

/// Negative n counts as 0, above 16 as 16.
VT_INLINE __mmask16 first_lanes(int n) {
  return n >= 16  ? static_cast<__mmask16>(0xffff)
         : n <= 0 ? static_cast<__mmask16>(0)
                  : static_cast<__mmask16>((1U << n) - 1U);
}
/// The first n lanes, the rest 0; 0 <= n <= 16.
VT_INLINE V16 load_n(const float* p, int n) { return {_mm512_maskz_loadu_ps(first_lanes(n), p)}; }
VT_INLINE void store_n(float* p, V16 x, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), x.v); }

VT_INLINE V16 add(V16 a, V16 b) { return {_mm512_add_ps(a.v, b.v)}; }
VT_INLINE V16 sub(V16 a, V16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
VT_INLINE V16 mul(V16 a, V16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
VT_INLINE V16 div(V16 a, V16 b) { return {_mm512_div_ps(a.v, b.v)}; }
/// a * b + c, rounded once.
VT_INLINE V16 fma(V16 a, V16 b, V16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/// *a * b + c, rounded once: one instruction, which broadcasts *a. (Of an input that several multiplications take,
/// compilers make a broadcast of its own.)
VT_INLINE V16 fma_broadcast(const float* a, V16 b, V16 c) {
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c.v) : "v"(b.v), "m"(*a));
  return c;
}
/// c - a * b, rounded once.
VT_INLINE V16 fnma(V16 a, V16 b, V16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
/// The larger; b where either is NaN.
VT_INLINE V16 max(V16 a, V16 b) { return {_mm512_max_ps(a.v, b.v)}; }
VT_INLINE V16 min(V16 a, V16 b) { return {_mm512_min_ps(a.v, b.v)}; }

VT_INLINE float hsum(V16 x) { return _mm512_reduce_add_ps(x.v); }
VT_INLINE float hmax(V16 x) { return _mm512_reduce_max_ps(x.v); }
VT_INLINE double hsum_f64(V16 x) {
  return _mm512_reduce_add_pd(
      _mm512_add_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(x.v)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v, 1))));
}

/// Lanes outside [first, end) become `other`.
VT_INLINE V16 keep_lanes(V16 x, int first, int end, float other) {
  const __mmask16 in = static_cast<__mmask16>(first_lanes(end) & ~first_lanes(first));
  return {_mm512_mask_blend_ps(in, _mm512_set1_ps(other), x.v)};
}
/// One bit per lane that is infinite or NaN.
VT_INLINE uint32_t nonfinite_lanes(V16 x) {
  const __m512i exponent = _mm512_set1_epi32(0x7f800000);
  return _mm512_cmpeq_epi32_mask(_mm512_and_si512(_mm512_castps_si512(x.v), exponent), exponent);
}
/// One bit per lane where a >= b.
VT_INLINE uint32_t lanes_ge(V16 a, V16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ); }

// --- 16-bit storage ------------------------------------------------------------------------------------------------
VT_INLINE __m256i load16(const uint16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
VT_INLINE __m256i load16_n(const uint16_t* p, int n) { return _mm256_maskz_loadu_epi16(first_lanes(n), p); }
VT_INLINE void store16(uint16_t* p, __m256i x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
VT_INLINE void store16_n(uint16_t* p, __m256i x, int n) { _mm256_mask_storeu_epi16(p, first_lanes(n), x); }

VT_INLINE V16 widen_bf16(__m256i x) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16))}; }
VT_INLINE V16 widen_f16(__m256i x) { return {_mm512_cvtph_ps(x)}; }
VT_INLINE __m256i narrow_f16(V16 x) { return _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT); }
VT_INLINE __m256i narrow_bf16(V16 x) {  // nearest, ties to even; NaN stays NaN
  const __m512i bits = _mm512_castps_si512(x.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded =
      _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
  return _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(_mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q), rounded, quiet));
}

VT_INLINE Pairs16 load_pairs(const uint16_t* p) { return {_mm512_loadu_si512(p)}; }
VT_INLINE V16 even(Pairs16 x) { return {_mm512_castsi512_ps(_mm512_slli_epi32(x.v, 16))}; }
VT_INLINE V16 odd(Pairs16 x) {
  return {_mm512_castsi512_ps(_mm512_and_si512(x.v, _mm512_set1_epi32(static_cast<int>(0xffff0000U))))};
}
#ifdef VT_BF16_PAIRS
/// Per lane: acc + x.odd * w.odd + x.even * w.even, in this order, each sum rounded once; denormal numbers count as 0.
/// `x`: one pair for all lanes.
VT_INLINE V16 dot_pairs(uint32_t x, Pairs16 w, V16 acc) {
  const __m512i pair = _mm512_set1_epi32(static_cast<int>(x));
#ifdef __AVX512BF16__
  return {_mm512_dpbf16_ps(acc.v, (__m512bh)pair, (__m512bh)w.v)};
#else
  return fma(even({pair}), even(w), fma(odd({pair}), odd(w), acc));  // but for denormal numbers
#endif
}
#endif

// --- float8_e4m3fn -------------------------------------------------------------------------------------------------
VT_INLINE __m128i load8(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
VT_INLINE __m128i load8_n(const uint8_t* p, int n) { return _mm_maskz_loadu_epi8(first_lanes(n), p); }
VT_INLINE void store8(uint8_t* p, __m128i x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x); }
VT_INLINE void store8_n(uint8_t* p, __m128i x, int n) { _mm_mask_storeu_epi8(p, first_lanes(n), x); }

/// Its bits, moved to where a half has them, are the number over 2^8: the exponent's bias is 7, a half's 15.
VT_INLINE V16 widen_e4m3(__m128i x) {
  const __m256i moved = _mm256_slli_epi16(_mm256_cvtepi8_epi16(x), 7);  // sign twice, in bits 15 and 14
  const __m256i all_ones = _mm256_set1_epi16(0x3f80);
  const __mmask16 nan = _mm256_cmpeq_epi16_mask(_mm256_and_si256(moved, all_ones), all_ones);
  const __m256i half = _mm256_and_si256(moved, _mm256_set1_epi16(static_cast<int16_t>(0xbf80)));
  const __m256i quiet = _mm256_mask_mov_epi16(half, nan, _mm256_set1_epi16(0x7e00));
  return mul(widen_f16(quiet), set1(256.0f));
}
VT_INLINE __m128i narrow_e4m3(V16 x) {  // nearest, ties to even; above 448 becomes 448; NaN stays NaN
  const __m512i bits = _mm512_castps_si512(x.v);
  const __m512i sign = _mm512_and_si512(_mm512_srli_epi32(bits, 24), _mm512_set1_epi32(0x80));
  const __m512i magnitude =
      _mm512_min_epi32(_mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)), _mm512_set1_epi32(0x43e00000));
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(magnitude, 20), _mm512_set1_epi32(1));
  const __m512i normal = _mm512_srli_epi32(
      _mm512_add_epi32(magnitude, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7ffff - 0x3c000000))), 20);
  const __m512i subnormal =
      _mm512_sub_epi32(_mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(magnitude), _mm512_set1_ps(0x1p14f))),
                       _mm512_set1_epi32(0x46800000));
  __m512i code =
      _mm512_mask_blend_epi32(_mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32(0x3c800000)), normal, subnormal);
  code = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q), code, _mm512_set1_epi32(0x7f));
  return _mm512_cvtepi32_epi8(_mm512_or_si512(code, sign));
}

// --- exp -----------------------------------------------------------------------------------------------------------
VT_INLINE V16 round_nearest(V16 x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
VT_INLINE V16 scale_by_power(V16 x, V16 n) { return {_mm512_scalef_ps(x.v, n.v)}; }

}  // namespace
}  // namespace vitrine

#include "backend/cpu/simd_common.inc"
