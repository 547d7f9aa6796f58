// What the passes over a tile share.
#pragma once

#include "simd.h"
#include "types.h"

namespace perse {
namespace PERSE_ISA {

// A tile is cut into blocks of one vector each: kBlockWidth pixels wide and kBlockRows high, numbered column by column.
constexpr int kColumns = kTileSize / kBlockWidth;      // of blocks
constexpr int kBlockRows = Float::width / kBlockWidth;  // of pixels in a block
constexpr int kRows = kTileSize / kBlockRows;          // of blocks
constexpr int kBlocks = kColumns * kRows;
constexpr int kTogether = Float::width / kColumns;  // Gaussians whose blocks are found at once: a lane for each column
constexpr int kBatch = 32;                          // entries of a tile list looked at together
// Hits whose alphas are computed before any of them is used: an alpha takes dozens of cycles, and a processor that waits
// for one cannot look far enough ahead to begin many others.
constexpr int kChunk = 64;

// Pixel centres of the tile, by column and by row, and the left pixel centres of the columns of blocks.
alignas(64) static const float kPixels[kTileSize] = {.5f, 1.5f, 2.5f,  3.5f,  4.5f,  5.5f,  6.5f,  7.5f,
                                                     8.5f, 9.5f, 10.5f, 11.5f, 12.5f, 13.5f, 14.5f, 15.5f};
alignas(64) static const float kColumnLeft[16] = {.5f, 4.5f, 8.5f, 12.5f, .5f, 4.5f, 8.5f, 12.5f,
                                                  .5f, 4.5f, 8.5f, 12.5f, .5f, 4.5f, 8.5f, 12.5f};
// Pixel centres by row, for four lanes each.
alignas(64) static const float kPixelRows[kTileSize * kBlockWidth] = {
    0.5f, 0.5f, 0.5f, 0.5f, 1.5f, 1.5f, 1.5f, 1.5f, 2.5f, 2.5f, 2.5f, 2.5f, 3.5f, 3.5f, 3.5f, 3.5f,
    4.5f, 4.5f, 4.5f, 4.5f, 5.5f, 5.5f, 5.5f, 5.5f, 6.5f, 6.5f, 6.5f, 6.5f, 7.5f, 7.5f, 7.5f, 7.5f,
    8.5f, 8.5f, 8.5f, 8.5f, 9.5f, 9.5f, 9.5f, 9.5f, 10.5f, 10.5f, 10.5f, 10.5f, 11.5f, 11.5f, 11.5f, 11.5f,
    12.5f, 12.5f, 12.5f, 12.5f, 13.5f, 13.5f, 13.5f, 13.5f, 14.5f, 14.5f, 14.5f, 14.5f, 15.5f, 15.5f, 15.5f, 15.5f};

PERSE_INLINE int block_x(int block) { return block / kRows * kBlockWidth; }
PERSE_INLINE int block_y(int block) { return block % kRows * kBlockRows; }

// Which blocks of a tile hold a pixel whose alpha may reach 1/255, as sets of block numbers. In the slab of pixels
// [left, left + 3] that a column of blocks takes, the ellipse reaches furthest at its tip, or at the edge of the slab
// next to it. A little generous: each pixel is tested again.
PERSE_INLINE void touched_blocks(const Record* const* records, float tile_x, float tile_y, uint64_t* sets) {
  const float margin = 1e-3f;  // of a block
  const Float place = load_each(records, 0), shape = load_each(records, 4);
  Float mean_x = spread<0>(place) - tile_x, mean_y = spread<1>(place) - tile_y;
  Float slope = spread<2>(place), tip = spread<3>(place), fall_x = spread<1>(shape);
  Float room = spread<0>(shape) - (kLog2MinAlpha - 1e-4f);
  Float left = load(kColumnLeft) - mean_x, right = left + (kBlockWidth - 1.f);
  Float high_x = clamp(tip, left, right), low_x = clamp(-tip, left, right);
  Float narrowness = spread<3>(shape) * 1.0003f;  // square_root is approximate
  Float high_rest = fall_x * high_x * high_x + room, low_rest = fall_x * low_x * low_x + room;
  Float high_y = mean_y + slope * high_x + square_root(high_rest * narrowness);
  Float low_y = mean_y + slope * low_x - square_root(low_rest * narrowness);
  const float scale = 1.f / kBlockRows;
  Float first = round(low_y * scale + (0.5f * scale - 0.5f - margin));  // the last pixel row of a block is above low_y
  Float end = round(high_y * scale + (0.5f - 0.5f * scale + margin));
  first = clamp(first, 0.f, kRows);
  end = clamp(end, first, kRows);
  alignas(64) uint32_t column[Float::width];
  bit_ranges(first, select(high_rest >= 0.f, end, first), column);
  for (int i = 0; i < kTogether; ++i) {
    uint64_t set = 0;
    for (int k = 0; k < kColumns; ++k) set |= static_cast<uint64_t>(column[kColumns * i + k]) << (k * kRows);
    sets[i] = set;
  }
}

// A Gaussian's exponent along the pixel columns of a tile: peak + fall_y (y - ridge)^2.
struct alignas(64) Profile {
  float dx[kTileSize], peak[kTileSize], ridge[kTileSize];
};

PERSE_INLINE void make_profile(const Record& g, float tile_x, float tile_y, Profile& out) {
  const float mean_x = g.mean_x - tile_x, mean_y = g.mean_y - tile_y;
  for (int first = 0; first < kTileSize; first += Float::width) {
    Float dx = load(kPixels + first) - mean_x;
    store(out.dx + first, dx);
    store(out.peak + first, g.fall_x * dx * dx + g.log2_opacity);
    store(out.ridge + first, g.slope * dx + mean_y);
  }
}

// How far the pixels of a block are from the ridge, and log2 of what alpha would be there without its upper limit.
PERSE_INLINE Float from_ridge(const Profile& profile, int block) {
  return load(kPixelRows + block_y(block) * kBlockWidth) - load_column(profile.ridge + block_x(block));
}
PERSE_INLINE Float exponent(const Record& g, const Profile& profile, int block) {
  Float u = from_ridge(profile, block);
  return load_column(profile.peak + block_x(block)) + g.fall_y * u * u;
}

// Transmittance before anything is drawn: 1, or -1 for pixels outside the image. A negative value marks a finished
// pixel; its magnitude is the transmittance that is left.
PERSE_INLINE Float initial_transmittance(const TileJob& job, int tile_x, int tile_y, int block) {
  alignas(64) float inside[Float::width];
  const int x = tile_x + block_x(block), y = tile_y + block_y(block);
  for (int i = 0; i < Float::width; ++i) {
    inside[i] = x + i % kBlockWidth < job.width && y + i / kBlockWidth < job.height ? 1.f : -1.f;
  }
  return load(inside);
}

}  // namespace PERSE_ISA
}  // namespace perse
