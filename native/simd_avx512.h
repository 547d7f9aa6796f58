// 16 lanes: AVX-512 F, BW, DQ, VL. See simd.h for the interface.
#pragma once

#include <immintrin.h>

namespace perse {
namespace PERSE_ISA {

struct Float {
  static constexpr int width = 16;
  __m512 v;
  Float() = default;
  PERSE_INLINE Float(__m512 x) : v(x) {}
  PERSE_INLINE Float(float x) : v(_mm512_set1_ps(x)) {}
};
struct Mask {
  __mmask16 v;
};

PERSE_INLINE Float operator+(Float a, Float b) { return _mm512_add_ps(a.v, b.v); }
PERSE_INLINE Float operator-(Float a, Float b) { return _mm512_sub_ps(a.v, b.v); }
PERSE_INLINE Float operator*(Float a, Float b) { return _mm512_mul_ps(a.v, b.v); }
PERSE_INLINE Float operator/(Float a, Float b) { return _mm512_div_ps(a.v, b.v); }
PERSE_INLINE Float operator-(Float a) { return _mm512_xor_ps(a.v, _mm512_set1_ps(-0.f)); }
PERSE_INLINE Mask operator>=(Float a, Float b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
PERSE_INLINE Mask operator>(Float a, Float b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
PERSE_INLINE Mask operator==(Float a, Float b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
PERSE_INLINE Mask operator&(Mask a, Mask b) { return {static_cast<__mmask16>(a.v & b.v)}; }

PERSE_INLINE Float load(const float* p) { return _mm512_load_ps(p); }
PERSE_INLINE void store(float* p, Float x) { _mm512_store_ps(p, x.v); }
PERSE_INLINE Float load_any(const float* p) { return _mm512_loadu_ps(p); }
PERSE_INLINE void store_any(float* p, Float x) { _mm512_storeu_ps(p, x.v); }
PERSE_INLINE Float load_half(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
}
PERSE_INLINE Float min(Float a, Float b) { return _mm512_min_ps(a.v, b.v); }
PERSE_INLINE Float max(Float a, Float b) { return _mm512_max_ps(a.v, b.v); }
PERSE_INLINE Float sqrt(Float a) { return _mm512_sqrt_ps(a.v); }
PERSE_INLINE Float abs_negated(Float a) { return _mm512_or_ps(a.v, _mm512_set1_ps(-0.f)); }
PERSE_INLINE Float round(Float a) { return _mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
PERSE_INLINE Float scale_by_power(Float a, Float n) { return _mm512_scalef_ps(a.v, n.v); }
PERSE_INLINE Float reciprocal(Float a) {
  Float r = _mm512_rcp14_ps(a.v);
  return r * (2.f - a * r);
}
PERSE_INLINE Float select(Mask m, Float a, Float b) { return _mm512_mask_blend_ps(m.v, b.v, a.v); }
PERSE_INLINE bool any(Mask m) { return m.v != 0; }
PERSE_INLINE uint32_t bits(Mask m) { return m.v; }

PERSE_INLINE float sum(Float a) { return _mm512_reduce_add_ps(a.v); }

// A 16 x 16 transpose-and-add: each round halves how many vectors there are and how many lanes of each are unsummed.
template <int row_size>
PERSE_INLINE void add_sums(const Float* values, float* destination) {
  static_assert(row_size <= 16, "one register of sums");
  Float v[16];
  for (int i = 0; i < 16; ++i) v[i] = i < row_size ? values[i] : Float(0.f);
  __m512 a[8], b[4];
  for (int i = 0; i < 8; ++i) {
    a[i] = _mm512_add_ps(_mm512_unpacklo_ps(v[2 * i].v, v[2 * i + 1].v), _mm512_unpackhi_ps(v[2 * i].v, v[2 * i + 1].v));
  }
  for (int i = 0; i < 4; ++i) {
    __m512d even = _mm512_castps_pd(a[2 * i]), odd = _mm512_castps_pd(a[2 * i + 1]);
    b[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(even, odd)), _mm512_castpd_ps(_mm512_unpackhi_pd(even, odd)));
  }
  __m512 c0 = _mm512_add_ps(_mm512_shuffle_f32x4(b[0], b[1], 0x88), _mm512_shuffle_f32x4(b[0], b[1], 0xdd));
  __m512 c1 = _mm512_add_ps(_mm512_shuffle_f32x4(b[2], b[3], 0x88), _mm512_shuffle_f32x4(b[2], b[3], 0xdd));
  __m512 d = _mm512_add_ps(_mm512_shuffle_f32x4(c0, c1, 0x88), _mm512_shuffle_f32x4(c0, c1, 0xdd));
  _mm512_store_ps(destination, _mm512_add_ps(_mm512_load_ps(destination), d));
}

PERSE_INLINE int append_set_bits(uint32_t set, uint32_t base, uint32_t* out) {
  const __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i values = _mm512_add_epi32(index, _mm512_set1_epi32(static_cast<int>(base)));
  _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(static_cast<__mmask16>(set), values));
  return __builtin_popcount(set);
}

}  // namespace PERSE_ISA
}  // namespace perse
