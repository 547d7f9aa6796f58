// 8 lanes: AVX2, FMA and F16C. See simd.h for the interface.
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
PERSE_INLINE Float load_half(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}
PERSE_INLINE Float min(Float a, Float b) { return _mm256_min_ps(a.v, b.v); }
PERSE_INLINE Float max(Float a, Float b) { return _mm256_max_ps(a.v, b.v); }
PERSE_INLINE Float sqrt(Float a) { return _mm256_sqrt_ps(a.v); }
PERSE_INLINE Float abs_negated(Float a) { return _mm256_or_ps(a.v, _mm256_set1_ps(-0.f)); }
PERSE_INLINE Float round(Float a) { return _mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
PERSE_INLINE Float scale_by_power(Float a, Float n) {
  __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n.v), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.v), exponent));
}
PERSE_INLINE Float reciprocal(Float a) {
  Float r = _mm256_rcp_ps(a.v);
  return r * (2.f - a * r);
}
PERSE_INLINE Float select(Mask m, Float a, Float b) { return _mm256_blendv_ps(b.v, a.v, m.v); }
PERSE_INLINE bool any(Mask m) { return _mm256_movemask_ps(m.v) != 0; }
PERSE_INLINE uint32_t bits(Mask m) { return static_cast<uint32_t>(_mm256_movemask_ps(m.v)); }

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

PERSE_INLINE int append_set_bits(uint32_t set, uint32_t base, uint32_t* out) {
  int count = 0;
  for (; set; set &= set - 1) out[count++] = base + static_cast<uint32_t>(__builtin_ctz(set));
  return count;
}

}  // namespace PERSE_ISA
}  // namespace perse
