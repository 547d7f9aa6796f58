// 4 lanes in plain C++, for compilers without vector extensions. Slow. See simd.h for the interface.
#pragma once

namespace perse {
namespace PERSE_ISA {

struct Float {
  static constexpr int width = 4;
  float v[4];
  Float() = default;
  PERSE_INLINE Float(float x) : v{x, x, x, x} {}
};
struct Mask {
  int32_t v[4];  // 0 or -1
};

#define PERSE_EACH_LANE for (int i = 0; i < 4; ++i)
#define PERSE_DEFINE(RESULT, HEADER, EXPRESSION) \
  PERSE_INLINE RESULT HEADER {                   \
    RESULT r;                                    \
    PERSE_EACH_LANE r.v[i] = (EXPRESSION);       \
    return r;                                    \
  }
PERSE_DEFINE(Float, operator+(Float a, Float b), a.v[i] + b.v[i])
PERSE_DEFINE(Float, operator-(Float a, Float b), a.v[i] - b.v[i])
PERSE_DEFINE(Float, operator*(Float a, Float b), a.v[i] * b.v[i])
PERSE_DEFINE(Float, operator/(Float a, Float b), a.v[i] / b.v[i])
PERSE_DEFINE(Float, operator-(Float a), -a.v[i])
PERSE_DEFINE(Mask, operator>=(Float a, Float b), a.v[i] >= b.v[i] ? -1 : 0)
PERSE_DEFINE(Mask, operator>(Float a, Float b), a.v[i] > b.v[i] ? -1 : 0)
PERSE_DEFINE(Mask, operator==(Float a, Float b), a.v[i] == b.v[i] ? -1 : 0)
PERSE_DEFINE(Mask, operator&(Mask a, Mask b), a.v[i] & b.v[i])
PERSE_DEFINE(Float, load(const float* p), p[i])
PERSE_DEFINE(Float, min(Float a, Float b), a.v[i] < b.v[i] ? a.v[i] : b.v[i])
PERSE_DEFINE(Float, max(Float a, Float b), a.v[i] > b.v[i] ? a.v[i] : b.v[i])
PERSE_DEFINE(Float, sqrt(Float a), sqrtf(a.v[i]))
PERSE_DEFINE(Float, square_root(Float a), sqrtf(a.v[i]))
PERSE_DEFINE(Float, abs_negated(Float a), -fabsf(a.v[i]))
PERSE_DEFINE(Float, reciprocal(Float a), 1.f / a.v[i])
PERSE_DEFINE(Float, select(Mask m, Float a, Float b), m.v[i] ? a.v[i] : b.v[i])
PERSE_DEFINE(Mask, mask_of(uint32_t bits), (bits >> i) & 1u ? -1 : 0)
#undef PERSE_DEFINE

PERSE_INLINE void store(float* p, Float x) { PERSE_EACH_LANE p[i] = x.v[i]; }
template <int k>
PERSE_INLINE Float spread(Float a) {
  return a.v[k];
}
PERSE_INLINE Float load_any(const float* p) { return load(p); }
PERSE_INLINE void store_any(float* p, Float x) { store(p, x); }
PERSE_INLINE Float load_short(const int16_t* p) {
  Float r;
  PERSE_EACH_LANE r.v[i] = static_cast<float>(p[i]);
  return r;
}
PERSE_INLINE uint32_t bits(Mask m) {
  uint32_t set = 0;
  PERSE_EACH_LANE set |= (m.v[i] ? 1u : 0u) << i;
  return set;
}
PERSE_INLINE float sum(Float a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }

// Adding and subtracting 1.5 * 2^23 leaves the nearest integer, without a call into the maths library.
PERSE_INLINE Float round(Float a) {
  Float r;
  PERSE_EACH_LANE {
    r.v[i] = (a.v[i] + 12582912.f) - 12582912.f;  // not cancelled: float sums are never reassociated here
  }
  return r;
}
PERSE_INLINE Float scale_by_power(Float a, Float n) {
  Float r;
  PERSE_EACH_LANE {
    uint32_t word;
    memcpy(&word, &a.v[i], 4);
    float bounded = n.v[i] > -126.f ? n.v[i] : -126.f;  // a conversion out of range would be undefined
    word += static_cast<uint32_t>(static_cast<int32_t>(bounded < 127.f ? bounded : 127.f)) << 23;
    memcpy(&r.v[i], &word, 4);
  }
  return r;
}

template <int row_size>
PERSE_INLINE void add_sums(const Float* values, float* destination) {
  for (int k = 0; k < row_size; ++k) destination[k] += sum(values[k]);
}
#undef PERSE_EACH_LANE

}  // namespace PERSE_ISA
}  // namespace perse

#include "simd_four.h"
