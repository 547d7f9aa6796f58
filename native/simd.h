// One vector of floats, written once for each instruction set behind the same interface.
//
// A kernel source file is compiled several times with different compiler flags (see CMakeLists.txt). The flags decide
// which of these headers is used; each defines, inside namespace perse::PERSE_ISA,
//
//   struct Float   `width` floats with + - * / and an implicit constructor that broadcasts one float
//   struct Mask    one truth value for each lane, with &
//   >=, >, ==      comparisons -> Mask (false for NaN)
//   load, store    from and to 64-byte aligned memory; load_any, store_any: from and to anywhere
//   load_short     from aligned 16-bit integers
//   load_column    four floats, repeated in every group of four lanes
//   load_each      four floats of each of width / 4 rows, a group of lanes each
//   load_patch, store_patch  width / 4 groups of four floats, `stride` apart, a group of lanes each
//   spread<k>      lane k of each group of four lanes, in all four
//   min, max, sqrt, square_root (about 14 bits; NaN below zero), abs_negated (-|x|), round, reciprocal (about 22 bits)
//   exp2           2^x, relative error below 5e-7; below -126 the result is meaningless and must be masked out
//   select(mask, a, b), any(mask), bits(mask), mask_of(bits)
//   bit_ranges(first, end, out): for each lane the integer whose bits [first, end) are set; both integral in [0, 16]
//   sum(x), add_sums(values, destination): adds the lane sums of `row_size` vectors to a row of floats
//   append_set_bits(set, base, out) -> how many: writes base + i for each bit i < 256 / width
//
// These headers, and everything a kernel file includes, must not use templates or inline functions of the C++ standard
// library: the linker keeps one copy of such a function for the whole module, and it might keep the one compiled for
// an instruction set that the processor lacks.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define PERSE_INLINE inline __attribute__((always_inline))
#define PERSE_PREFETCH(address) __builtin_prefetch(address)
#else
#define PERSE_INLINE inline
#define PERSE_PREFETCH(address) ((void)0)
#endif

namespace perse {

#if defined(__GNUC__)
PERSE_INLINE int lowest_bit(uint64_t set) { return __builtin_ctzll(set); }
#else
PERSE_INLINE int lowest_bit(uint64_t set) {
  int i = 0;
  while (!((set >> i) & 1u)) ++i;
  return i;
}
#endif

// Coefficients of 2^x for small x, the best in relative error: on [-1/2, 1/2], on [-1/16, 1/16] and on [-1/32, 1/32].
constexpr float kExp2Half[] = {1.000000072e+00f, 6.931469671e-01f, 2.402211972e-01f,
                               5.550713290e-02f, 9.675541293e-03f, 1.327646680e-03f};
constexpr float kExp2Sixteenth[] = {9.999999817e-01f, 6.931472085e-01f, 2.402640730e-01f, 5.549890047e-02f};
constexpr float kExp2ThirtySecond[] = {1.f, 6.931878316e-01f, 2.402194625e-01f};

}  // namespace perse

#if defined(PERSE_USE_AVX512)
#include "simd_avx512.h"
#elif defined(PERSE_USE_AVX2)
#include "simd_avx2.h"
#elif defined(PERSE_USE_SSE4)
#include "simd_sse4.h"
#elif defined(__GNUC__) && !defined(PERSE_USE_PLAIN)
#include "simd_generic.h"
#else
#include "simd_plain.h"
#endif

namespace perse {
namespace PERSE_ISA {

// log2 of each lane, in plain C for the compiler to vectorise; relative error below 3e-7. Lanes that are not positive and
// finite come out finite or NaN: to be masked out.
PERSE_INLINE Float log2(Float x) {
  alignas(64) float lanes[Float::width];
  store(lanes, x);
  for (int i = 0; i < Float::width; ++i) {
    uint32_t word;
    memcpy(&word, &lanes[i], 4);
    const int32_t exponent = static_cast<int32_t>(word - 0x3f3504f3u) >> 23;  // so that m is in [sqrt(1/2), sqrt(2))
    word -= static_cast<uint32_t>(exponent) << 23;
    float m;
    memcpy(&m, &word, 4);
    const float t = (m - 1.f) / (m + 1.f), tt = t * t;  // log(m) = 2 artanh(t)
    lanes[i] = static_cast<float>(exponent) +
               t * (2.885390082f + tt * (0.961796694f + tt * (0.577078016f + tt * (0.412198583f + tt * 0.320598898f))));
  }
  return load(lanes);
}

PERSE_INLINE Float clamp(Float x, Float low, Float high) { return min(max(x, low), high); }

#if !defined(PERSE_USE_AVX512)
PERSE_INLINE int append_set_bits(uint64_t set, uint32_t base, uint32_t* out) {
  int count = 0;
  for (; set; set &= set - 1) out[count++] = base + static_cast<uint32_t>(lowest_bit(set));
  return count;
}
#endif

}  // namespace PERSE_ISA
}  // namespace perse
