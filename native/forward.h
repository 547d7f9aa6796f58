// Blending one tile, near to far.
#pragma once

#include "tile.h"

namespace perse {
namespace PERSE_ISA {

template <int channels>
struct ForwardTile {
  Float transmittance[kBlocksPerTile][kVectors];
  Float blended[kBlocksPerTile][kVectors][channels];
};

// Blend one Gaussian into one block.
template <int channels>
PERSE_INLINE void blend_block(ForwardTile<channels>& tile, const Record& g, int block, float mean_x, float mean_y) {
  const float block_x = kBlockX[block] - mean_x, block_y = kBlockY[block] - mean_y;
  for (int v = 0; v < kVectors; ++v) {
    Float dx = load(kPixelX + v * Float::width) + block_x;
    Float dy = load(kPixelY + v * Float::width) + block_y;
    Float exponent = dx * (g.xx * dx + g.xy * dy) + (g.log2_opacity + g.yy * dy * dy);
    Mask seen = exponent >= kLog2MinAlpha;
    if (kVectors > 1 && !any(seen)) continue;
    Float alpha = min(exp2(exponent), kMaxAlpha);
    Float before = tile.transmittance[block][v], after = before - before * alpha;
    Mask live = after > kMinTransmittance;  // false for finished pixels, where `after` is negative
    Float weight = select(seen & live, alpha * before, 0.f);
    for (int c = 0; c < channels; ++c) {
      tile.blended[block][v][c] = tile.blended[block][v][c] + weight * g.channel[c];
    }
    tile.transmittance[block][v] = select(seen, select(live, after, abs_negated(before)), before);
  }
}

template <int channels>
PERSE_INLINE uint32_t blocks_alive(const ForwardTile<channels>& tile, uint32_t among) {
  uint32_t alive = 0;
  for (int block = 0; block < kBlocksPerTile; ++block) {
    if (!((among >> block) & 1u)) continue;
    bool any_alive = false;
    for (int v = 0; v < kVectors; ++v) any_alive = any_alive | any(tile.transmittance[block][v] > 0.f);
    alive |= static_cast<uint32_t>(any_alive) << block;
  }
  return alive;
}

template <int channels>
PERSE_INLINE void write_block(const TileJob& job, const ForwardTile<channels>& tile, int block, int x, int y) {
  for (int v = 0; v < kVectors; ++v) {
    alignas(64) float left[Float::width], blended[channels][Float::width];
    store(left, -abs_negated(tile.transmittance[block][v]));
    for (int c = 0; c < channels; ++c) store(blended[c], tile.blended[block][v][c]);
    for (int lane = 0; lane < Float::width; ++lane) {
      const int pixel = v * Float::width + lane;
      const int px = x + pixel % kBlockSize, py = y + pixel / kBlockSize;
      if (px >= job.width || py >= job.height) continue;
      const size_t at = static_cast<size_t>(py) * job.width + px;
      float* out = job.image + at * job.channel_count + job.first_channel;
      const float* background = job.background + job.first_channel;
      for (int c = 0; c < job.channels; ++c) out[c] = blended[c][lane] + background[c] * left[lane];
      job.alpha[at] = 1.f - left[lane];
    }
  }
}

template <int channels>
void forward_tile(const TileJob& job, int tile_index) {
  const int tile_x = tile_index % job.tiles_x * kTileSize, tile_y = tile_index / job.tiles_x * kTileSize;
  ForwardTile<channels> tile;
  for (int block = 0; block < kBlocksPerTile; ++block) {
    const int x = tile_x + block % 4 * kBlockSize, y = tile_y + block / 4 * kBlockSize;
    for (int v = 0; v < kVectors; ++v) {
      tile.transmittance[block][v] = initial_transmittance(x, y, job.width, job.height, v);
      for (int c = 0; c < channels; ++c) tile.blended[block][v][c] = 0.f;
    }
  }
  uint32_t alive = blocks_alive(tile, 0xffffu);
  uint32_t at = job.tile_begin[tile_index];
  const uint32_t end = job.tile_begin[tile_index + 1];
  uint32_t hits[kBatch * kBlocksPerTile + 16];  // Gaussian * 16 + block
  while (at < end && alive) {
    const uint32_t batch_end = at + kBatch < end ? at + kBatch : end;
    int count = 0;
    for (; at < batch_end; ++at) {
      PERSE_PREFETCH(&job.records[job.list[at + kPrefetch]]);
      const uint32_t id = job.list[at];
      const Record& g = job.records[id];
      const uint32_t touched = touched_blocks(g, g.mean_x - tile_x, g.mean_y - tile_y) & alive;
      count += append_set_bits(touched, id << 4, hits + count);
    }
    for (int k = 0; k < count; ++k) {
      const Record& g = job.records[hits[k] >> 4];
      blend_block(tile, g, static_cast<int>(hits[k] & 15u), g.mean_x - tile_x, g.mean_y - tile_y);
    }
    alive = blocks_alive(tile, alive);
  }
  job.tile_end[tile_index] = at;
  for (int block = 0; block < kBlocksPerTile; ++block) {
    write_block(job, tile, block, tile_x + block % 4 * kBlockSize, tile_y + block / 4 * kBlockSize);
  }
}

}  // namespace PERSE_ISA
}  // namespace perse
