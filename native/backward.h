// Gradients of one tile.
//
// With the blend weights w_i = alpha_i T_i and q_i = dL/dalpha_out + sum_c channel_ic dL/dimage_c, the gradient
//   v_i = alpha_i dL/dalpha_i = w_i q_i - alpha_i / (1 - alpha_i) * sum of w_j q_j over j behind i
// needs only what lies behind i. The sum over all j follows from the finished image, so one walk near to far, the order
// of the trace, is enough: the rest shrinks by w_i q_i at each step.
//
// A gradient row holds, summed over pixels at offset (dx, dy) from the projected mean, with u = dy - slope dx:
//   v, v dx, v u, v dx^2, v dx u, v u^2, then w dL/dimage_c for the channels of the pass.
#pragma once

#include "tile.h"

namespace perse {
namespace PERSE_ISA {

template <int channels>
struct BackwardBlock {
  Float transmittance;
  Float rest;  // sum of w_j q_j over what is not drawn yet
  Float grad_alpha;
  Float grad_image[channels];
};

template <int channels>
PERSE_INLINE void read_block(const TileJob& job, BackwardBlock<channels>& block, int x, int y) {
  const float* background = job.background + job.first_channel;
  alignas(64) float rest[Float::width], grad_alpha[Float::width], grad_image[channels][Float::width];
  for (int lane = 0; lane < Float::width; ++lane) {
    const int px = x + lane % kBlockWidth, py = y + lane / kBlockWidth;
    rest[lane] = grad_alpha[lane] = 0.f;
    for (int c = 0; c < channels; ++c) grad_image[c][lane] = 0.f;
    if (px >= job.width || py >= job.height) continue;
    const size_t at = static_cast<size_t>(py) * job.width + px;
    const float* grad = job.grad_image + at * job.channel_count + job.first_channel;
    const float* image = job.image + at * job.channel_count + job.first_channel;
    const float alpha = job.alpha[at];
    if (job.grad_alpha) grad_alpha[lane] = job.grad_alpha[at];
    for (int c = 0; c < job.channels; ++c) {
      grad_image[c][lane] = grad[c];
      grad_alpha[lane] -= background[c] * grad[c];
      rest[lane] += grad[c] * (image[c] - background[c] * (1.f - alpha));
    }
    rest[lane] += grad_alpha[lane] * alpha;
  }
  block.transmittance = 1.f;  // the trace knows which pixels are finished or outside the image
  block.rest = load(rest);
  block.grad_alpha = load(grad_alpha);
  for (int c = 0; c < channels; ++c) block.grad_image[c] = load(grad_image[c]);
}

// Walk one Gaussian through one block, adding to its sums.
template <int channels>
PERSE_INLINE void backward_block(BackwardBlock<channels>& at, const Record& g, const Profile& profile, uint32_t hit,
                                 Float* sums) {
  const int block = static_cast<int>(hit >> 16);
  Float dx = load_column(profile.dx + block_x(block)), u = from_ridge(profile, block);
  Float unclamped = exp2(exponent(g, profile, block));
  Float alpha = select(mask_of(hit), min(unclamped, kMaxAlpha), 0.f);
  Float before = at.transmittance, weight = alpha * before, after = before - weight;
  at.transmittance = after;

  Float q = at.grad_alpha;
  for (int c = 0; c < channels; ++c) {
    q = q + g.channel[c] * at.grad_image[c];
    sums[6 + c] = sums[6 + c] + weight * at.grad_image[c];
  }
  Float contribution = weight * q;
  Float rest = at.rest - contribution;
  at.rest = rest;
  Float grad = contribution - weight * reciprocal(after) * rest;  // alpha / (1 - alpha) = weight / after
  grad = select(kMaxAlpha >= unclamped, grad, 0.f);  // a clamped alpha does not move
  Float grad_x = grad * dx, grad_u = grad * u;
  sums[0] = sums[0] + grad;
  sums[1] = sums[1] + grad_x;
  sums[2] = sums[2] + grad_u;
  sums[3] = sums[3] + grad_x * dx;
  sums[4] = sums[4] + grad_x * u;
  sums[5] = sums[5] + grad_u * u;
}

// Makes a row ready for a pass: the first begins all sums, later ones only those of their channels.
PERSE_INLINE void clear_row(float* row, bool first_pass) {
  if (first_pass) {
    for (int k = 0; k < kGradientRow; k += Float::width) store(row + k, 0.f);
  } else {
    for (int k = 6; k < kGradientRow; ++k) row[k] = 0.f;
  }
}

template <int channels>
void backward_tile(const TileJob& job, int tile_index, const Trace& trace, float* rows) {
  if (!trace.drawn_count) return;
  const int tile_x = tile_index % job.tiles_x * kTileSize, tile_y = tile_index / job.tiles_x * kTileSize;
  BackwardBlock<channels> blocks[kBlocks];
  for (int block = 0; block < kBlocks; ++block) {
    read_block(job, blocks[block], tile_x + block_x(block), tile_y + block_y(block));
  }
  const uint32_t* hit = trace.hits;
  for (uint32_t k = 0; k < trace.drawn_count; ++k) {
    const uint32_t ahead = k + kPrefetch < trace.drawn_count ? k + kPrefetch : k;
    PERSE_PREFETCH(&job.records[trace.drawn[ahead].id]);
    const Record& g = job.records[trace.drawn[k].id];
    Profile profile;
    make_profile(g, tile_x, tile_y, profile);
    Float sums[6 + channels];
    for (int i = 0; i < 6 + channels; ++i) sums[i] = 0.f;
    for (const uint32_t* end = hit + trace.drawn[k].hits; hit < end; ++hit) {
      backward_block(blocks[*hit >> 16], g, profile, *hit, sums);
    }
    float* row = rows + static_cast<size_t>(k) * kGradientRow;
    clear_row(row, job.first_channel == 0);
    add_sums<6 + channels>(sums, row);
  }
}

}  // namespace PERSE_ISA
}  // namespace perse
