// Which Gaussian lies where a pixel's transmittance falls to one half, and which Gaussians any pixel saw.
//
// A walk of its own along the trace, so that drawing does not pay for it.
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
PERSE_INLINE void write_median(const InspectJob& job, uint32_t which, int x, int y, uint32_t id) {
  for (; which; which &= which - 1) {
    const int lane = lowest_bit(which), px = x + lane % kBlockWidth, py = y + lane / kBlockWidth;
    job.median[static_cast<size_t>(py) * job.width + px] = static_cast<int32_t>(id);
  }
}

void inspect_tile(const InspectJob& job, int tile_index, const Trace& trace) {
  for (uint32_t k = 0; job.seen && k < trace.drawn_count; ++k) mark(job.seen + trace.drawn[k].id);
  if (!job.median) return;
  const int tile_x = tile_index % job.tiles_x * kTileSize, tile_y = tile_index / job.tiles_x * kTileSize;
  for (int y = tile_y; y < tile_y + kTileSize && y < job.height; ++y) {
    for (int x = tile_x; x < tile_x + kTileSize && x < job.width; ++x) job.median[static_cast<size_t>(y) * job.width + x] = -1;
  }
  Float transmittance[kBlocks];
  for (int block = 0; block < kBlocks; ++block) transmittance[block] = 1.f;
  const uint32_t* hit = trace.hits;
  for (uint32_t k = 0; k < trace.drawn_count; ++k) {
    const Record& g = job.records[trace.drawn[k].id];
    Profile profile;
    make_profile(g, tile_x, tile_y, profile);
    for (const uint32_t* end = hit + trace.drawn[k].hits; hit < end; ++hit) {
      const int block = static_cast<int>(*hit >> 16);
      Float alpha = select(mask_of(*hit), min(exp2(exponent(g, profile, block)), kMaxAlpha), 0.f);
      Float before = transmittance[block], after = before - alpha * before;
      transmittance[block] = after;
      const uint32_t halved = bits((before > 0.5f) & (0.5f >= after));
      if (halved) write_median(job, halved, tile_x + block_x(block), tile_y + block_y(block), trace.drawn[k].id);
    }
  }
}

}  // namespace PERSE_ISA
}  // namespace perse
