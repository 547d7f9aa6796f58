// Plain data that the driver and the kernels hand one another. No standard library here: see simd.h.
#pragma once

#include <stdint.h>

#include "pose_types.h"

namespace perse {

constexpr int kTileSize = 16;        // pixels a side; a tile is drawn by one thread
constexpr int kTilePixels = kTileSize * kTileSize;
constexpr int kBlockWidth = 4;       // pixels; a block, 4 pixels wide, has one pixel for each lane of a vector
constexpr int kMaxChunk = 8;         // channels blended in one pass
constexpr int kGradientRow = 16;     // floats in a gradient row: 6 of shape and place, up to 8 channels, 2 unused
constexpr int kRowsAhead = 32;       // gradient rows to prefetch: those of a Gaussian lie scattered in memory
constexpr int kPrefetch = 16;        // tile lists are this much longer than used, so that look-ahead stays inside

// The classic 3DGS rules; perse/splat/_reference.py defines the same numbers.
constexpr float kMaxAlpha = 0.999f;
constexpr float kMinTransmittance = 1e-4f;
constexpr float kMaxSigma = 3.33f;
constexpr float kMinQuat2 = 1e-24f;  // squared length below which a quaternion is no rotation
constexpr float kMaxQuat2 = 1e36f;   // and above which float32 cannot normalise it
constexpr float kLog2MinAlpha = -7.994353436858858f;  // log2(1 / 255)
constexpr float kLargestFloat = 3.402823466e+38f;  // comparing with it finds NaN; "x * 0 == 0" is folded by GCC 12
constexpr float kLog2E = 1.4426950408889634f;

struct CameraParameters {
  float rotation[9];  // rows of the upper left 3 x 3 of viewmat
  float translation[3];
  float fx, fy, cx, cy;
  int width, height;
};

// Which Gaussians are drawn, and how sharply; perse/splat/options.py says more.
struct ViewOptions {
  float near_plane, far_plane;      // metres; near_plane is positive
  float blur;                       // square pixels added to each projected covariance
  float radius_clip, radius_limit;  // pixels; drawn if radius_clip < ceil(radius) <= radius_limit
  bool antialiased;                 // opacity *= sqrt(determinant without blur / determinant with blur)
};

// A projected Gaussian as the tiles read it: one cache line. Its alpha at (mean_x + dx, mean_y + dy) is
//   2^(log2_opacity + fall_x dx^2 + fall_y (dy - slope dx)^2),
// a sum of squares, so that long thin ellipses do not cancel: the best dy for a given dx is slope * dx.
struct alignas(64) Record {
  float mean_x, mean_y;  // pixels, rounded; `mean_rest` is what is missing
  float slope;           // covariance xy / xx
  float tip;             // dx of the point of the ellipse "alpha = 1/255" that has the largest dy
  float log2_opacity;
  float fall_x, fall_y;  // negative, with the factor log2(e) / 2
  uint32_t mean_rest;    // of mean_x and mean_y, the upper 16 bits of a float each: see make_profile
  float channel[kMaxChunk];
};

// Tiles that a Gaussian may touch: x in [x0, x1), y in [y0, y1). Empty if it is not drawn.
struct TileRect {
  uint16_t x0, x1, y0, y1;
};

struct ProjectJob {
  CameraParameters camera;
  ViewOptions options;
  int channel_count;       // all channels; the first kMaxChunk go into the records
  const float* means;      // [N, 3]
  const float* quats;      // [N, 4]
  const float* scales;     // [N, 3]
  const float* opacities;  // [N]
  const float* channels;   // [N, channel_count]
  Record* records;         // out [N]
  TileRect* rects;         // out [N]
  float* depths;           // out [N]; -1 if the Gaussian is not drawn
  float* means2d;          // out [N, 2] pixels, 0 if radii is; null if not wanted, as radii
  int32_t* radii;          // out [N] pixels, rounded up; 0 if the Gaussian is outside the image or not drawn
};

struct TileJob {
  int width, height, tiles_x;
  int channel_count;            // stride of the images
  int first_channel, channels;  // the channels of this pass; the records hold them
  const Record* records;
  const uint32_t* list;        // Gaussians of each tile, near to far
  const uint32_t* tile_begin;  // [tiles + 1] into list
  const float* background;     // [channel_count]
  float* image;                // [H, W, channel_count]; forward only, which writes it
  float* alpha;                // [H, W]; forward only, which writes it
  float* left;                 // [tiles, kTilePixels] transmittance behind all Gaussians, in blocks; forward writes it
  const float* grad_image;     // backward only, like image
  const float* grad_alpha;     // backward only, like alpha; null in all passes but the first
};

// A Gaussian that was blended into at least one pixel of a tile.
struct Drawn {
  uint32_t id;
  uint32_t hits;  // in how many blocks
};

// What the forward pass over a tile leaves to later passes: who was drawn, near to far, and where. Later passes need
// neither search nor test again. A hit is the number of a block << 16 | one bit for each of its pixels.
struct Trace {
  Drawn* drawn;
  uint32_t* hits;  // of all `drawn`, one after another
  uint32_t drawn_count, hit_count;
  uint32_t visited, tested;  // list entries looked at, and blocks blended or found empty: for profiles only
};

// What the pixels saw: a second, cheaper walk through the tiles. Any output may be null.
struct InspectJob {
  int width, height, tiles_x;
  const Record* records;
  int32_t* median;                               // [H, W] Gaussian at which transmittance falls to 1/2; -1 if none
  uint8_t* seen;                                 // [N] set to 1 for Gaussians that were blended into any pixel
  uint8_t* labels;                               // [H, W] label with the largest share; 0 if the background's is larger
  const uint8_t* classes;                        // [N] below class_count; read if labels is not null, as is
  const uint8_t* codes;                          // [class_count] the label of each class
  int class_count;
};

// Which gradient rows belong to which Gaussian.
struct GatherJob {
  const float* rows;       // [rows, kGradientRow], see backward.h
  const uint32_t* order;   // [rows + kRowsAhead] the rows by Gaussian
  const uint32_t* end_of;  // [N] into order: behind the rows of each Gaussian
};

struct UnprojectJob {
  ProjectJob input;            // records, rects are not used
  const float* gradient_rows;  // [end - begin, kGradientRow], see backward.h
  float* grad_means;           // out [N, 3]
  float* grad_quats;           // out [N, 4]
  float* grad_scales;          // out [N, 3]
  float* grad_opacities;       // out [N]
  float* grad_means2d;         // out [N, 2] per pixel; null if not wanted
};

// The functions that are compiled once for each instruction set.
struct Kernel {
  const char* name;
  // Projects Gaussians [begin, end); begin is a multiple of 16.
  void (*project)(const ProjectJob& job, int begin, int end);
  int blocks_per_tile;
  // Draws one tile, for passes of up to 3, 4 and 8 channels. The trace has room for all entries of the tile's list, and
  // for blocks_per_tile hits each.
  void (*forward_tile[3])(const TileJob& job, int tile, Trace& trace);
  // Looks through one tile that was drawn.
  void (*inspect_tile)(const InspectJob& job, int tile, const Trace& trace);
  // Writes a gradient row for each Gaussian drawn in the tile; passes after the first add to what is there.
  void (*backward_tile[3])(const TileJob& job, int tile, const Trace& trace, float* rows);
  // Writes the sum of the rows of each Gaussian of [begin, end) to sums[end - begin][kGradientRow].
  void (*gather)(const GatherJob& job, int begin, int end, float* sums);
  // Gradient rows to gradients of the inputs, for Gaussians [begin, end). If camera_sums is not null, adds to it
  // the gradient of viewmat's upper three rows [12] and of fx, fy, cx, cy [4].
  void (*unproject)(const UnprojectJob& job, int begin, int end, double* camera_sums);
  PoseKernel pose;
};

}  // namespace perse
