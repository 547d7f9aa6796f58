// One image, forward and backward.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "binning.h"
#include "buffers.h"
#include "profile.h"
#include "trace.h"
#include "types.h"

namespace perse {

// What the caller passes in; all arrays are contiguous.
struct Scene {
  int count, channel_count, width, height;
  const float* means;       // [N, 3]
  const float* quats;       // [N, 4]
  const float* scales;      // [N, 3]
  const float* opacities;   // [N]
  const float* channels;    // [N, C]
  const float* viewmat;     // [4, 4]
  const float* intrinsics;  // [3, 3]
  const float* background;  // [C]
  ViewOptions options;
};

// What the caller may want to know of each Gaussian; both or neither.
struct Projected {
  float* means2d;  // out [N, 2]
  int32_t* radii;  // out [N]
};

struct Gradients {
  float *means, *quats, *scales, *opacities, *channels;  // out, shaped like the inputs
  float* means2d;                                        // out [N, 2]; null if not wanted
  double* camera;                                        // out [16], see UnprojectJob; null if not wanted
};

// What the backward pass of one image needs from its forward pass. Nothing else is shared between calls, so forward and
// backward calls of many images may come in any order.
struct RenderState {
  const Kernel* kernel = nullptr;
  int count = 0, channel_count = 0, width = 0, height = 0, parts = 0;
  AlignedBuffer<Record> records;
  AlignedBuffer<float> depths;
  AlignedBuffer<TileRect> rects;
  TileLists lists;
  AlignedBuffer<float> left;  // see TileJob
  Traces traces;
  StageTimes times;
  std::mutex in_use;  // passes with many channels rewrite the records
};

// Draws scene into image [H, W, C] and alpha [H, W].
std::unique_ptr<RenderState> render_forward(const Scene& scene, float* image, float* alpha, const Projected& projected,
                                            int threads, const std::string& instruction_set);

WorkCounts count_work(const RenderState& state);

// Looks through the tiles of a forward call for what `wanted` names of InspectJob; `seen` comes in as zeros.
void render_inspect(RenderState& state, InspectJob wanted);

// Gradients, given those of the image and of alpha. All sums are made in an order that does not depend on the threads, so
// results repeat bit by bit.
void render_backward(RenderState& state, const Scene& scene, const float* grad_image, const float* grad_alpha,
                     const Gradients& gradients);

// Hands a state's memory on to later calls.
void recycle(std::unique_ptr<RenderState> state);

}  // namespace perse
