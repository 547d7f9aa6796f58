// 4 lanes through the vector extensions of GCC and Clang: NEON on arm64, SSE2 on old x86. See simd.h for the interface.
#pragma once

namespace perse {
namespace PERSE_ISA {

typedef float FloatVector __attribute__((vector_size(16)));
typedef int32_t IntVector __attribute__((vector_size(16)));

struct Float {
  static constexpr int width = 4;
  FloatVector v;
  Float() = default;
  PERSE_INLINE Float(FloatVector x) : v(x) {}
  PERSE_INLINE Float(float x) : v{x, x, x, x} {}
};
struct Mask {
  IntVector v;  // 0 or -1
};

PERSE_INLINE IntVector as_int(FloatVector x) { return reinterpret_cast<IntVector>(x); }
PERSE_INLINE FloatVector as_float(IntVector x) { return reinterpret_cast<FloatVector>(x); }

PERSE_INLINE Float operator+(Float a, Float b) { return a.v + b.v; }
PERSE_INLINE Float operator-(Float a, Float b) { return a.v - b.v; }
PERSE_INLINE Float operator*(Float a, Float b) { return a.v * b.v; }
PERSE_INLINE Float operator/(Float a, Float b) { return a.v / b.v; }
PERSE_INLINE Float operator-(Float a) { return -a.v; }
PERSE_INLINE Mask operator>=(Float a, Float b) { return {a.v >= b.v}; }
PERSE_INLINE Mask operator>(Float a, Float b) { return {a.v > b.v}; }
PERSE_INLINE Mask operator==(Float a, Float b) { return {a.v == b.v}; }
PERSE_INLINE Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }

PERSE_INLINE Float select(Mask m, Float a, Float b) { return as_float((m.v & as_int(a.v)) | (~m.v & as_int(b.v))); }
PERSE_INLINE uint32_t bits(Mask m) {
  const IntVector weighted = m.v & IntVector{1, 2, 4, 8};
  return static_cast<uint32_t>(weighted[0] | weighted[1] | weighted[2] | weighted[3]);
}

PERSE_INLINE Float load(const float* p) { return *reinterpret_cast<const FloatVector*>(p); }
PERSE_INLINE void store(float* p, Float x) { *reinterpret_cast<FloatVector*>(p) = x.v; }
PERSE_INLINE Float load_any(const float* p) {
  FloatVector x;
  memcpy(&x, p, sizeof(x));
  return x;
}
PERSE_INLINE void store_any(float* p, Float x) { memcpy(p, &x.v, sizeof(x.v)); }
PERSE_INLINE Float load_short(const int16_t* p) {
  return __builtin_convertvector((IntVector{p[0], p[1], p[2], p[3]}), FloatVector);
}
template <int k>
PERSE_INLINE Float spread(Float a) {
  return a.v[k];
}
PERSE_INLINE Float min(Float a, Float b) { return select(b > a, a, b); }
PERSE_INLINE Float max(Float a, Float b) { return select(a > b, a, b); }
PERSE_INLINE Float sqrt(Float a) { return FloatVector{sqrtf(a.v[0]), sqrtf(a.v[1]), sqrtf(a.v[2]), sqrtf(a.v[3])}; }
PERSE_INLINE Float square_root(Float a) { return sqrt(a); }
PERSE_INLINE Float abs_negated(Float a) { return as_float(as_int(a.v) | INT32_MIN); }
PERSE_INLINE Float reciprocal(Float a) { return 1.f / a.v; }
// Adding and subtracting 1.5 * 2^23 leaves the nearest integer. Float sums are never reassociated here.
PERSE_INLINE Float round(Float a) { return (a.v + 12582912.f) - 12582912.f; }
PERSE_INLINE Float scale_by_power(Float a, Float n) {
  const Float bounded = max(min(n, 127.f), -126.f);  // a conversion out of range would be undefined
  return as_float(as_int(a.v) + (__builtin_convertvector(bounded.v, IntVector) << 23));
}
PERSE_INLINE Mask mask_of(uint32_t bits) {
  const IntVector lane = {1, 2, 4, 8}, all = {};
  return {((all + static_cast<int32_t>(bits)) & lane) == lane};
}
PERSE_INLINE float sum(Float a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }

template <int row_size>
PERSE_INLINE void add_sums(const Float* values, float* destination) {
  for (int k = 0; k < row_size; ++k) destination[k] += sum(values[k]);
}

}  // namespace PERSE_ISA
}  // namespace perse

#include "simd_four.h"
