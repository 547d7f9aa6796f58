// Playback of packed points (TableJob): the same motion as in pose_skin.h, and MLP_pose (paper Eq. 25) with the activations
// that follow it. perse/avatar/posing.py defines the same numbers.
#pragma once

#include "pose_maths.h"

namespace perse {
namespace PERSE_ISA {

PERSE_INLINE Float load_stored(const float* p) { return load(p); }
PERSE_INLINE Float load_stored(const int16_t* p) { return load_short(p); }

// The columns of one block, each times its coefficient.
template <typename Stored>
PERSE_INLINE void bend_block(const TableJob& job, int block, const float* coefficients, Rows<3>& bent) {
  const Stored* columns = static_cast<const Stored*>(job.columns);
  constexpr int vectors = 3 * kPoseBlock / kW;
  Float sums[vectors];
  for (int v = 0; v < vectors; ++v) sums[v] = 0.f;
  for (int32_t k = job.first[block]; k < job.first[block + 1]; ++k) {
    const float coefficient = coefficients[job.which[k]] * job.units[k];
    if (coefficient == 0.f) continue;
    const Stored* column = columns + int64_t{k} * 3 * kPoseBlock;
    for (int v = 0; v < vectors; ++v) sums[v] = sums[v] + load_stored(column + v * kW) * coefficient;
  }
  for (int v = 0; v < vectors; ++v) store(bent.at[0] + v * kW, sums[v]);
}

PERSE_INLINE Float sigmoid(Float x) { return reciprocal(exponential(-x) + 1.f); }

// What the next block will read, fetched while this one computes: processors see no pattern from block to block.
struct Ahead {
  const char* at;
  const char* end;
  PERSE_INLINE void fetch(int lines) {
    for (; lines > 0 && at < end; --lines, at += 64) PERSE_PREFETCH(at);
  }
};

template <typename Stored>
PERSE_INLINE Ahead ahead_of(const TableJob& job, int block) {
  const int next = (block + 1) * kPoseBlock < job.count ? block + 1 : block;
  const Stored* columns = static_cast<const Stored*>(job.columns);
  return {reinterpret_cast<const char*>(columns + int64_t{job.first[next]} * 3 * kPoseBlock),
          reinterpret_cast<const char*>(columns + int64_t{job.first[next + 1]} * 3 * kPoseBlock)};
}

// One layer for 16 points, 8 outputs at a time: in [inputs, 16] -> out [outputs, 16].
PERSE_INLINE void mlp_layer(const float* weights, int inputs, int outputs, bool rectify, const float* in, float* out,
                            Ahead& ahead) {
  const float* biases = weights + inputs * outputs;
  for (int o = 0; o < outputs; o += 8) {
    ahead.fetch(16);
    for (int l = 0; l < kPoseBlock; l += kW) {
      Float sums[8];
      for (int k = 0; k < 8; ++k) sums[k] = biases[o + k];
      for (int i = 0; i < inputs; ++i) {
        const Float x = load(in + i * kPoseBlock + l);
        const float* w = weights + i * outputs + o;
        for (int k = 0; k < 8; ++k) sums[k] = sums[k] + x * w[k];
      }
      for (int k = 0; k < 8; ++k) store(out + (o + k) * kPoseBlock + l, rectify ? max(sums[k], 0.f) : sums[k]);
    }
  }
}

// Eq. 25 for a block: the changes [11, 16], before their bounds.
PERSE_INLINE const float* run_mlp(const TableJob& job, const float* constants, const Rows<3>& moved, const Rows<3>& bent,
                                  float* scratch, Ahead ahead) {
  float* in = scratch;
  float* out = scratch + kMlpSwap;
  memcpy(in, moved.at, sizeof(moved.at));
  memcpy(in + 3 * kPoseBlock, bent.at, sizeof(bent.at));
  const int codes = job.mlp.widths[0] - 6;
  memcpy(in + 6 * kPoseBlock, constants + kRowCode * kPoseBlock, sizeof(float) * kPoseBlock * static_cast<size_t>(codes));
  const float* weights = job.mlp.weights;
  for (int layer = 0; layer < job.mlp.layers; ++layer) {
    const int inputs = job.mlp.widths[layer], outputs = job.mlp.widths[layer + 1];
    mlp_layer(weights, inputs, outputs, layer + 1 < job.mlp.layers, in, out, ahead);
    weights += (inputs + 1) * outputs;
    float* const spare = in;
    in = out;
    out = spare;
  }
  return in;
}

struct TableBlock {
  Rows<3> means, scales, colors;
  Rows<4> quats;
  Rows<1> opacities;

  // What MLP_pose changes, and the activations that follow it.
  PERSE_INLINE void change(const TableJob& job, const float* constants, const float* changes) {
    for (int l = 0; l < kPoseBlock; l += kW) {
      Float d[kMlpOutputs];
      for (int k = 0; k < kMlpOutputs; ++k) {
        const Float at_rest = load(constants + (kRowAtRest + k) * kPoseBlock + l);
        d[k] = hyperbolic_tangent(load(changes + k * kPoseBlock + l) - at_rest) * job.mlp.bounds[k];
      }
      Float q[4];
      load_rows(quats, l, q);
      for (int k = 0; k < 4; ++k) q[k] = q[k] + d[k];
      normalize4(q);
      store_rows(q, l, quats);
      for (int k = 0; k < 3; ++k) {
        const Float log_scale = load(constants + (kRowLogScale + k) * kPoseBlock + l) + d[4 + k];
        store(scales.at[k] + l, exponential(clamp(log_scale, job.mlp.min_log_scale, job.mlp.max_log_scale)));
        store(colors.at[k] + l, sigmoid(load(constants + (kRowColor + k) * kPoseBlock + l) + d[8 + k]));
      }
      const Float opacity = sigmoid(load(constants + kRowOpacity * kPoseBlock + l) + d[7]);
      store(opacities.at[0] + l, opacity * load(constants + kRowPresence * kPoseBlock + l));
    }
  }
};

void table(const TableJob& job, int begin, int end, float* scratch) {
  for (int first = begin; first < end; first += kPoseBlock) {
    const int n = end - first < kPoseBlock ? end - first : kPoseBlock;
    const int index = first / kPoseBlock;
    const float* constants = job.constants + int64_t{index} * job.rows * kPoseBlock;
    for (int f = 0; f < job.motion.frames; ++f) {
      Rows<3> bent, moved;
      TableBlock block;
      const float* coefficients = job.coefficients + int64_t{f} * job.coefficient_count;
      const Ahead ahead = job.compact ? ahead_of<int16_t>(job, index) : ahead_of<float>(job, index);
      if (job.compact) {
        bend_block<int16_t>(job, index, coefficients, bent);
      } else {
        bend_block<float>(job, index, coefficients, bent);
      }
      for (int l = 0; l < kPoseBlock; l += kW) {
        Float weight[kJoints], matrix[kTransform], x[3], offset[3], out[3], q[4], own[4], product[4];
        for (int j = 0; j < kJoints; ++j) weight[j] = load(constants + (kRowWeight + j) * kPoseBlock + l);
        for (int k = 0; k < 4; ++k) own[k] = load(constants + (kRowQuat + k) * kPoseBlock + l);
        load_rows(bent, l, offset);
        for (int c = 0; c < 3; ++c) x[c] = load(constants + (kRowMean + c) * kPoseBlock + l);
        for (int c = 0; c < 3; ++c) offset[c] = x[c] + offset[c];
        blend_transforms(job.motion.transforms + f * kJoints * kTransform, weight, matrix);
        transform_point(matrix, offset, out);
        store_rows(out, l, block.means);
        for (int c = 0; c < 3; ++c) store(moved.at[c] + l, out[c] - x[c]);
        blend_quats(job.motion.joint_quats + f * kJoints * 4, weight, q);
        multiply_quats(q, own, product);
        store_rows(product, l, block.quats);
      }
      const int64_t place = int64_t{f} * job.count + first;
      if (job.mlp.layers) {
        block.change(job, constants, run_mlp(job, constants, moved, bent, scratch, ahead));
        gather(block.scales, n, job.scales + 3 * place);
        gather(block.opacities, n, job.opacities + place);
        gather(block.colors, n, job.colors + 3 * place);
      }
      gather(block.means, n, job.means + 3 * place);
      gather(block.quats, n, job.quats + 4 * place);
    }
  }
}

}  // namespace PERSE_ISA
}  // namespace perse
