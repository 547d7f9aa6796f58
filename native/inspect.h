// Which Gaussian lies where a pixel's transmittance falls to one half, and which Gaussians any pixel saw.
//
// A walk of its own, so that drawing does not pay for it. It blends exactly as forward.h does, without channels.
#pragma once

#include "tile.h"

namespace perse {
namespace PERSE_ISA {

PERSE_INLINE void mark(uint8_t* flag) {
#if defined(__GNUC__)
  __atomic_store_n(flag, static_cast<uint8_t>(1), __ATOMIC_RELAXED);  // threads may mark the same Gaussian
#else
  *static_cast<volatile uint8_t*>(flag) = 1;
#endif
}

// Writes the number of the Gaussian for the pixels of `which`, one bit a lane.
PERSE_INLINE void write_median(const InspectJob& job, uint32_t which, int x, int y, int vector, uint32_t id) {
  for (int lane = 0; lane < Float::width; ++lane) {
    if (!((which >> lane) & 1u)) continue;
    const int pixel = vector * Float::width + lane;
    const int px = x + pixel % kBlockSize, py = y + pixel / kBlockSize;
    job.median[static_cast<size_t>(py) * job.width + px] = static_cast<int32_t>(id);
  }
}

// Walks one Gaussian through one block; false once the block has nothing left to tell.
PERSE_INLINE bool inspect_block(const InspectJob& job, Float* transmittance, const Record& g, uint32_t id, int block,
                                int tile_x, int tile_y, bool* seen_by_any) {
  const float mean_x = g.mean_x - tile_x, mean_y = g.mean_y - tile_y;
  const float block_x = kBlockX[block] - mean_x, block_y = kBlockY[block] - mean_y;
  bool alive = false;
  for (int v = 0; v < kVectors; ++v) {
    Float dx = load(kPixelX + v * Float::width) + block_x;
    Float dy = load(kPixelY + v * Float::width) + block_y;
    Float exponent = dx * (g.xx * dx + g.xy * dy) + (g.log2_opacity + g.yy * dy * dy);
    Mask seen = exponent >= kLog2MinAlpha;
    Float before = transmittance[v], after = before - before * min(exp2(exponent), kMaxAlpha);
    Mask live = after > kMinTransmittance;
    transmittance[v] = select(seen, select(live, after, abs_negated(before)), before);
    *seen_by_any = *seen_by_any | any(seen & live);
    if (job.median) {
      const uint32_t halved = bits(seen & live & (before > 0.5f) & (0.5f >= after));
      if (halved) write_median(job, halved, tile_x + block % 4 * kBlockSize, tile_y + block / 4 * kBlockSize, v, id);
    }
    alive = alive | any(transmittance[v] > (job.seen ? 0.f : 0.5f));
  }
  return alive;
}

void inspect_tile(const InspectJob& job, int tile_index) {
  const int tile_x = tile_index % job.tiles_x * kTileSize, tile_y = tile_index / job.tiles_x * kTileSize;
  for (int y = tile_y; job.median && y < tile_y + kTileSize && y < job.height; ++y) {
    for (int x = tile_x; x < tile_x + kTileSize && x < job.width; ++x) job.median[static_cast<size_t>(y) * job.width + x] = -1;
  }
  Float transmittance[kBlocksPerTile][kVectors];
  uint32_t alive = 0;
  for (int block = 0; block < kBlocksPerTile; ++block) {
    const int x = tile_x + block % 4 * kBlockSize, y = tile_y + block / 4 * kBlockSize;
    for (int v = 0; v < kVectors; ++v) transmittance[block][v] = initial_transmittance(x, y, job.width, job.height, v);
    alive |= static_cast<uint32_t>(x < job.width && y < job.height) << block;
  }
  for (uint32_t at = job.tile_begin[tile_index]; at < job.tile_end[tile_index] && alive; ++at) {
    const uint32_t id = job.list[at];
    const Record& g = job.records[id];
    const uint32_t touched = touched_blocks(g, g.mean_x - tile_x, g.mean_y - tile_y) & alive;
    bool seen = false;
    for (int block = 0; block < kBlocksPerTile; ++block) {
      if (!((touched >> block) & 1u)) continue;
      if (!inspect_block(job, transmittance[block], g, id, block, tile_x, tile_y, &seen)) alive &= ~(1u << block);
    }
    if (seen && job.seen) mark(job.seen + id);
  }
}

}  // namespace PERSE_ISA
}  // namespace perse
