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
// Pixel centres by row, for four lanes each, as seen from up to kMaxShift rows below or above the upper edge of the tile.
constexpr int kMaxShift = 48;
struct PixelRows {
  float at[(2 * kMaxShift + kTileSize) * kBlockWidth];
  constexpr PixelRows() : at{} {
    for (int k = 0; k < (2 * kMaxShift + kTileSize) * kBlockWidth; ++k) at[k] = k / kBlockWidth - kMaxShift + 0.5f;
  }
};
alignas(64) static constexpr PixelRows kPixelRows;

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
  Float narrowness = reciprocal(-spread<2>(shape)) * 1.0003f;  // square_root is approximate
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

PERSE_INLINE float float_of(uint32_t word) {
  float x;
  memcpy(&x, &word, sizeof x);
  return x;
}

// A Gaussian's exponent along the pixel columns of a tile: peak + fall_y (y - ridge)^2, both y and the ridge as seen from
// a whole pixel near the mean.
struct alignas(64) Profile {
  float dx[kTileSize], peak[kTileSize], ridge[kTileSize];
  const float* rows;  // y of the rows of the tile
};

// The nearest multiple of `step`, a power of two: adding and subtracting 1.5 * 2^23 * step drops what is below it.
PERSE_INLINE float nearest(float x, float step) { return (x + 12582912.f * step) - 12582912.f * step; }

PERSE_INLINE void make_profile(const Record& g, float tile_x, float tile_y, Profile& out) {
  // At pixel 512 a float is off by up to 3e-5, and within a tile still by 5e-7. So whole pixels are taken off first, which
  // is exact, and what is near the mean has its digits for the distance. Rows are shifted by whole blocks.
  const float mean_x = g.mean_x - tile_x, whole_x = nearest(mean_x, 1.f);
  const float mean_y = g.mean_y - tile_y, limit = kMaxShift;
  const float near_y = mean_y > -limit ? mean_y < limit ? mean_y : limit : -limit, whole_y = nearest(near_y, kBlockRows);
  const float rest_x = (mean_x - whole_x) + float_of(g.mean_rest & 0xffff0000u);
  const float rest_y = (mean_y - whole_y) + float_of(g.mean_rest << 16);
  out.rows = kPixelRows.at + (kMaxShift - static_cast<int>(whole_y)) * kBlockWidth;
  for (int first = 0; first < kTileSize; first += Float::width) {
    Float dx = (load(kPixels + first) - whole_x) - rest_x;
    store(out.dx + first, dx);
    store(out.peak + first, g.fall_x * dx * dx + g.log2_opacity);
    store(out.ridge + first, g.slope * dx + rest_y);
  }
}

// How far the pixels of a block are from the ridge, and log2 of what alpha would be there without its upper limit.
PERSE_INLINE Float from_ridge(const Profile& profile, int block) {
  return load(profile.rows + block_y(block) * kBlockWidth) - load_column(profile.ridge + block_x(block));
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
