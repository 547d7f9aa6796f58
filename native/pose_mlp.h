// MLP_pose in training (paper Eq. 25): tanh(net(moving point) - net(point at rest)) * bounds, and all its gradients.
//
// Points are rows and units are lanes, kMlpPoints at a time, so that a layer, its gradient by the inputs and its gradient
// by the weights are one and the same product of small matrices. Nothing is kept for the backward pass: computing the
// layers again is cheaper than reading them back.
#pragma once

#include "pose_maths.h"

namespace perse {
namespace PERSE_ISA {

template <int rows, int vectors>
PERSE_INLINE void multiply_tile(int depth, const float* a, int a_row, int a_step, const float* b, int b_row, float* c,
                                int c_row) {
  Float sums[rows][vectors];
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) sums[r][v] = load(c + r * c_row + v * kW);
  }
  for (int k = 0; k < depth; ++k, a += a_step, b += b_row) {
    Float y[vectors];
    for (int v = 0; v < vectors; ++v) y[v] = load(b + v * kW);
    for (int r = 0; r < rows; ++r) {
      const Float x = a[r * a_row];
      for (int v = 0; v < vectors; ++v) sums[r][v] = sums[r][v] + x * y[v];
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) store(c + r * c_row + v * kW, sums[r][v]);
  }
}

template <int vectors>
PERSE_INLINE void multiply_columns(int rows, int depth, const float* a, int a_row, int a_step, const float* b, int b_row,
                                   float* c, int c_row) {
  constexpr int tile = kW == 16 ? 8 : 4;  // as many rows as there are registers for
  int r = 0;
  for (; r + tile <= rows; r += tile) multiply_tile<tile, vectors>(depth, a + r * a_row, a_row, a_step, b, b_row, c + r * c_row, c_row);
  for (; r < rows; ++r) multiply_tile<1, vectors>(depth, a + r * a_row, a_row, a_step, b, b_row, c + r * c_row, c_row);
}

// C[r][column] += sum over k of A[r][k] B[k][column], where A[r][k] = a[r * a_row + k * a_step]. columns: multiple of 16.
inline void multiply_add(int rows, int depth, int columns, const float* a, int a_row, int a_step, const float* b, int b_row,
                         float* c, int c_row) {
  int column = 0;
  for (; column + 2 * kW <= columns; column += 2 * kW) {
    multiply_columns<2>(rows, depth, a, a_row, a_step, b + column, b_row, c + column, c_row);
  }
  for (; column < columns; column += kW) multiply_columns<1>(rows, depth, a, a_row, a_step, b + column, b_row, c + column, c_row);
}

// Values of every layer for kMlpPoints points: [point, stride[layer]].
struct Activations {
  float* at[kMaxMlpLayers + 1];

  PERSE_INLINE Activations(const MlpNetwork& net, float*& scratch) {
    for (int l = 0; l <= net.layers; ++l) {
      at[l] = scratch;
      scratch += kMlpPoints * net.stride[l];
    }
  }

  // Inputs of points [first, first + n); without movement where `moved` is null.
  PERSE_INLINE void set_inputs(const MlpTraining& job, const float* moved, const float* bent, int first, int n) {
    const int stride = job.net.stride[0], codes = job.net.widths[0] - 6;
    memset(at[0], 0, sizeof(float) * static_cast<size_t>(kMlpPoints * stride));
    for (int p = 0; p < n; ++p) {
      float* row = at[0] + p * stride;
      for (int k = 0; k < 3 && moved; ++k) {
        row[k] = moved[3 * p + k] * job.moved_scale;
        row[3 + k] = bent[3 * p + k] * job.bent_scale;
      }
      for (int k = 0; k < codes; ++k) row[6 + k] = job.codes[int64_t{first + p} * codes + k];
    }
  }

  PERSE_INLINE void run(const MlpNetwork& net) {
    for (int l = 0; l < net.layers; ++l) {
      const int stride = net.stride[l + 1];
      float* out = at[l + 1];
      for (int p = 0; p < kMlpPoints; ++p) memcpy(out + p * stride, net.biases[l], sizeof(float) * static_cast<size_t>(stride));
      multiply_add(kMlpPoints, net.widths[l], stride, at[l], net.stride[l], 1, net.weights[l], stride, out, stride);
      if (l + 1 == net.layers) continue;
      for (int k = 0; k < kMlpPoints * stride; k += kW) store(out + k, max(load(out + k), 0.f));
    }
  }

  // grad: of the last layer; it and `spare` are overwritten. Adds to sums; returns the gradient of the inputs.
  PERSE_INLINE float* run_back(const MlpNetwork& net, float* grad, float* spare, float* sums) const {
    const float one = 1.f;
    for (int l = net.layers - 1; l >= 0; --l) {
      const int in = net.stride[l], out = net.stride[l + 1];
      float* own_sums = sums + net.sums_begin[l];
      multiply_add(net.widths[l], kMlpPoints, out, at[l], 1, in, grad, out, own_sums, out);
      multiply_add(1, kMlpPoints, out, &one, 0, 0, grad, out, own_sums + net.widths[l] * out, out);
      memset(spare, 0, sizeof(float) * static_cast<size_t>(kMlpPoints * in));
      multiply_add(kMlpPoints, net.widths[l + 1], in, grad, out, 1, net.transposed[l], in, spare, in);
      for (int k = 0; k < kMlpPoints * in && l > 0; k += kW) {
        store(spare + k, select(load(at[l] + k) > 0.f, load(spare + k), 0.f));
      }
      float* const swap = grad;
      grad = spare;
      spare = swap;
    }
    return grad;
  }
};

void mlp_forward(const MlpTraining& job, int begin, int end, float* scratch) {
  const MlpNetwork& net = job.net;
  const int stride = net.stride[net.layers];
  Activations rest(net, scratch), moving(net, scratch);
  for (int first = begin; first < end; first += kMlpPoints) {
    const int n = end - first < kMlpPoints ? end - first : kMlpPoints;
    rest.set_inputs(job, nullptr, nullptr, first, n);
    rest.run(net);
    for (int f = 0; f < job.frames; ++f) {
      const int64_t place = int64_t{f} * job.count + first;
      moving.set_inputs(job, job.moved + 3 * place, job.bent + 3 * place, first, n);
      moving.run(net);
      float* values = moving.at[net.layers];
      const float* still = rest.at[net.layers];
      for (int k = 0; k < kMlpPoints * stride; k += kW) {
        store(values + k, hyperbolic_tangent(load(values + k) - load(still + k)));
      }
      for (int p = 0; p < n; ++p) {
        for (int k = 0; k < kMlpOutputs; ++k) job.changes[kMlpOutputs * (place + p) + k] = values[p * stride + k] * job.bounds[k];
      }
    }
  }
}

void mlp_backward(const MlpTraining& job, const MlpGradients& gradients, int begin, int end, float* scratch, float* sums) {
  const MlpNetwork& net = job.net;
  const int stride = net.stride[net.layers], in = net.stride[0], codes = net.widths[0] - 6;
  Activations rest(net, scratch), moving(net, scratch);
  float* const grad = scratch;
  float* const spare = grad + kMlpPoints * net.widest;
  float* const grad_rest = spare + kMlpPoints * net.widest;
  for (int first = begin; first < end; first += kMlpPoints) {
    const int n = end - first < kMlpPoints ? end - first : kMlpPoints;
    const auto add_codes = [&](const float* grad_inputs) {
      for (int p = 0; p < n; ++p) {
        for (int k = 0; k < codes; ++k) gradients.codes[int64_t{first + p} * codes + k] += grad_inputs[p * in + 6 + k];
      }
    };
    rest.set_inputs(job, nullptr, nullptr, first, n);
    rest.run(net);
    memset(grad_rest, 0, sizeof(float) * static_cast<size_t>(kMlpPoints * stride));
    for (int f = 0; f < job.frames; ++f) {
      const int64_t place = int64_t{f} * job.count + first;
      moving.set_inputs(job, job.moved + 3 * place, job.bent + 3 * place, first, n);
      moving.run(net);
      memset(grad, 0, sizeof(float) * static_cast<size_t>(kMlpPoints * stride));
      for (int p = 0; p < n; ++p) {
        for (int k = 0; k < kMlpOutputs; ++k) grad[p * stride + k] = gradients.changes[kMlpOutputs * (place + p) + k] * job.bounds[k];
      }
      for (int k = 0; k < kMlpPoints * stride; k += kW) {
        const Float value = hyperbolic_tangent(load(moving.at[net.layers] + k) - load(rest.at[net.layers] + k));
        const Float by_output = load(grad + k) * (Float(1.f) - value * value);
        store(grad + k, by_output);
        store(grad_rest + k, load(grad_rest + k) - by_output);
      }
      const float* by_inputs = moving.run_back(net, grad, spare, sums);
      for (int p = 0; p < n; ++p) {
        for (int k = 0; k < 3; ++k) {
          gradients.moved[3 * (place + p) + k] = by_inputs[p * in + k] * job.moved_scale;
          gradients.bent[3 * (place + p) + k] = by_inputs[p * in + 3 + k] * job.bent_scale;
        }
      }
      add_codes(by_inputs);
    }
    memcpy(grad, grad_rest, sizeof(float) * static_cast<size_t>(kMlpPoints * stride));
    add_codes(rest.run_back(net, grad, spare, sums));
  }
}

}  // namespace PERSE_ISA
}  // namespace perse
