// Posing with E, P, W as torch keeps them: blendshapes, linear blend skinning, rotation of the quaternions (paper Eqs. 21,
// 22, 29), and all gradients. perse/head/skinning.py defines the same numbers.
#pragma once

#include "pose_maths.h"

namespace perse {
namespace PERSE_ISA {

// Where vector s of a row of `columns` begins: the last one ends with the row.
PERSE_INLINE int vector_start(int s, int columns) { return (s + 1) * kW <= columns ? s * kW : columns - kW; }
PERSE_INLINE int vectors_of(int columns) { return (columns + kW - 1) / kW; }
PERSE_INLINE int vectors_of(const SkinJob& job) { return vectors_of(job.columns[0]) + vectors_of(job.columns[1]); }

// What E and P move in one frame: out[3 * point + coordinate] for the block of points that begins at `first`.
PERSE_INLINE void bend(const SkinJob& job, const float* coefficients, int first, float* out) {
  const int last_row = 3 * job.count - 1;
  for (int group = 0; group < 3; ++group) {
    Float partial[16];
    for (int k = 0; k < 16; ++k) {
      const int row = 3 * first + 16 * group + k;
      const int64_t present = row < last_row ? row : last_row;
      const float* c = coefficients;
      Float sum = 0.f;
      for (int b = 0; b < 2; ++b) {
        const float* values = job.basis[b] + present * job.columns[b];
        for (int s = 0; s < vectors_of(job.columns[b]); ++s, c += kW) {
          sum = sum + load_any(values + vector_start(s, job.columns[b])) * load(c);
        }
      }
      partial[k] = sum;
    }
    for (int k = 0; k < 16; ++k) out[16 * group + k] = 0.f;
    add_sums<16>(partial, out + 16 * group);
  }
}

// The constants of one block of points.
struct SkinBlock {
  Rows<3> points;
  Rows<4> quats;  // unit
  Rows<5> weights;
  alignas(64) float inverse_length[kPoseBlock];  // of the quats as given

  PERSE_INLINE SkinBlock(const SkinJob& job, int first, int n) {
    spread(job.points + 3 * int64_t{first}, n, points);
    spread(job.weights + kJoints * int64_t{first}, n, weights);
    if (!job.quats) return;
    spread(job.quats + 4 * int64_t{first}, n, quats);
    for (int l = 0; l < kPoseBlock; l += kW) {
      Float q[4];
      for (int k = 0; k < 4; ++k) q[k] = load(quats.at[k] + l);
      store(inverse_length + l, normalize4(q));
      for (int k = 0; k < 4; ++k) store(quats.at[k] + l, q[k]);
    }
  }
};

void skin(const SkinJob& job, int begin, int end) {
  const int stride = vectors_of(job) * kW;
  for (int first = begin; first < end; first += kPoseBlock) {
    const int n = end - first < kPoseBlock ? end - first : kPoseBlock;
    const SkinBlock block(job, first, n);
    for (int f = 0; f < job.motion.frames; ++f) {
      const int64_t place = f * job.total + first;
      alignas(64) float offsets[3 * kPoseBlock];
      bend(job, job.once + int64_t{f} * stride, first, offsets);
      if (job.bent) memcpy(job.bent + 3 * place, offsets, sizeof(float) * 3 * static_cast<size_t>(n));
      Rows<3> bent, posed;
      Rows<4> turned;
      spread(offsets, kPoseBlock, bent);
      for (int l = 0; l < kPoseBlock; l += kW) {
        Float weight[kJoints], matrix[kTransform], x[3], moved[3], out[3], q[4];
        load_rows(block.weights, l, weight);
        load_rows(block.points, l, x);
        load_rows(bent, l, moved);
        for (int c = 0; c < 3; ++c) moved[c] = x[c] + moved[c];  // Eq. 21
        blend_transforms(job.motion.transforms + f * kJoints * kTransform, weight, matrix);
        transform_point(matrix, moved, out);
        store_rows(out, l, posed);
        blend_quats(job.motion.joint_quats + f * kJoints * 4, weight, q);
        if (job.quats) {  // Eq. 29
          Float own[4], product[4];
          load_rows(block.quats, l, own);
          multiply_quats(q, own, product);
          store_rows(product, l, turned);
        } else {
          store_rows(q, l, turned);
        }
      }
      gather(posed, n, job.posed + 3 * place);
      gather(turned, n, job.turned + 4 * place);
    }
  }
}

// ---- gradients

// Adds one frame's share of a block: gradients of what follows the blendshapes. `joint_sums`: kJointSums vectors, or null.
struct SkinBackwardBlock {
  Rows<3> grad_points;
  Rows<4> grad_quats;  // of the unit quaternions
  Rows<5> grad_weights;

  PERSE_INLINE SkinBackwardBlock() {
    clear(grad_points);
    clear(grad_quats);
    clear(grad_weights);
  }

  // grad_bent comes in as what is given, and leaves as the gradient of everything that E and P move.
  PERSE_INLINE void add_frame(const SkinBlock& block, const float* transforms, const float* joint_quats, bool has_quats,
                              const Rows<3>& bent, const Rows<3>& grad_posed, const Rows<4>& grad_turned,
                              Rows<3>& grad_bent, float* joint_sums) {
    for (int l = 0; l < kPoseBlock; l += kW) {
      Float weight[kJoints], grad_weight[kJoints], matrix[kTransform], moved[3], offset[3], g[3];
      load_rows(block.weights, l, weight);
      load_rows(grad_weights, l, grad_weight);
      load_rows(block.points, l, moved);
      load_rows(bent, l, offset);
      load_rows(grad_posed, l, g);
      for (int c = 0; c < 3; ++c) moved[c] = moved[c] + offset[c];

      blend_transforms(transforms, weight, matrix);
      for (int c = 0; c < 3; ++c) {
        const Float by_moved = matrix[c] * g[0] + matrix[4 + c] * g[1] + matrix[8 + c] * g[2];
        store(grad_points.at[c] + l, load(grad_points.at[c] + l) + by_moved);
        store(grad_bent.at[c] + l, load(grad_bent.at[c] + l) + by_moved);
      }
      Float outer[kTransform];  // gradient of the blended matrix
      for (int r = 0; r < 3; ++r) {
        for (int c = 0; c < 3; ++c) outer[4 * r + c] = g[r] * moved[c];
        outer[4 * r + 3] = g[r];
      }
      for (int j = 0; j < kJoints; ++j) {
        for (int e = 0; e < kTransform; ++e) grad_weight[j] = grad_weight[j] + outer[e] * transforms[kTransform * j + e];
      }

      Float q[4], grad_q[4];
      const Float inverse = blend_quats(joint_quats, weight, q);
      load_rows(grad_turned, l, grad_q);
      if (has_quats) {
        Float own[4], back[4], given[4], grad_own[4];
        load_rows(grad_turned, l, given);
        load_rows(block.quats, l, own);
        conjugate(q, back);
        multiply_quats(back, given, grad_own);
        for (int k = 0; k < 4; ++k) store(grad_quats.at[k] + l, load(grad_quats.at[k] + l) + grad_own[k]);
        conjugate(own, back);
        multiply_quats(given, back, grad_q);
      }
      normalize4_backward(q, inverse, grad_q);
      for (int j = 0; j < kJoints; ++j) {
        for (int k = 0; k < 4; ++k) grad_weight[j] = grad_weight[j] + grad_q[k] * joint_quats[4 * j + k];
      }
      store_rows(grad_weight, l, grad_weights);

      if (!joint_sums) continue;
      for (int j = 0; j < kJoints; ++j) {
        float* sums = joint_sums + kTransform * j * kW;
        for (int e = 0; e < kTransform; ++e) store(sums + e * kW, load(sums + e * kW) + weight[j] * outer[e]);
        sums = joint_sums + (kJoints * kTransform + 4 * j) * kW;
        for (int k = 0; k < 4; ++k) store(sums + k * kW, load(sums + k * kW) + weight[j] * grad_q[k]);
      }
    }
  }

  PERSE_INLINE void write(const SkinJob& job, const SkinGradients& gradients, const SkinBlock& block, int first, int n) {
    if (gradients.points) gather(grad_points, n, gradients.points + 3 * int64_t{first});
    if (gradients.weights) gather(grad_weights, n, gradients.weights + kJoints * int64_t{first});
    if (!gradients.quats || !job.quats) return;
    for (int l = 0; l < kPoseBlock; l += kW) {
      Float own[4], grad[4];
      load_rows(block.quats, l, own);
      load_rows(grad_quats, l, grad);
      normalize4_backward(own, load(block.inverse_length + l), grad);
      store_rows(grad, l, grad_quats);
    }
    gather(grad_quats, n, gradients.quats + 4 * int64_t{first});
  }
};

// Gradients of E and P, and vector sums of those of their coefficients. grads: [F, 48], of what E and P move.
PERSE_INLINE void bend_backward(const SkinJob& job, const SkinGradients& gradients, int first, int n, const float* grads,
                                float* coefficient_sums, int sums_stride) {
  const int frames = job.motion.frames, stride = vectors_of(job) * kW;
  for (int r = 0; r < 3 * n; ++r) {
    int vector = 0;
    for (int b = 0; b < 2; ++b) {
      const int64_t row = (3 * int64_t{first} + r) * job.columns[b];
      for (int s = 0; s < vectors_of(job.columns[b]); ++s, ++vector) {
        const int64_t place = row + vector_start(s, job.columns[b]);
        if (gradients.basis[b]) {
          Float sum = 0.f;
          for (int f = 0; f < frames; ++f) {
            sum = sum + load(job.always + int64_t{f} * stride + vector * kW) * grads[3 * kPoseBlock * f + r];
          }
          store_any(gradients.basis[b] + place, sum);
        }
        if (gradients.coefficients) {
          const Float values = load_any(job.basis[b] + place);
          for (int f = 0; f < frames; ++f) {
            float* sum = coefficient_sums + int64_t{f} * sums_stride + vector * kW;
            store(sum, load(sum) + values * grads[3 * kPoseBlock * f + r]);
          }
        }
      }
    }
  }
}

// Lane sums of one frame: kJointSums vectors, then those of the coefficients, whose last vectors begin early.
PERSE_INLINE void add_lane_sums(const SkinJob& job, const SkinGradients& gradients, const float* vectors, float* sums) {
  if (gradients.joints) {
    for (int k = 0; k < kJointSums; ++k) sums[k] += sum(load(vectors + k * kW));
  }
  vectors += kJointSums * kW;
  sums += kJointSums;
  if (!gradients.coefficients) return;
  for (int b = 0; b < 2; ++b) {
    const int columns = job.columns[b];
    for (int k = 0; k < columns; ++k) {
      const int s = k / kW;
      sums[k] += vectors[s * kW + k - vector_start(s, columns)];
    }
    vectors += vectors_of(columns) * kW;
    sums += columns;
  }
}

// scratch: for every frame 48 gradients, then kJointSums vectors and one for every vector of coefficients.
void skin_backward(const SkinJob& job, const SkinGradients& gradients, int begin, int end, float* scratch, float* sums) {
  const int frames = job.motion.frames;
  const int sums_stride = (kJointSums + vectors_of(job)) * kW;
  float* const grads = scratch;
  float* const vectors = scratch + int64_t{frames} * 3 * kPoseBlock;
  const bool any_sums = gradients.joints || gradients.coefficients;
  if (any_sums) memset(vectors, 0, sizeof(float) * static_cast<size_t>(frames) * static_cast<size_t>(sums_stride));

  for (int first = begin; first < end; first += kPoseBlock) {
    const int n = end - first < kPoseBlock ? end - first : kPoseBlock;
    const SkinBlock block(job, first, n);
    SkinBackwardBlock backward;
    for (int f = 0; f < frames; ++f) {
      const int64_t place = f * job.total + first;
      Rows<3> bent, grad_posed, grad_bent;
      Rows<4> grad_turned;
      spread(job.bent + 3 * place, n, bent);
      spread_or_zero(gradients.posed ? gradients.posed + 3 * place : nullptr, n, grad_posed);
      spread_or_zero(gradients.turned ? gradients.turned + 4 * place : nullptr, n, grad_turned);
      spread_or_zero(gradients.bent ? gradients.bent + 3 * place : nullptr, n, grad_bent);
      backward.add_frame(block, job.motion.transforms + f * kJoints * kTransform, job.motion.joint_quats + f * kJoints * 4,
                         job.quats != nullptr, bent, grad_posed, grad_turned, grad_bent,
                         gradients.joints ? vectors + int64_t{f} * sums_stride : nullptr);
      gather(grad_bent, kPoseBlock, grads + 3 * kPoseBlock * f);
    }
    backward.write(job, gradients, block, first, n);
    if (gradients.basis[0] || gradients.basis[1] || gradients.coefficients) {
      bend_backward(job, gradients, first, n, grads, vectors + kJointSums * kW, sums_stride);
    }
  }
  if (!any_sums) return;
  const int row = kJointSums + job.columns[0] + job.columns[1];
  for (int f = 0; f < frames; ++f) {
    add_lane_sums(job, gradients, vectors + int64_t{f} * sums_stride, sums + int64_t{f} * row);
  }
}

}  // namespace PERSE_ISA
}  // namespace perse
