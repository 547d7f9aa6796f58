// Which Gaussians each tile must blend, near to far.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffers.h"
#include "types.h"

namespace perse {

// Room that one call needs and the next can use again.
struct BinningScratch {
  AlignedBuffer<uint32_t> keys[2], ids[2];
  AlignedBuffer<TileRect> sorted_rects;
  std::vector<AlignedBuffer<uint32_t>> counts, corners;  // for each part, counters of tiles
};

struct TileLists {
  AlignedBuffer<uint32_t> list;   // Gaussian numbers, tile after tile
  AlignedBuffer<uint32_t> begin;  // [tiles + 1] into list
  int tiles_x = 0, tiles_y = 0;
  int tiles() const { return tiles_x * tiles_y; }
};

struct DepthOrder {
  const uint32_t* ids;  // in the scratch
  int count;
};

// The drawn Gaussians (depth > 0), near to far; equal depths keep their order.
DepthOrder sort_by_depth(int count, const float* depths, BinningScratch& scratch);

// Lists the Gaussians of every tile in that order. lists.tiles_x and tiles_y are set by the caller. The result does not
// depend on `parts`.
void bin_gaussians(const DepthOrder& order, const TileRect* rects, int parts, BinningScratch& scratch, TileLists& lists);

}  // namespace perse
