// Gradients of one tile.
//
// With the blend weights w_i = alpha_i T_i and q_i = sum of channel_ic dL/dimage_c, the gradient
//   v_i = alpha_i dL/dalpha_i = w_i q_i - alpha_i / (1 - alpha_i) * sum of w_j q_j over j behind i
// needs only what lies behind i, where the background counts as the last of the j, with w = T and
// q = sum of background_c dL/dimage_c - dL/dalpha_out. One walk along the trace, from far to near, is enough: each step
// recovers T and adds to the sum. Numbers grow along this walk, so what they have lost to rounding stays small beside them;
// from near to far the sum would be what is left of the whole, and all Gaussians of a pixel would share its error.
//
// A gradient row holds, summed over pixels at offset (dx, dy) from the projected mean, with u = dy - slope dx:
//   v, v dx, v u, v dx^2, v dx u, v u^2, then w dL/dimage_c for the channels of the pass.
#pragma once

#include "pixels.h"

namespace perse {
namespace PERSE_ISA {

constexpr uint32_t kGroup = 8;  // Gaussians whose alphas are computed before any is used, see kChunk

template <int channels>
struct BackwardBlock {
  Float transmittance;  // of all in front of the last one that was visited
  Float rest;           // sum of w_j q_j over what was visited
  Float grad_image[channels];
};

// Walks one Gaussian through one block, adding to its sums.
template <int channels>
PERSE_INLINE void backward_block(BackwardBlock<channels>& at, const Record& g, const Profile& profile, int block,
                                 Float alpha, Float* sums) {
  Float per_passed = 1.f / (1.f - alpha);  // not `reciprocal`: its error always has the same sign, and would add up
  Float before = at.transmittance * per_passed, weight = alpha * before;
  at.transmittance = before;

  Float q = g.channel[0] * at.grad_image[0];
  for (int c = 1; c < channels; ++c) q = q + g.channel[c] * at.grad_image[c];
  for (int c = 0; c < channels; ++c) sums[6 + c] = sums[6 + c] + weight * at.grad_image[c];
  Float contribution = weight * q;
  Float grad = contribution - alpha * per_passed * at.rest;
  at.rest = at.rest + contribution;
  grad = select(kMaxAlpha > alpha, grad, 0.f);  // a clamped alpha does not move
  Float dx = load_column(profile.dx + block_x(block)), u = from_ridge(profile, block);
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
  DrawingGradient<channels> gradient;
  gradient.read(job, tile_x, tile_y);
  const float* left = job.left + static_cast<size_t>(tile_index) * kTilePixels;
  for (int block = 0; block < kBlocks; ++block) {
    blocks[block].transmittance = load(left + block * Float::width);
    blocks[block].rest = blocks[block].transmittance * block_of(gradient.background, block);
    for (int c = 0; c < channels; ++c) blocks[block].grad_image[c] = block_of(gradient.image[c], block);
  }
  const uint32_t* hit = trace.hits + trace.hit_count;
  Profile profiles[kGroup];
  Float alphas[kGroup * kBlocks];
  for (uint32_t end = trace.drawn_count; end > 0;) {
    const uint32_t size = end < kGroup ? end : kGroup;
    end -= size;
    const Drawn* drawn = trace.drawn + end;
    int count = 0;
    for (uint32_t k = size; k-- > 0;) {  // alphas[i] is that of hit[-1 - i]
      const uint32_t number = end + k;
      PERSE_PREFETCH(&job.records[trace.drawn[number > kPrefetch ? number - kPrefetch : 0].id]);
      const Record& g = job.records[drawn[k].id];
      make_profile(g, tile_x, tile_y, profiles[k]);
      for (const int last = count + drawn[k].hits; count < last; ++count) {
        const uint32_t h = hit[-1 - count];
        const Float alpha = min(exp2(exponent(g, profiles[k], h >> 16)), kMaxAlpha);
        alphas[count] = select(mask_of(h), alpha, 0.f);
      }
    }
    count = 0;
    for (uint32_t k = size; k-- > 0;) {
      const Record& g = job.records[drawn[k].id];
      Float sums[6 + channels];
      for (int i = 0; i < 6 + channels; ++i) sums[i] = 0.f;
      for (const int last = count + drawn[k].hits; count < last; ++count) {
        const int block = hit[-1 - count] >> 16;
        backward_block(blocks[block], g, profiles[k], block, alphas[count], sums);
      }
      float* row = rows + static_cast<size_t>(end + k) * kGradientRow;
      clear_row(row, job.first_channel == 0);
      add_sums<6 + channels>(sums, row);
    }
    hit -= count;
  }
}

void gather(const GatherJob& job, int begin, int end, float* sums) {
  constexpr int kParts = kGradientRow / Float::width;
  uint32_t at = begin ? job.end_of[begin - 1] : 0;
  for (int id = begin; id < end; ++id, sums += kGradientRow) {
    Float total[kParts];
    for (int k = 0; k < kParts; ++k) total[k] = 0.f;
    for (const uint32_t last = job.end_of[id]; at < last; ++at) {
      PERSE_PREFETCH(job.rows + static_cast<size_t>(job.order[at + kRowsAhead]) * kGradientRow);
      const float* row = job.rows + static_cast<size_t>(job.order[at]) * kGradientRow;
      for (int k = 0; k < kParts; ++k) total[k] = total[k] + load(row + k * Float::width);
    }
    for (int k = 0; k < kParts; ++k) store(sums + k * Float::width, total[k]);
  }
}

}  // namespace PERSE_ISA
}  // namespace perse
