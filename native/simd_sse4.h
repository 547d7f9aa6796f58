// 4 lanes: SSE4.1. See simd.h for the interface.
#pragma once

#include <smmintrin.h>

namespace perse {
namespace PERSE_ISA {

struct Float {
  static constexpr int width = 4;
  __m128 v;
  Float() = default;
  PERSE_INLINE Float(__m128 x) : v(x) {}
  PERSE_INLINE Float(float x) : v(_mm_set1_ps(x)) {}
};
struct Mask {
  __m128 v;
};

PERSE_INLINE Float operator+(Float a, Float b) { return _mm_add_ps(a.v, b.v); }
PERSE_INLINE Float operator-(Float a, Float b) { return _mm_sub_ps(a.v, b.v); }
PERSE_INLINE Float operator*(Float a, Float b) { return _mm_mul_ps(a.v, b.v); }
PERSE_INLINE Float operator/(Float a, Float b) { return _mm_div_ps(a.v, b.v); }
PERSE_INLINE Float operator-(Float a) { return _mm_xor_ps(a.v, _mm_set1_ps(-0.f)); }
PERSE_INLINE Mask operator>=(Float a, Float b) { return {_mm_cmpge_ps(a.v, b.v)}; }
PERSE_INLINE Mask operator>(Float a, Float b) { return {_mm_cmpgt_ps(a.v, b.v)}; }
PERSE_INLINE Mask operator==(Float a, Float b) { return {_mm_cmpeq_ps(a.v, b.v)}; }
PERSE_INLINE Mask operator&(Mask a, Mask b) { return {_mm_and_ps(a.v, b.v)}; }

PERSE_INLINE Float load(const float* p) { return _mm_load_ps(p); }
PERSE_INLINE void store(float* p, Float x) { _mm_store_ps(p, x.v); }
PERSE_INLINE Float load_any(const float* p) { return _mm_loadu_ps(p); }
PERSE_INLINE void store_any(float* p, Float x) { _mm_storeu_ps(p, x.v); }
PERSE_INLINE Float load_short(const int16_t* p) {
  return _mm_cvtepi32_ps(_mm_cvtepi16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
template <int k>
PERSE_INLINE Float spread(Float a) {
  return _mm_shuffle_ps(a.v, a.v, k * 0x55);
}
PERSE_INLINE Float min(Float a, Float b) { return _mm_min_ps(a.v, b.v); }
PERSE_INLINE Float max(Float a, Float b) { return _mm_max_ps(a.v, b.v); }
PERSE_INLINE Float sqrt(Float a) { return _mm_sqrt_ps(a.v); }
PERSE_INLINE Float square_root(Float a) { return _mm_sqrt_ps(a.v); }
PERSE_INLINE Float abs_negated(Float a) { return _mm_or_ps(a.v, _mm_set1_ps(-0.f)); }
PERSE_INLINE Float round(Float a) { return _mm_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
PERSE_INLINE Float scale_by_power(Float a, Float n) {
  __m128i exponent = _mm_slli_epi32(_mm_cvtps_epi32(n.v), 23);
  return _mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(a.v), exponent));
}
PERSE_INLINE Float reciprocal(Float a) {
  Float r = _mm_rcp_ps(a.v);
  return r * (2.f - a * r);
}
PERSE_INLINE Float select(Mask m, Float a, Float b) { return _mm_blendv_ps(b.v, a.v, m.v); }
PERSE_INLINE uint32_t bits(Mask m) { return static_cast<uint32_t>(_mm_movemask_ps(m.v)); }
PERSE_INLINE Mask mask_of(uint32_t bits) {
  const __m128i lane = _mm_setr_epi32(1, 2, 4, 8);
  return {_mm_castsi128_ps(_mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32(static_cast<int>(bits)), lane), lane))};
}

PERSE_INLINE float sum(Float a) {
  __m128 pairs = _mm_add_ps(a.v, _mm_movehl_ps(a.v, a.v));
  return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_shuffle_ps(pairs, pairs, 1)));
}

template <int row_size>
PERSE_INLINE void add_sums(const Float* values, float* destination) {
  for (int first = 0; first < row_size; first += 4) {
    __m128 v[4];
    for (int i = 0; i < 4; ++i) v[i] = first + i < row_size ? values[first + i].v : _mm_setzero_ps();
    __m128 sums = _mm_hadd_ps(_mm_hadd_ps(v[0], v[1]), _mm_hadd_ps(v[2], v[3]));
    _mm_store_ps(destination + first, _mm_add_ps(_mm_load_ps(destination + first), sums));
  }
}

}  // namespace PERSE_ISA
}  // namespace perse

#include "simd_four.h"
