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

// The bits of 2^(k / 16), less k << 19.
alignas(64) static const uint32_t kPowers[16] = {
    0x3f800000u, 0x3f7daac3u, 0x3f7b95c2u, 0x3f79c3d3u, 0x3f7837f0u, 0x3f76f532u, 0x3f75fed7u, 0x3f75583fu,
    0x3f7504f3u, 0x3f7508a4u, 0x3f75672au, 0x3f76248cu, 0x3f7744fdu, 0x3f78ccdfu, 0x3f7ac0c7u, 0x3f7d257du};

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
PERSE_INLINE Float load_short(const int16_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(p))));
}
PERSE_INLINE Float load_column(const float* p) { return _mm512_broadcast_f32x4(_mm_loadu_ps(p)); }
PERSE_INLINE Float join(__m128 a, __m128 b, __m128 c, __m128 d) {
  __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(a), b, 1);
  __m256 high = _mm256_insertf128_ps(_mm256_castps128_ps256(c), d, 1);
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
template <typename Row>
PERSE_INLINE Float load_each(const Row* const* rows, int first) {
  const auto part = [=](int i) { return _mm_load_ps(reinterpret_cast<const float*>(rows[i]) + first); };
  return join(part(0), part(1), part(2), part(3));
}
PERSE_INLINE Float load_patch(const float* p, int stride) {
  return join(_mm_load_ps(p), _mm_load_ps(p + stride), _mm_load_ps(p + 2 * stride), _mm_load_ps(p + 3 * stride));
}
PERSE_INLINE void store_patch(float* p, int stride, Float x) {
  _mm_store_ps(p, _mm512_castps512_ps128(x.v));
  _mm_store_ps(p + stride, _mm512_extractf32x4_ps(x.v, 1));
  _mm_store_ps(p + 2 * stride, _mm512_extractf32x4_ps(x.v, 2));
  _mm_store_ps(p + 3 * stride, _mm512_extractf32x4_ps(x.v, 3));
}
template <int k>
PERSE_INLINE Float spread(Float a) {
  return _mm512_permute_ps(a.v, k * 0x55);
}
PERSE_INLINE Float min(Float a, Float b) { return _mm512_min_ps(a.v, b.v); }
PERSE_INLINE Float max(Float a, Float b) { return _mm512_max_ps(a.v, b.v); }
PERSE_INLINE Float sqrt(Float a) { return _mm512_sqrt_ps(a.v); }
PERSE_INLINE Float square_root(Float a) { return _mm512_mul_ps(a.v, _mm512_rsqrt14_ps(a.v)); }
PERSE_INLINE Float abs_negated(Float a) { return _mm512_or_ps(a.v, _mm512_set1_ps(-0.f)); }
PERSE_INLINE Float round(Float a) { return _mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
PERSE_INLINE Float reciprocal(Float a) {
  Float r = _mm512_rcp14_ps(a.v);
  return r * (2.f - a * r);
}
PERSE_INLINE Float select(Mask m, Float a, Float b) { return _mm512_mask_blend_ps(m.v, b.v, a.v); }
PERSE_INLINE bool any(Mask m) { return m.v != 0; }
PERSE_INLINE uint32_t bits(Mask m) { return m.v; }
PERSE_INLINE Mask mask_of(uint32_t bits) { return {static_cast<__mmask16>(bits)}; }

// x = n + f with n a multiple of 1/16: 2^f by a parabola, 2^(n - floor(n)) from a table in a register. Shifted to the
// left, the count of sixteenths has floor(n) in the exponent field, and below it the rest, which the table takes off.
PERSE_INLINE Float exp2(Float x) {
  const Float shift = 1.5f * (1 << 19);  // so large that sums are multiples of 1/16, which the low bits count
  Float shifted = x + shift, f = x - (shifted - shift);
  __m512i sixteenths = _mm512_castps_si512(shifted.v);
  __m512i fraction = _mm512_permutexvar_epi32(sixteenths, _mm512_load_si512(kPowers));
  Float power = _mm512_castsi512_ps(_mm512_add_epi32(fraction, _mm512_slli_epi32(sixteenths, 19)));
  return power + power * (f * (kExp2ThirtySecond[1] + f * kExp2ThirtySecond[2]));
}

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

PERSE_INLINE void bit_ranges(Float first, Float end, uint32_t* out) {
  const __m512i one = _mm512_set1_epi32(1);
  __m512i below_end = _mm512_sllv_epi32(one, _mm512_cvtps_epi32(end.v));
  __m512i below_first = _mm512_sllv_epi32(one, _mm512_cvtps_epi32(first.v));
  _mm512_store_si512(out, _mm512_sub_epi32(below_end, below_first));
}

PERSE_INLINE int append_set_bits(uint64_t set, uint32_t base, uint32_t* out) {
  const __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i values = _mm512_add_epi32(index, _mm512_set1_epi32(static_cast<int>(base)));
  _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(static_cast<__mmask16>(set), values));
  return __builtin_popcountll(set);
}

}  // namespace PERSE_ISA
}  // namespace perse
