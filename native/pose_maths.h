// Sixteen points component by component, and the maths of a vector of them: transforms and quaternions.
#pragma once

#include "pose_types.h"
#include "simd.h"

namespace perse {
namespace PERSE_ISA {

constexpr int kW = Float::width;

// Arrays of one block: component by component, 16 points each.
template <int components>
struct alignas(64) Rows {
  float at[components][kPoseBlock];
};

// [n, components] -> component by component. Points that are not there repeat the last.
template <int components>
PERSE_INLINE void spread(const float* values, int n, Rows<components>& rows) {
  for (int i = 0; i < kPoseBlock; ++i) {
    const float* value = values + components * (i < n ? i : n - 1);
    for (int c = 0; c < components; ++c) rows.at[c][i] = value[c];
  }
}

template <int components>
PERSE_INLINE void clear(Rows<components>& rows) {
  for (int c = 0; c < components; ++c) {
    for (int i = 0; i < kPoseBlock; ++i) rows.at[c][i] = 0.f;
  }
}

// Like spread, but zero where there is no point, and all zero if there are no values.
template <int components>
PERSE_INLINE void spread_or_zero(const float* values, int n, Rows<components>& rows) {
  clear(rows);
  if (!values) return;
  for (int i = 0; i < n; ++i) {
    for (int c = 0; c < components; ++c) rows.at[c][i] = values[components * i + c];
  }
}

// Component by component -> [n, components].
template <int components>
PERSE_INLINE void gather(const Rows<components>& rows, int n, float* values) {
  const auto copy = [&](int i) __attribute__((always_inline)) {
    for (int c = 0; c < components; ++c) values[components * i + c] = rows.at[c][i];
  };
  if (n == kPoseBlock) {  // of a length that the compiler knows, so that it shuffles vectors
    for (int i = 0; i < kPoseBlock; ++i) copy(i);
  } else {
    for (int i = 0; i < n; ++i) copy(i);
  }
}

template <int components>
PERSE_INLINE void load_rows(const Rows<components>& rows, int lane, Float* out) {
  for (int c = 0; c < components; ++c) out[c] = load(rows.at[c] + lane);
}

template <int components>
PERSE_INLINE void store_rows(const Float* values, int lane, Rows<components>& rows) {
  for (int c = 0; c < components; ++c) store(rows.at[c] + lane, values[c]);
}

// ---- the maths of kW points

PERSE_INLINE void blend_transforms(const float* transforms, const Float* weight, Float* matrix) {
  for (int e = 0; e < kTransform; ++e) {
    matrix[e] = weight[0] * transforms[e];
    for (int j = 1; j < kJoints; ++j) matrix[e] = matrix[e] + weight[j] * transforms[kTransform * j + e];
  }
}

// Eq. 22.
PERSE_INLINE void transform_point(const Float* matrix, const Float* x, Float* posed) {
  for (int r = 0; r < 3; ++r) {
    const Float* row = matrix + 4 * r;
    posed[r] = row[0] * x[0] + row[1] * x[1] + (row[2] * x[2] + row[3]);
  }
}

PERSE_INLINE Float dot4(const Float* a, const Float* b) { return a[0] * b[0] + a[1] * b[1] + (a[2] * b[2] + a[3] * b[3]); }

// q / |q|; returns 1 / |q|. Very short ones stay short, as in torch.
PERSE_INLINE Float normalize4(Float* q) {
  const Float inverse = Float(1.f) / max(sqrt(dot4(q, q)), 1e-12f);
  for (int k = 0; k < 4; ++k) q[k] = q[k] * inverse;
  return inverse;
}

// Gradient of q / |q| by q, where `unit` is the result.
PERSE_INLINE void normalize4_backward(const Float* unit, Float inverse, Float* grad) {
  const Float along = dot4(unit, grad);
  for (int k = 0; k < 4; ++k) grad[k] = (grad[k] - unit[k] * along) * inverse;
}

// The rotation of a point: weighted joint quaternions. Returns 1 / length before normalising.
PERSE_INLINE Float blend_quats(const float* joint_quats, const Float* weight, Float* q) {
  for (int k = 0; k < 4; ++k) {
    q[k] = weight[0] * joint_quats[k];
    for (int j = 1; j < kJoints; ++j) q[k] = q[k] + weight[j] * joint_quats[4 * j + k];
  }
  return normalize4(q);
}

PERSE_INLINE void multiply_quats(const Float* a, const Float* b, Float* out) {
  out[0] = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3];
  out[1] = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2];
  out[2] = a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1];
  out[3] = a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0];
}

PERSE_INLINE void conjugate(const Float* q, Float* out) {
  out[0] = q[0];
  for (int k = 1; k < 4; ++k) out[k] = -q[k];
}

// ---- functions

PERSE_INLINE Float exponential(Float x) { return exp2(clamp(x * 1.4426950408889634f, -125.f, 125.f)); }
PERSE_INLINE Float hyperbolic_tangent(Float x) {
  const Float power = exponential(clamp(x, -15.f, 15.f) * 2.f);
  return (power - 1.f) * reciprocal(power + 1.f);
}

}  // namespace PERSE_ISA
}  // namespace perse
