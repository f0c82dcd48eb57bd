// V16: 16 floats in two AVX2 registers. Included only by files compiled with -mavx2 -mfma -mf16c; everything has
// internal linkage, so that no AVX2 code can be picked by the linker for the common files.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#define VT_INLINE static inline __attribute__((always_inline))

namespace vitrine {
namespace {

struct V16 {
  __m256 lo, hi;
};

/// 16 words of two bfloat16 each: the even one in the low half.
struct Pairs16 {
  __m256i lo, hi;
};

VT_INLINE V16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
VT_INLINE V16 set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
VT_INLINE V16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
VT_INLINE void store(float* p, V16 x) {
  _mm256_storeu_ps(p, x.lo);
  _mm256_storeu_ps(p + 8, x.hi);
}

VT_INLINE __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
/// The first n lanes, the rest 0; 0 <= n <= 16.
VT_INLINE V16 load_n(const float* p, int n) {
  return {_mm256_maskload_ps(p, first_lanes(n)),
          n > 8 ? _mm256_maskload_ps(p + 8, first_lanes(n - 8)) : _mm256_setzero_ps()};
}
VT_INLINE void store_n(float* p, V16 x, int n) {
  _mm256_maskstore_ps(p, first_lanes(n), x.lo);
  if (n > 8) _mm256_maskstore_ps(p + 8, first_lanes(n - 8), x.hi);
}

VT_INLINE V16 add(V16 a, V16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
VT_INLINE V16 sub(V16 a, V16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
VT_INLINE V16 mul(V16 a, V16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
VT_INLINE V16 div(V16 a, V16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
/// a * b + c, rounded once.
VT_INLINE V16 fma(V16 a, V16 b, V16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
/// *a * b + c, rounded once.
VT_INLINE V16 fma_broadcast(const float* a, V16 b, V16 c) { return fma(set1(*a), b, c); }
/// c - a * b, rounded once.
VT_INLINE V16 fnma(V16 a, V16 b, V16 c) {
  return {_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
}
/// The larger; b where either is NaN.
VT_INLINE V16 max(V16 a, V16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
VT_INLINE V16 min(V16 a, V16 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }

VT_INLINE float hsum(V16 x) {
  const __m256 eight = _mm256_add_ps(x.lo, x.hi);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
VT_INLINE float hmax(V16 x) {
  const __m256 eight = _mm256_max_ps(x.lo, x.hi);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
VT_INLINE double hsum_f64(V16 x) {
  const __m256d a =
      _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(x.lo)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.lo, 1)));
  const __m256d b =
      _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(x.hi)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.hi, 1)));
  const __m256d four = _mm256_add_pd(a, b);
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/// Lanes outside [first, end) become `other`.
VT_INLINE V16 keep_lanes(V16 x, int first, int end, float other) {
  const __m256 fill = _mm256_set1_ps(other);
  const __m256i in_lo = _mm256_andnot_si256(first_lanes(first), first_lanes(end));
  const __m256i in_hi = _mm256_andnot_si256(first_lanes(first - 8), first_lanes(end - 8));
  return {_mm256_blendv_ps(fill, x.lo, _mm256_castsi256_ps(in_lo)),
          _mm256_blendv_ps(fill, x.hi, _mm256_castsi256_ps(in_hi))};
}
/// One bit per lane that is infinite or NaN.
VT_INLINE uint32_t nonfinite_lanes(V16 x) {
  const __m256i exponent = _mm256_set1_epi32(0x7f800000);
  const __m256i lo = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(x.lo), exponent), exponent);
  const __m256i hi = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(x.hi), exponent), exponent);
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(lo))) |
         static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(hi))) << 8;
}
/// One bit per lane where a >= b.
VT_INLINE uint32_t lanes_ge(V16 a, V16 b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_GE_OQ))) |
         static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.hi, b.hi, _CMP_GE_OQ))) << 8;
}

// --- 16-bit storage ------------------------------------------------------------------------------------------------
VT_INLINE __m256i load16(const uint16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
VT_INLINE __m256i load16_n(const uint16_t* p, int n) {
  alignas(32) uint16_t lanes[16] = {};
  __builtin_memcpy(lanes, p, static_cast<size_t>(n) * 2);
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(lanes));
}
VT_INLINE void store16(uint16_t* p, __m256i x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
VT_INLINE void store16_n(uint16_t* p, __m256i x, int n) {
  alignas(32) uint16_t lanes[16];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), x);
  __builtin_memcpy(p, lanes, static_cast<size_t>(n) * 2);
}

VT_INLINE V16 widen_bf16(__m256i x) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm256_extracti128_si256(x, 1)), 16))};
}
VT_INLINE V16 widen_f16(__m256i x) {
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(x)), _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1))};
}
VT_INLINE __m256i narrow_f16(V16 x) {
  return _mm256_set_m128i(_mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT),
                          _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT));
}
VT_INLINE __m256i bf16_words(__m256 x) {  // nearest, ties to even; NaN stays NaN
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(rounded, quiet, nan);
}
VT_INLINE __m256i narrow_bf16(V16 x) {
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(bf16_words(x.lo), bf16_words(x.hi)), 0xd8);
}

VT_INLINE Pairs16 load_pairs(const uint16_t* p) { return {load16(p), load16(p + 16)}; }
VT_INLINE V16 even(Pairs16 x) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(x.lo, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(x.hi, 16))};
}
VT_INLINE V16 odd(Pairs16 x) {
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000U));
  return {_mm256_castsi256_ps(_mm256_and_si256(x.lo, high)), _mm256_castsi256_ps(_mm256_and_si256(x.hi, high))};
}

// --- float8_e4m3fn -------------------------------------------------------------------------------------------------
VT_INLINE __m128i load8(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
VT_INLINE __m128i load8_n(const uint8_t* p, int n) {
  alignas(16) uint8_t lanes[16] = {};
  __builtin_memcpy(lanes, p, static_cast<size_t>(n));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(lanes));
}
VT_INLINE void store8(uint8_t* p, __m128i x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x); }
VT_INLINE void store8_n(uint8_t* p, __m128i x, int n) {
  alignas(16) uint8_t lanes[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(lanes), x);
  __builtin_memcpy(p, lanes, static_cast<size_t>(n));
}

/// Its bits, moved to where a half has them, are the number over 2^8: the exponent's bias is 7, a half's 15.
VT_INLINE V16 widen_e4m3(__m128i x) {
  const __m256i moved = _mm256_slli_epi16(_mm256_cvtepi8_epi16(x), 7);  // sign twice, in bits 15 and 14
  const __m256i all_ones = _mm256_set1_epi16(0x3f80);
  const __m256i nan = _mm256_cmpeq_epi16(_mm256_and_si256(moved, all_ones), all_ones);
  const __m256i half = _mm256_or_si256(_mm256_and_si256(moved, _mm256_set1_epi16(static_cast<int16_t>(0xbf80))),
                                       _mm256_and_si256(nan, _mm256_set1_epi16(0x7c00)));
  return mul(widen_f16(half), set1(256.0f));
}
VT_INLINE __m256i e4m3_codes(__m256 x) {  // nearest, ties to even; above 448 becomes 448; NaN stays NaN
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i sign = _mm256_and_si256(_mm256_srli_epi32(bits, 24), _mm256_set1_epi32(0x80));
  const __m256i magnitude =
      _mm256_min_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)), _mm256_set1_epi32(0x43e00000));
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(magnitude, 20), _mm256_set1_epi32(1));
  const __m256i normal = _mm256_srli_epi32(
      _mm256_add_epi32(magnitude, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7ffff - 0x3c000000))), 20);
  const __m256i subnormal =
      _mm256_sub_epi32(_mm256_castps_si256(_mm256_add_ps(_mm256_castsi256_ps(magnitude), _mm256_set1_ps(0x1p14f))),
                       _mm256_set1_epi32(0x46800000));
  const __m256i is_subnormal = _mm256_cmpgt_epi32(_mm256_set1_epi32(0x3c800000), magnitude);
  const __m256i code = _mm256_blendv_epi8(normal, subnormal, is_subnormal);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_or_si256(sign, _mm256_or_si256(code, _mm256_and_si256(nan, _mm256_set1_epi32(0x7f))));
}
VT_INLINE __m128i narrow_e4m3(V16 x) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(e4m3_codes(x.lo), e4m3_codes(x.hi)), 0xd8);
  return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

// --- exp -----------------------------------------------------------------------------------------------------------
VT_INLINE __m256 round_nearest(__m256 x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VT_INLINE V16 round_nearest(V16 x) { return {round_nearest(x.lo), round_nearest(x.hi)}; }
/// x * 2^n for whole n in [-252, 254], in two factors so that subnormal and overflowing results come out right.
VT_INLINE __m256 scale_by_power(__m256 x, __m256 n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256 a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const __m256 b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23));
  return _mm256_mul_ps(_mm256_mul_ps(x, a), b);
}
VT_INLINE V16 scale_by_power(V16 x, V16 n) { return {scale_by_power(x.lo, n.lo), scale_by_power(x.hi, n.hi)}; }

}  // namespace
}  // namespace vitrine

#include "backend/cpu/simd_common.inc"
