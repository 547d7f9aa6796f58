// Which Gaussian lies where a pixel's transmittance falls to one half, which label most of a pixel shows, and which
// Gaussians any pixel saw.
//
// Walks of their own along the trace, so that drawing does not pay for it.
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

// Calls visit(drawn, block, transmittance before, alpha) for everything that the tile's pixels saw, near to far.
template <typename Visit>
PERSE_INLINE void walk(const InspectJob& job, int tile_x, int tile_y, const Trace& trace, Visit&& visit) {
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
      Float before = transmittance[block];
      visit(trace.drawn[k].id, block, before, alpha);
      transmittance[block] = before - alpha * before;
    }
  }
}

PERSE_INLINE void find_median(const InspectJob& job, int tile_x, int tile_y, const Trace& trace) {
  for (int y = tile_y; y < tile_y + kTileSize && y < job.height; ++y) {
    for (int x = tile_x; x < tile_x + kTileSize && x < job.width; ++x) job.median[static_cast<size_t>(y) * job.width + x] = -1;
  }
  walk(job, tile_x, tile_y, trace, [&](uint32_t id, int block, Float before, Float alpha) {
    const uint32_t halved = bits((before > 0.5f) & (0.5f >= before - alpha * before));
    if (halved) write_median(job, halved, tile_x + block_x(block), tile_y + block_y(block), id);
  });
}

// Sums the shares of kClasses labels in one walk, and keeps the largest; the background's is what shines through.
PERSE_INLINE void find_labels(const InspectJob& job, int tile_x, int tile_y, const Trace& trace) {
  constexpr int kClasses = 16;
  Float left[kBlocks], largest[kBlocks], winner[kBlocks], share[kBlocks][kClasses];
  for (int block = 0; block < kBlocks; ++block) winner[block] = -1.f;
  for (int first = 0; first < job.class_count; first += kClasses) {
    for (int block = 0; block < kBlocks; ++block) {
      left[block] = 1.f;
      for (int k = 0; k < kClasses; ++k) share[block][k] = 0.f;
    }
    walk(job, tile_x, tile_y, trace, [&](uint32_t id, int block, Float before, Float alpha) {
      const unsigned k = static_cast<unsigned>(job.classes[id]) - first;  // huge if of an earlier walk
      if (k < kClasses) share[block][k] = share[block][k] + alpha * before;
      left[block] = before - alpha * before;
    });
    for (int block = 0; block < kBlocks; ++block) {
      if (first == 0) largest[block] = left[block];
      for (int k = 0; k < kClasses; ++k) {
        Mask larger = share[block][k] > largest[block];
        largest[block] = select(larger, share[block][k], largest[block]);
        winner[block] = select(larger, static_cast<float>(first + k), winner[block]);
      }
    }
  }
  for (int block = 0; block < kBlocks; ++block) {
    alignas(64) float lanes[Float::width];
    store(lanes, winner[block]);
    for (int i = 0; i < Float::width; ++i) {
      const int x = tile_x + block_x(block) + i % kBlockWidth, y = tile_y + block_y(block) + i / kBlockWidth;
      if (x >= job.width || y >= job.height) continue;
      job.labels[static_cast<size_t>(y) * job.width + x] = lanes[i] < 0.f ? 0 : job.codes[static_cast<int>(lanes[i])];
    }
  }
}

void inspect_tile(const InspectJob& job, int tile_index, const Trace& trace) {
  const int tile_x = tile_index % job.tiles_x * kTileSize, tile_y = tile_index / job.tiles_x * kTileSize;
  for (uint32_t k = 0; job.seen && k < trace.drawn_count; ++k) mark(job.seen + trace.drawn[k].id);
  if (job.median) find_median(job, tile_x, tile_y, trace);
  if (job.labels) find_labels(job, tile_x, tile_y, trace);
}

}  // namespace PERSE_ISA
}  // namespace perse
