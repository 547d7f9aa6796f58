// Between the images, pixel by pixel, and the blocks of a tile, channel by channel.
#pragma once

#include "tile.h"

namespace perse {
namespace PERSE_ISA {

// One value for each pixel of a tile, row by row.
struct alignas(64) Plane {
  float at[kTilePixels];
};

PERSE_INLINE Float block_of(const Plane& plane, int block) {
  return load_patch(plane.at + block_y(block) * kTileSize + block_x(block), kTileSize);
}
PERSE_INLINE void put_block(Plane& plane, int block, Float values) {
  store_patch(plane.at + block_y(block) * kTileSize + block_x(block), kTileSize, values);
}

// Calls visit(pixel of the tile, pixel of the image, width) for each row of pixels that the tile has in the image.
template <typename Visit>
PERSE_INLINE void for_rows(const TileJob& job, int tile_x, int tile_y, Visit&& visit) {
  const int width = job.width - tile_x < kTileSize ? job.width - tile_x : kTileSize;
  const int height = job.height - tile_y < kTileSize ? job.height - tile_y : kTileSize;
  for (int y = 0; y < height; ++y) {
    visit(y * kTileSize, static_cast<size_t>(tile_y + y) * job.width + tile_x, width);
  }
}

// What was blended, over the background.
template <int channels>
struct Drawing {
  Plane left;  // transmittance
  Plane blended[channels];

  PERSE_INLINE void write_row(const TileJob& job, int from, size_t to, int width, int stride, int count) const {
    const float* background = job.background + job.first_channel;
    float* out = job.image + to * stride + job.first_channel;
    for (int x = 0; x < width; ++x) {
      const float transmittance = left.at[from + x];
      for (int c = 0; c < count; ++c) out[x * stride + c] = blended[c].at[from + x] + background[c] * transmittance;
      job.alpha[to + x] = 1.f - transmittance;
    }
  }
  PERSE_INLINE void write(const TileJob& job, int tile_x, int tile_y) const {
    for_rows(job, tile_x, tile_y, [&](int from, size_t to, int width) {
      if (job.channel_count == channels) {  // the strides are constants
        write_row(job, from, to, width, channels, channels);
      } else {
        write_row(job, from, to, width, job.channel_count, job.channels);
      }
    });
  }
};

// The gradients of a drawing, and q of the background (see backward.h). Zero outside the image.
template <int channels>
struct DrawingGradient {
  Plane background, image[channels];

  PERSE_INLINE void read_row(const TileJob& job, int to, size_t from, int width, int stride, int count) {
    const float* grad = job.grad_image + from * stride + job.first_channel;
    for (int x = 0; x < width; ++x) {
      float q = job.grad_alpha ? -job.grad_alpha[from + x] : 0.f;
      for (int c = 0; c < count; ++c) {
        const float by_channel = grad[x * stride + c];
        image[c].at[to + x] = by_channel;
        q += job.background[job.first_channel + c] * by_channel;
      }
      background.at[to + x] = q;
    }
  }
  PERSE_INLINE void read(const TileJob& job, int tile_x, int tile_y) {
    if (job.channels < channels || tile_x + kTileSize > job.width || tile_y + kTileSize > job.height) {
      memset(static_cast<void*>(this), 0, sizeof *this);
    }
    for_rows(job, tile_x, tile_y, [&](int to, size_t from, int width) {
      if (job.channel_count == channels) {  // the strides are constants
        read_row(job, to, from, width, channels, channels);
      } else {
        read_row(job, to, from, width, job.channel_count, job.channels);
      }
    });
  }
};

}  // namespace PERSE_ISA
}  // namespace perse
