// What vectors of 4 lanes have in common: a row of pixels is one vector. Included by their headers, behind what differs.
#pragma once

namespace perse {
namespace PERSE_ISA {

PERSE_INLINE Float load_column(const float* p) { return load(p); }
template <typename Row>
PERSE_INLINE Float load_each(const Row* const* rows, int first) {
  return load(reinterpret_cast<const float*>(rows[0]) + first);
}
PERSE_INLINE Float load_patch(const float* p, int) { return load(p); }
PERSE_INLINE void store_patch(float* p, int, Float x) { store(p, x); }
PERSE_INLINE bool any(Mask m) { return bits(m) != 0; }

PERSE_INLINE Float exp2(Float x) {
  Float n = round(x), f = x - n;  // f in [-0.5, 0.5]
  Float p = kExp2Half[5];
  for (int k = 4; k >= 0; --k) p = kExp2Half[k] + f * p;
  return scale_by_power(p, n);
}

PERSE_INLINE void bit_ranges(Float first, Float end, uint32_t* out) {
  alignas(16) float firsts[4], ends[4];
  store(firsts, first);
  store(ends, end);
  for (int i = 0; i < 4; ++i) out[i] = (1u << static_cast<int>(ends[i])) - (1u << static_cast<int>(firsts[i]));
}

}  // namespace PERSE_ISA
}  // namespace perse
