// Gradients of one tile.
//
// With the blend weights w_i = alpha_i T_i and q_i = dL/dalpha_out + sum_c channel_ic dL/dimage_c, the gradient
//   v_i = alpha_i dL/dalpha_i = w_i q_i - alpha_i / (1 - alpha_i) * sum of w_j q_j over j behind i
// needs only what lies behind i. The sum over all j follows from the finished image, so one walk near to far, the order
// in which the lists are, is enough: the rest shrinks by w_i q_i at each step.
//
// A gradient row holds, summed over pixels at offset (dx, dy) from the projected mean:
//   v, v dx, v dy, v dx^2, v dx dy, v dy^2, then w dL/dimage_c for the channels of the pass.
#pragma once

#include "tile.h"

namespace perse {
namespace PERSE_ISA {

template <int channels>
struct BackwardTile {
  Float transmittance[kBlocksPerTile][kVectors];
  Float rest[kBlocksPerTile][kVectors];  // sum of w_j q_j over what is not drawn yet
  Float grad_alpha[kBlocksPerTile][kVectors];
  Float grad_image[kBlocksPerTile][kVectors][channels];
};

template <int channels>
PERSE_INLINE void read_block(const TileJob& job, BackwardTile<channels>& tile, int block, int x, int y) {
  const float* background = job.background + job.first_channel;
  for (int v = 0; v < kVectors; ++v) {
    alignas(64) float rest[Float::width], grad_alpha[Float::width], grad_image[channels][Float::width];
    for (int lane = 0; lane < Float::width; ++lane) {
      const int pixel = v * Float::width + lane;
      const int px = x + pixel % kBlockSize, py = y + pixel / kBlockSize;
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
    tile.transmittance[block][v] = initial_transmittance(x, y, job.width, job.height, v);
    tile.rest[block][v] = load(rest);
    tile.grad_alpha[block][v] = load(grad_alpha);
    for (int c = 0; c < channels; ++c) tile.grad_image[block][v][c] = load(grad_image[c]);
  }
}

// Walk one Gaussian through one block, adding to its sums; false once every pixel of the block is finished.
template <int channels>
PERSE_INLINE bool backward_block(BackwardTile<channels>& tile, const Record& g, int block, float mean_x, float mean_y,
                                 Float* sums) {
  const float block_x = kBlockX[block] - mean_x, block_y = kBlockY[block] - mean_y;
  bool alive = false;
  for (int v = 0; v < kVectors; ++v) {
    Float dx = load(kPixelX + v * Float::width) + block_x;
    Float dy = load(kPixelY + v * Float::width) + block_y;
    Float exponent = dx * (g.xx * dx + g.xy * dy) + (g.log2_opacity + g.yy * dy * dy);
    Mask seen = exponent >= kLog2MinAlpha;
    Float unclamped = exp2(exponent);
    Float alpha = min(unclamped, kMaxAlpha);
    Float before = tile.transmittance[block][v], after = before - before * alpha;
    Mask live = after > kMinTransmittance;
    Mask drawn = seen & live;
    Float weight = select(drawn, alpha * before, 0.f);
    Float now = select(seen, select(live, after, abs_negated(before)), before);
    tile.transmittance[block][v] = now;
    alive = alive | any(now > 0.f);

    Float q = tile.grad_alpha[block][v];
    for (int c = 0; c < channels; ++c) {
      Float grad = tile.grad_image[block][v][c];
      q = q + g.channel[c] * grad;
      sums[6 + c] = sums[6 + c] + weight * grad;
    }
    Float contribution = weight * q;
    Float rest = tile.rest[block][v] - contribution;
    tile.rest[block][v] = rest;
    Float grad = contribution - alpha * reciprocal(1.f - alpha) * rest;
    grad = select(drawn & (kMaxAlpha >= unclamped), grad, 0.f);  // a clamped alpha does not move
    Float grad_x = grad * dx, grad_y = grad * dy;
    sums[0] = sums[0] + grad;
    sums[1] = sums[1] + grad_x;
    sums[2] = sums[2] + grad_y;
    sums[3] = sums[3] + grad_x * dx;
    sums[4] = sums[4] + grad_x * dy;
    sums[5] = sums[5] + grad_y * dy;
  }
  return alive;
}

PERSE_INLINE int lowest_bit(uint32_t set) {
#if defined(__GNUC__)
  return __builtin_ctz(set);
#else
  int i = 0;
  while (!((set >> i) & 1u)) ++i;
  return i;
#endif
}

template <int channels>
void backward_tile(const TileJob& job, int tile_index, float* rows) {
  const uint32_t begin = job.tile_begin[tile_index], end = job.tile_end[tile_index];
  if (begin >= end) return;
  const int tile_x = tile_index % job.tiles_x * kTileSize, tile_y = tile_index / job.tiles_x * kTileSize;
  BackwardTile<channels> tile;
  uint32_t alive = 0;
  for (int block = 0; block < kBlocksPerTile; ++block) {
    const int x = tile_x + block % 4 * kBlockSize, y = tile_y + block / 4 * kBlockSize;
    read_block(job, tile, block, x, y);
    alive |= static_cast<uint32_t>(x < job.width && y < job.height) << block;
  }
  uint32_t touched[kBatch];
  for (uint32_t batch = begin; batch < end && alive; batch += kBatch) {
    const uint32_t batch_end = batch + kBatch < end ? batch + kBatch : end;
    for (uint32_t at = batch; at < batch_end; ++at) {
      PERSE_PREFETCH(&job.records[job.list[at + kPrefetch]]);
      PERSE_PREFETCH(rows + static_cast<size_t>(job.list[at + kPrefetch]) * kGradientRow);
      const Record& g = job.records[job.list[at]];
      touched[at - batch] = touched_blocks(g, g.mean_x - tile_x, g.mean_y - tile_y);
    }
    for (uint32_t at = batch; at < batch_end; ++at) {
      uint32_t blocks = touched[at - batch] & alive;
      if (!blocks) continue;
      const uint32_t id = job.list[at];
      const Record& g = job.records[id];
      Float sums[6 + channels];
      for (int k = 0; k < 6 + channels; ++k) sums[k] = 0.f;
      for (; blocks; blocks &= blocks - 1) {
        const int block = lowest_bit(blocks);
        if (!backward_block(tile, g, block, g.mean_x - tile_x, g.mean_y - tile_y, sums)) alive &= ~(1u << block);
      }
      add_sums<6 + channels>(sums, rows + static_cast<size_t>(id) * kGradientRow);
    }
  }
}

}  // namespace PERSE_ISA
}  // namespace perse
