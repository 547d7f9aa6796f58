// The driver around pose_mlp.h: packs the layers, divides the points, adds up the gradients of the weights.
#include <algorithm>
#include <vector>

#include "buffers.h"
#include "chunks.h"
#include "pose.h"

namespace perse {
namespace {

// The layers in rows of multiples of 16, and transposed.
class PackedNetwork {
 public:
  explicit PackedNetwork(const MlpLayers& given) {
    net.layers = given.layers;
    std::copy(given.widths, given.widths + given.layers + 1, net.widths);
    measure();
    size_t size = 0;
    for (int l = 0; l < net.layers; ++l) size += floats(l);
    float* at = buffer_.resize(size);
    std::fill(at, at + size, 0.f);
    for (int l = 0; l < net.layers; ++l) {
      const int in = net.widths[l], out = net.widths[l + 1], in_stride = net.stride[l], out_stride = net.stride[l + 1];
      float* weights = at;
      float* transposed = weights + in * out_stride;
      float* biases = transposed + out * in_stride;
      for (int o = 0; o < out; ++o) {
        for (int i = 0; i < in; ++i) weights[i * out_stride + o] = transposed[o * in_stride + i] = given.weights[l][o * in + i];
      }
      std::copy(given.biases[l], given.biases[l] + out, biases);
      net.weights[l] = weights;
      net.transposed[l] = transposed;
      net.biases[l] = biases;
      at += floats(l);
    }
  }

  MlpNetwork net = {};

 private:
  void measure() {
    int values = 0;
    for (int l = 0; l <= net.layers; ++l) {
      net.stride[l] = (net.widths[l] + 15) / 16 * 16;
      net.widest = std::max(net.widest, net.stride[l]);
      values += 2 * net.stride[l];
      if (l) net.sums_begin[l] = net.sums_begin[l - 1] + (net.widths[l - 1] + 1) * net.stride[l];
    }
    net.scratch = kMlpPoints * (values + 3 * net.widest);
  }
  size_t floats(int l) const {
    return size_t(net.widths[l] + 1) * size_t(net.stride[l + 1]) + size_t(net.widths[l + 1]) * size_t(net.stride[l]);
  }
  AlignedBuffer<float> buffer_;
};

}  // namespace

void mlp_forward(MlpTraining job, const MlpLayers& layers, int threads, const Kernel& kernel) {
  const PackedNetwork packed(layers);
  job.net = packed.net;
  const size_t scratch_size = size_t(packed.net.scratch);
  AlignedBuffer<float> scratch;
  scratch.resize(scratch_size * size_t(std::max(threads, 1)));
  run_chunks(job.count, threads, [&](int part, int, int begin, int end) {
    kernel.pose.mlp_forward(job, begin, end, scratch.data() + scratch_size * size_t(part));
  });
}

void mlp_backward(MlpTraining job, const MlpLayers& layers, const MlpGradients& gradients, float* const* grad_weights,
                  float* const* grad_biases, int threads, const Kernel& kernel) {
  const PackedNetwork packed(layers);
  job.net = packed.net;
  const MlpNetwork& net = packed.net;
  const size_t scratch_size = size_t(net.scratch), numbers = size_t(net.sums_begin[net.layers]);
  const size_t chunks = size_t(chunk_count(job.count));
  AlignedBuffer<float> scratch, sums;  // sums: a place for each chunk, so that threads do not change the result
  scratch.resize(scratch_size * size_t(std::max(threads, 1)));
  float* all_sums = sums.resize(chunks * numbers);
  std::fill(all_sums, all_sums + chunks * numbers, 0.f);
  run_chunks(job.count, threads, [&](int part, int chunk, int begin, int end) {
    kernel.pose.mlp_backward(job, gradients, begin, end, scratch.data() + scratch_size * size_t(part),
                             all_sums + size_t(chunk) * numbers);
  });

  std::vector<double> total(numbers, 0.0);
  for (size_t chunk = 0; chunk < chunks; ++chunk) {
    for (size_t k = 0; k < numbers; ++k) total[k] += all_sums[chunk * numbers + k];
  }
  for (int l = 0; l < net.layers; ++l) {
    const int in = net.widths[l], out = net.widths[l + 1], stride = net.stride[l + 1];
    const double* own = total.data() + net.sums_begin[l];
    for (int o = 0; o < out; ++o) {
      for (int i = 0; i < in; ++i) grad_weights[l][o * in + i] = static_cast<float>(own[i * stride + o]);
      grad_biases[l][o] = static_cast<float>(own[in * stride + o]);
    }
  }
}

}  // namespace perse
