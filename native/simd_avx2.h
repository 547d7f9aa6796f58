// 8 lanes: AVX2 and FMA. See simd.h for the interface.
#pragma once

#include <immintrin.h>

namespace perse {
namespace PERSE_ISA {

struct Float {
  static constexpr int width = 8;
  __m256 v;
  Float() = default;
  PERSE_INLINE Float(__m256 x) : v(x) {}
  PERSE_INLINE Float(float x) : v(_mm256_set1_ps(x)) {}
};
struct Mask {
  __m256 v;
};

// The bits of 2^(k / 8), less k << 20
alignas(32) static const uint32_t kPowers[8] = {0x3f800000u, 0x3f7b95c2u, 0x3f7837f0u, 0x3f75fed7u,
                                                0x3f7504f3u, 0x3f75672au, 0x3f7744fdu, 0x3f7ac0c7u};

PERSE_INLINE Float operator+(Float a, Float b) { return _mm256_add_ps(a.v, b.v); }
PERSE_INLINE Float operator-(Float a, Float b) { return _mm256_sub_ps(a.v, b.v); }
PERSE_INLINE Float operator*(Float a, Float b) { return _mm256_mul_ps(a.v, b.v); }
PERSE_INLINE Float operator/(Float a, Float b) { return _mm256_div_ps(a.v, b.v); }
PERSE_INLINE Float operator-(Float a) { return _mm256_xor_ps(a.v, _mm256_set1_ps(-0.f)); }
PERSE_INLINE Mask operator>=(Float a, Float b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
PERSE_INLINE Mask operator>(Float a, Float b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
PERSE_INLINE Mask operator==(Float a, Float b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
PERSE_INLINE Mask operator&(Mask a, Mask b) { return {_mm256_and_ps(a.v, b.v)}; }

PERSE_INLINE Float load(const float* p) { return _mm256_load_ps(p); }
PERSE_INLINE void store(float* p, Float x) { _mm256_store_ps(p, x.v); }
PERSE_INLINE Float load_any(const float* p) { return _mm256_loadu_ps(p); }
PERSE_INLINE void store_any(float* p, Float x) { _mm256_storeu_ps(p, x.v); }
PERSE_INLINE Float load_short(const int16_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(p))));
}
PERSE_INLINE Float load_column(const float* p) { return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(p)); }
template <typename Row>
PERSE_INLINE Float load_each(const Row* const* rows, int first) {
  const auto part = [=](int i) { return _mm_load_ps(reinterpret_cast<const float*>(rows[i]) + first); };
  return _mm256_insertf128_ps(_mm256_castps128_ps256(part(0)), part(1), 1);
}
PERSE_INLINE Float load_patch(const float* p, int stride) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_load_ps(p)), _mm_load_ps(p + stride), 1);
}
PERSE_INLINE void store_patch(float* p, int stride, Float x) {
  _mm_store_ps(p, _mm256_castps256_ps128(x.v));
  _mm_store_ps(p + stride, _mm256_extractf128_ps(x.v, 1));
}
template <int k>
PERSE_INLINE Float spread(Float a) {
  return _mm256_permute_ps(a.v, k * 0x55);
}
PERSE_INLINE Float min(Float a, Float b) { return _mm256_min_ps(a.v, b.v); }
PERSE_INLINE Float max(Float a, Float b) { return _mm256_max_ps(a.v, b.v); }
PERSE_INLINE Float sqrt(Float a) { return _mm256_sqrt_ps(a.v); }
PERSE_INLINE Float square_root(Float a) { return _mm256_sqrt_ps(a.v); }
PERSE_INLINE Float abs_negated(Float a) { return _mm256_or_ps(a.v, _mm256_set1_ps(-0.f)); }
PERSE_INLINE Float round(Float a) { return _mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
PERSE_INLINE Float reciprocal(Float a) {
  Float r = _mm256_rcp_ps(a.v);
  return r * (2.f - a * r);
}
PERSE_INLINE Float select(Mask m, Float a, Float b) { return _mm256_blendv_ps(b.v, a.v, m.v); }
PERSE_INLINE bool any(Mask m) { return _mm256_movemask_ps(m.v) != 0; }
PERSE_INLINE uint32_t bits(Mask m) { return static_cast<uint32_t>(_mm256_movemask_ps(m.v)); }
PERSE_INLINE Mask mask_of(uint32_t bits) {
  const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane), lane))};
}

// x = n + f with n a multiple of 1/8: 2^f by a cubic, 2^(n - floor(n)) from a table in a register. Shifted to the left,
// the count of eighths has floor(n) in the exponent field, and below it the rest, which the table takes off again.
PERSE_INLINE Float exp2(Float x) {
  const Float shift = 1.5f * (1 << 20);  // so large that sums are multiples of 1/8, which the low bits count
  Float shifted = x + shift, f = x - (shifted - shift);
  __m256i eighths = _mm256_castps_si256(shifted.v);
  __m256i fraction = _mm256_permutevar8x32_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(kPowers)), eighths);
  Float power = _mm256_castsi256_ps(_mm256_add_epi32(fraction, _mm256_slli_epi32(eighths, 20)));
  return power * (kExp2Sixteenth[0] + f * (kExp2Sixteenth[1] + f * (kExp2Sixteenth[2] + f * kExp2Sixteenth[3])));
}

PERSE_INLINE float sum(Float a) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

// Sums of eight vectors, in order, by pairwise horizontal adds.
PERSE_INLINE Float sums_of_8(const Float* v) {
  __m256 low = _mm256_hadd_ps(_mm256_hadd_ps(v[0].v, v[1].v), _mm256_hadd_ps(v[2].v, v[3].v));
  __m256 high = _mm256_hadd_ps(_mm256_hadd_ps(v[4].v, v[5].v), _mm256_hadd_ps(v[6].v, v[7].v));
  return _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
}

template <int row_size>
PERSE_INLINE void add_sums(const Float* values, float* destination) {
  for (int first = 0; first < row_size; first += 8) {
    Float v[8];
    for (int i = 0; i < 8; ++i) v[i] = first + i < row_size ? values[first + i] : Float(0.f);
    store(destination + first, load(destination + first) + sums_of_8(v));
  }
}

PERSE_INLINE void bit_ranges(Float first, Float end, uint32_t* out) {
  const __m256i one = _mm256_set1_epi32(1);
  __m256i below_end = _mm256_sllv_epi32(one, _mm256_cvtps_epi32(end.v));
  __m256i below_first = _mm256_sllv_epi32(one, _mm256_cvtps_epi32(first.v));
  _mm256_store_si256(reinterpret_cast<__m256i*>(out), _mm256_sub_epi32(below_end, below_first));
}

}  // namespace PERSE_ISA
}  // namespace perse
