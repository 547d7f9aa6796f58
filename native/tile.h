// What the forward and the backward pass over a tile share.
#pragma once

#include "simd.h"
#include "types.h"

namespace perse {
namespace PERSE_ISA {

constexpr int kVectors = kPixelsPerBlock / Float::width;  // vectors that make up a block of 4 x 4 pixels
constexpr int kBatch = 32;                                // Gaussians of a tile list looked at together

// Offsets inside a block (pixel centres) and of the blocks inside a tile (corners).
alignas(64) static const float kPixelX[16] = {.5f, 1.5f, 2.5f, 3.5f, .5f, 1.5f, 2.5f, 3.5f,
                                              .5f, 1.5f, 2.5f, 3.5f, .5f, 1.5f, 2.5f, 3.5f};
alignas(64) static const float kPixelY[16] = {.5f,  .5f,  .5f,  .5f,  1.5f, 1.5f, 1.5f, 1.5f,
                                              2.5f, 2.5f, 2.5f, 2.5f, 3.5f, 3.5f, 3.5f, 3.5f};
alignas(64) static const float kBlockX[16] = {0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12};
alignas(64) static const float kBlockY[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};

// Bit i: block i of the tile holds a pixel whose alpha may reach 1/255. (mean_x, mean_y) is relative to the tile.
// The largest alpha over the box of a block's pixel centres lies at the centre of the Gaussian, or on one of the two
// edges that face it: try the best point of each.
PERSE_INLINE uint32_t touched_blocks(const Record& g, float mean_x, float mean_y) {
  const float threshold = kLog2MinAlpha - 1e-4f;  // a little generous; each pixel is tested again
  uint32_t touched = 0;
  for (int v = 0; v < kVectors; ++v) {
    Float x_low = load(kBlockX + v * Float::width) + (0.5f - mean_x), x_high = x_low + 3.f;
    Float y_low = load(kBlockY + v * Float::width) + (0.5f - mean_y), y_high = y_low + 3.f;
    Float x = clamp(0.f, x_low, x_high), y = clamp(0.f, y_low, y_high);  // nearest to the centre
    Float best_y = clamp(x * g.ridge_y, y_low, y_high), best_x = clamp(y * g.ridge_x, x_low, x_high);
    Float on_x = g.log2_opacity + x * (g.xx * x + g.xy * best_y) + g.yy * best_y * best_y;
    Float on_y = g.log2_opacity + best_x * (g.xx * best_x + g.xy * y) + g.yy * y * y;
    touched |= bits(max(on_x, on_y) >= threshold) << (v * Float::width);
  }
  return touched;
}

// Transmittance before anything is drawn: 1, or -1 for pixels outside the image. A negative value marks a finished
// pixel; its magnitude is the transmittance that is left.
PERSE_INLINE Float initial_transmittance(int x, int y, int width, int height, int vector) {
  Float px = load(kPixelX + vector * Float::width) + static_cast<float>(x);
  Float py = load(kPixelY + vector * Float::width) + static_cast<float>(y);
  Mask inside = (static_cast<float>(width) > px) & (static_cast<float>(height) > py);
  return select(inside, 1.f, -1.f);
}

}  // namespace PERSE_ISA
}  // namespace perse
