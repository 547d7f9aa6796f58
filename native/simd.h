// One vector of floats, written once for each instruction set behind the same interface.
//
// A kernel source file is compiled several times with different compiler flags (see CMakeLists.txt). The flags decide
// which of these headers is used; each defines, inside namespace perse::PERSE_ISA,
//
//   struct Float   `width` floats with + - * / and an implicit constructor that broadcasts one float
//   struct Mask    one truth value for each lane, with &
//   >=, >, ==      comparisons -> Mask (false for NaN)
//   load, store    from and to 64-byte aligned memory; load_any, store_any: from and to anywhere
//   load_half      from aligned float16 (finite ones)
//   min, max, sqrt, abs_negated (-|x|), round, reciprocal (about 22 bits), scale_by_power (x * 2^n, n integral)
//   select(mask, a, b), any(mask), bits(mask)
//   sum(x), add_sums(values, destination): adds the lane sums of `row_size` vectors to a row of floats
//   append_set_bits(bits, base, out) -> how many: writes base + i for each set bit i of the 16
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

// 2^x. Relative error below 2e-7 for x in [-126, 127]; below that the result is meaningless and must be masked out.
PERSE_INLINE Float exp2(Float x) {
  Float n = round(x), f = x - n;  // f in [-0.5, 0.5]
  Float p = f * 1.327646680e-03f + 9.675541293e-03f;
  p = p * f + 5.550713290e-02f;
  p = p * f + 2.402211972e-01f;
  p = p * f + 6.931469671e-01f;
  p = p * f + 1.000000072e+00f;
  return scale_by_power(p, n);
}

PERSE_INLINE Float clamp(Float x, Float low, Float high) { return min(max(x, low), high); }

}  // namespace PERSE_ISA
}  // namespace perse
