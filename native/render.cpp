#include "render.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "dispatch.h"
#include "thread_pool.h"

namespace perse {
namespace {

constexpr int kRange = 256;  // Gaussians worked on together, so that their gradient rows stay in the cache

int ranges(int count) { return (count + kRange - 1) / kRange; }

struct BackwardScratch {
  AlignedBuffer<float> rows;         // a gradient row for each Drawn of all traces
  std::vector<uint32_t> first_row;   // [tiles] the row of the first Drawn
  AlignedBuffer<uint32_t> order;     // the rows by Gaussian, then by tile
  AlignedBuffer<uint32_t> end_of;    // [N] into order: behind the rows of each Gaussian
  AlignedBuffer<double> camera;      // [ranges, 16]
};

Recycler<RenderState>& state_recycler() {
  static auto* recycler = new Recycler<RenderState>(4);  // never destroyed: Python may free states at exit
  return *recycler;
}
Recycler<BinningScratch>& binning_recycler() {
  static auto* recycler = new Recycler<BinningScratch>(2);
  return *recycler;
}
Recycler<BackwardScratch>& backward_recycler() {
  static auto* recycler = new Recycler<BackwardScratch>(2);
  return *recycler;
}

CameraParameters camera_parameters(const Scene& scene) {
  CameraParameters camera;
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < 3; ++k) camera.rotation[3 * i + k] = scene.viewmat[4 * i + k];
    camera.translation[i] = scene.viewmat[4 * i + 3];
  }
  camera.fx = scene.intrinsics[0];
  camera.fy = scene.intrinsics[4];
  camera.cx = scene.intrinsics[2];
  camera.cy = scene.intrinsics[5];
  camera.width = scene.width;
  camera.height = scene.height;
  return camera;
}

ProjectJob project_job(const Scene& scene, RenderState& state, const Projected& projected) {
  ProjectJob job{};
  job.camera = camera_parameters(scene);
  job.options = scene.options;
  job.channel_count = scene.channel_count;
  job.means = scene.means;
  job.quats = scene.quats;
  job.scales = scene.scales;
  job.opacities = scene.opacities;
  job.channels = scene.channels;
  job.records = state.records.data();
  job.rects = state.rects.data();
  job.depths = state.depths.data();
  job.means2d = projected.means2d;
  job.radii = projected.radii;
  return job;
}

TileJob tile_job(const Scene& scene, RenderState& state) {
  TileJob job{};
  job.width = state.width;
  job.height = state.height;
  job.tiles_x = state.lists.tiles_x;
  job.channel_count = state.channel_count;
  job.records = state.records.data();
  job.list = state.lists.list.data();
  job.tile_begin = state.lists.begin.data();
  job.background = scene.background;
  job.left = state.left.data();
  return job;
}

// Calls visit(k, part) for k in [0, count), each taken by whichever of `parts` threads comes first. Always asks for that
// many threads, for OpenMP runtimes end and restart threads when the number changes.
template <typename Visit>
void run_dynamic(int parts, int count, Visit&& visit) {
  std::atomic<int> next{0};
  run_parts(parts, [&](int part) {
    for (int k; (k = next.fetch_add(1)) < count;) visit(k, part);
  });
}

// Calls visit(begin, end, range) for ranges of kRange Gaussians.
template <typename Visit>
void run_ranges(int parts, int count, Visit&& visit) {
  run_dynamic(parts, ranges(count), [&](int range, int) {
    visit(range * kRange, std::min((range + 1) * kRange, count), range);
  });
}

void put_channels_into_records(const Scene& scene, RenderState& state, int first, int channels) {
  run_ranges(state.parts, scene.count, [&](int begin, int end, int) {
    for (int id = begin; id < end; ++id) {
      const float* from = scene.channels + static_cast<size_t>(id) * scene.channel_count + first;
      float* to = state.records.data()[id].channel;
      for (int k = 0; k < kMaxChunk; ++k) to[k] = k < channels ? from[k] : 0.f;
    }
  });
}

// Calls pass(variant, first, channels) for chunks of at most kMaxChunk channels, with the chunk in the records.
// `variant` chooses among the kernels for 3, 4 and 8 channels.
template <typename Pass>
void for_channel_chunks(const Scene& scene, RenderState& state, bool first_is_in_records, Pass&& pass) {
  for (int first = 0; first < scene.channel_count; first += kMaxChunk) {
    const int channels = std::min(scene.channel_count - first, kMaxChunk);
    if (first > 0 || !first_is_in_records) put_channels_into_records(scene, state, first, channels);
    pass(channels <= 3 ? 0 : channels == 4 ? 1 : 2, first, channels);
  }
}

// Every Gaussian drawn in a tile has a gradient row of its own there, so that tiles may be visited in any order and by any
// thread. Finds the rows of each Gaussian: tile by tile, so they are summed in an order that never changes.
void sort_rows(const Traces& traces, int count, BackwardScratch& scratch) {
  uint32_t* next = scratch.end_of.resize(count);
  std::fill_n(next, count, 0u);
  uint32_t total = 0;
  scratch.first_row.clear();
  for (const Trace& trace : traces.of_tile) {
    scratch.first_row.push_back(total);
    for (uint32_t k = 0; k < trace.drawn_count; ++k) ++next[trace.drawn[k].id];
    total += trace.drawn_count;
  }
  uint32_t begin = 0;
  for (int id = 0; id < count; ++id) begin += std::exchange(next[id], begin);
  uint32_t row = 0, *order = scratch.order.resize(total + kRowsAhead);
  for (const Trace& trace : traces.of_tile) {
    for (uint32_t k = 0; k < trace.drawn_count; ++k) order[next[trace.drawn[k].id]++] = row++;
  }
  std::fill_n(order + total, kRowsAhead, 0u);
  scratch.rows.resize(static_cast<size_t>(total) * kGradientRow);
}

}  // namespace

std::unique_ptr<RenderState> render_forward(const Scene& scene, float* image, float* alpha, const Projected& projected,
                                            int threads, const std::string& instruction_set) {
  const Kernel& kernel = find_kernel(instruction_set);
  std::unique_ptr<RenderState> state = state_recycler().take();
  StopWatch watch;
  state->times = {};
  state->kernel = &kernel;
  state->count = scene.count;
  state->channel_count = scene.channel_count;
  state->width = scene.width;
  state->height = scene.height;
  state->lists.tiles_x = (scene.width + kTileSize - 1) / kTileSize;
  state->lists.tiles_y = (scene.height + kTileSize - 1) / kTileSize;
  state->parts = std::max(1, std::min(threads, 64));
  const int parts = state->parts;
  state->records.resize(scene.count);
  state->depths.resize(scene.count);
  state->rects.resize(scene.count);

  const ProjectJob projection = project_job(scene, *state, projected);
  run_ranges(parts, scene.count, [&](int begin, int end, int) { kernel.project(projection, begin, end); });

  watch.lap(state->times.project);

  std::unique_ptr<BinningScratch> scratch = binning_recycler().take();
  const DepthOrder order = sort_by_depth(scene.count, state->depths.data(), *scratch);
  watch.lap(state->times.sort);
  bin_gaussians(order, state->rects.data(), parts, *scratch, state->lists);
  binning_recycler().give_back(std::move(scratch));
  watch.lap(state->times.bin);

  state->left.resize(static_cast<size_t>(state->lists.tiles()) * kTilePixels);
  for_channel_chunks(scene, *state, true, [&](int variant, int first, int channels) {
    TileJob job = tile_job(scene, *state);
    job.image = image;
    job.alpha = alpha;
    job.first_channel = first;
    job.channels = channels;
    state->traces.start(state->lists.tiles(), parts);
    run_dynamic(parts, state->lists.tiles(), [&](int tile, int part) {
      Traces::Room& room = *state->traces.rooms[part];
      const size_t listed = job.tile_begin[tile + 1] - job.tile_begin[tile];
      Trace& trace = state->traces.of_tile[tile];
      trace.drawn = room.drawn.room(listed + 1);
      trace.hits = room.hits.room(listed * kernel.blocks_per_tile + 1);
      kernel.forward_tile[variant](job, tile, trace);
      room.drawn.keep(trace.drawn_count);
      room.hits.keep(trace.hit_count);
    });
  });
  watch.lap(state->times.blend);
  return state;
}

WorkCounts count_work(const RenderState& state) {
  WorkCounts work;
  for (int id = 0; id < state.count; ++id) work.gaussians += state.depths.data()[id] > 0.f;
  work.entries = state.lists.begin.data()[state.lists.tiles()];
  work.block_pixels = kTileSize * kTileSize / state.kernel->blocks_per_tile;
  for (const Trace& trace : state.traces.of_tile) {
    work.visited += trace.visited;
    work.tested += trace.tested;
    work.drawn += trace.drawn_count;
    work.hits += trace.hit_count;
    for (uint32_t k = 0; k < trace.hit_count; ++k) {
      for (uint32_t pixels = trace.hits[k] & 0xffffu; pixels; pixels &= pixels - 1) ++work.pixels;
    }
  }
  return work;
}

void render_inspect(RenderState& state, InspectJob job) {
  job.width = state.width;
  job.height = state.height;
  job.tiles_x = state.lists.tiles_x;
  job.records = state.records.data();
  run_dynamic(state.parts, state.lists.tiles(), [&](int tile, int) {
    state.kernel->inspect_tile(job, tile, state.traces.of_tile[tile]);
  });
}

void render_backward(RenderState& state, const Scene& scene, const float* grad_image, const float* grad_alpha,
                     const Gradients& gradients) {
  std::lock_guard<std::mutex> lock(state.in_use);
  const Kernel& kernel = *state.kernel;
  const int parts = state.parts, count = scene.count;
  std::unique_ptr<BackwardScratch> scratch = backward_recycler().take();
  StopWatch watch;
  state.times.order_rows = state.times.gradients = state.times.unproject = 0;
  sort_rows(state.traces, count, *scratch);
  watch.lap(state.times.order_rows);
  double* camera = gradients.camera ? scratch->camera.resize(static_cast<size_t>(ranges(count)) * 16) : nullptr;
  if (camera) std::fill_n(camera, static_cast<size_t>(ranges(count)) * 16, 0.0);

  const bool one_pass = scene.channel_count <= kMaxChunk;
  for_channel_chunks(scene, state, one_pass, [&](int variant, int first, int channels) {
    TileJob job = tile_job(scene, state);
    job.first_channel = first;
    job.channels = channels;
    job.grad_image = grad_image;
    job.grad_alpha = first == 0 ? grad_alpha : nullptr;
    run_dynamic(parts, state.lists.tiles(), [&](int tile, int) {
      float* rows = scratch->rows.data() + static_cast<size_t>(scratch->first_row[tile]) * kGradientRow;
      kernel.backward_tile[variant](job, tile, state.traces.of_tile[tile], rows);
    });
    watch.lap(state.times.gradients);
    const bool last = first + channels == scene.channel_count;
    run_ranges(parts, count, [&](int begin, int end, int range) {
      alignas(64) float sums[kRange * kGradientRow];
      kernel.gather({scratch->rows.data(), scratch->order.data(), scratch->end_of.data()}, begin, end, sums);
      float* channel = gradients.channels + static_cast<size_t>(begin) * scene.channel_count + first;
      for (const float* sum = sums; sum < sums + (end - begin) * kGradientRow; sum += kGradientRow) {
        for (int k = 0; k < channels; ++k) channel[k] = sum[6 + k];
        channel += scene.channel_count;
      }
      if (!last) return;
      const UnprojectJob unprojection = {project_job(scene, state, {}), sums,
                                         gradients.means,               gradients.quats,
                                         gradients.scales,              gradients.opacities,
                                         gradients.means2d};
      kernel.unproject(unprojection, begin, end, camera ? camera + static_cast<size_t>(range) * 16 : nullptr);
    });
    watch.lap(state.times.unproject);
  });
  if (camera) {
    std::fill_n(gradients.camera, 16, 0.0);
    for (int k = 0; k < ranges(count) * 16; ++k) gradients.camera[k % 16] += camera[k];
  }
  backward_recycler().give_back(std::move(scratch));
}

void recycle(std::unique_ptr<RenderState> state) { state_recycler().give_back(std::move(state)); }

}  // namespace perse
