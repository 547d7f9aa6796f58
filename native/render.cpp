#include "render.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "dispatch.h"
#include "thread_pool.h"

namespace perse {
namespace {

constexpr int kRange = 1024;  // Gaussians worked on together, so that their gradient rows stay in the cache

int ranges(int count) { return (count + kRange - 1) / kRange; }

struct BackwardScratch {
  AlignedBuffer<float> rows;  // [parts, N, kGradientRow]
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

TileJob tile_job(const Scene& scene, RenderState& state, float* image, float* alpha) {
  TileJob job{};
  job.width = state.width;
  job.height = state.height;
  job.tiles_x = state.lists.tiles_x;
  job.channel_count = state.channel_count;
  job.records = state.records.data();
  job.list = state.lists.list.data();
  job.tile_begin = state.lists.begin.data();
  job.tile_end = state.lists.end.data();
  job.background = scene.background;
  job.image = image;
  job.alpha = alpha;
  return job;
}

// Calls visit(k) for k in [0, count), each taken by whichever of `parts` threads comes first. Always asks for that many
// threads, for OpenMP runtimes end and restart threads when the number changes.
template <typename Visit>
void run_dynamic(int parts, int count, Visit&& visit) {
  std::atomic<int> next{0};
  run_parts(parts, [&](int) {
    for (int k; (k = next.fetch_add(1)) < count;) visit(k);
  });
}

// Calls visit(begin, end) for the ranges of kRange Gaussians that fall to one part: always the same ones.
template <typename Visit>
void for_ranges(int count, int part, int parts, Visit&& visit) {
  for (int begin = part * kRange; begin < count; begin += parts * kRange) {
    visit(begin, std::min(begin + kRange, count));
  }
}

void put_channels_into_records(const Scene& scene, RenderState& state, int first, int channels) {
  run_dynamic(state.parts, ranges(scene.count), [&](int range) {
    const int end = std::min((range + 1) * kRange, scene.count);
    for (int id = range * kRange; id < end; ++id) {
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

// Splits the tiles into contiguous ranges [bounds[part], bounds[part + 1]) of about equal work.
std::vector<int> split_tiles(const TileLists& lists, int parts) {
  const int tiles = lists.tiles();
  std::vector<uint64_t> work_before(tiles + 1, 0);
  for (int tile = 0; tile < tiles; ++tile) {
    const uint64_t blended = lists.end.data()[tile] - lists.begin.data()[tile];
    work_before[tile + 1] = work_before[tile] + blended + (blended ? 16 : 0);  // 16: about the cost of the pixels
  }
  std::vector<int> bounds(parts + 1, tiles);
  for (int part = 0; part < parts; ++part) {
    const uint64_t target = work_before[tiles] * part / parts;
    bounds[part] = static_cast<int>(std::lower_bound(work_before.begin(), work_before.end(), target) - work_before.begin());
  }
  return bounds;
}

// For Gaussians [begin, end): adds the rows of all parts into those of part 0, and moves the channel sums out of them.
void gather_rows(float* rows, size_t part_stride, int parts, int begin, int end, float* channels, int channel_count,
                 int first, int count) {
  for (int id = begin; id < end; ++id) {
    float* row = rows + static_cast<size_t>(id) * kGradientRow;
    for (int part = 1; part < parts; ++part) {
      float* other = row + part * part_stride;
      for (int k = 0; k < kGradientRow; ++k) {
        row[k] += other[k];
        other[k] = 0.f;
      }
    }
    float* out = channels + static_cast<size_t>(id) * channel_count + first;
    for (int k = 0; k < count; ++k) out[k] = row[6 + k];
    for (int k = 6; k < kGradientRow; ++k) row[k] = 0.f;  // for the next pass
  }
}

}  // namespace

std::unique_ptr<RenderState> render_forward(const Scene& scene, float* image, float* alpha, const Projected& projected,
                                            int threads, const std::string& instruction_set) {
  const Kernel& kernel = find_kernel(instruction_set);
  std::unique_ptr<RenderState> state = state_recycler().take();
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
  run_dynamic(parts, ranges(scene.count), [&](int range) {
    kernel.project(projection, range * kRange, std::min((range + 1) * kRange, scene.count));
  });

  std::unique_ptr<BinningScratch> scratch = binning_recycler().take();
  bin_gaussians(scene.count, state->depths.data(), state->rects.data(), parts, *scratch, state->lists);
  binning_recycler().give_back(std::move(scratch));

  for_channel_chunks(scene, *state, true, [&](int variant, int first, int channels) {
    TileJob job = tile_job(scene, *state, image, alpha);
    job.first_channel = first;
    job.channels = channels;
    run_dynamic(parts, state->lists.tiles(), [&](int tile) { kernel.forward_tile[variant](job, tile); });
  });
  return state;
}

void render_inspect(RenderState& state, int32_t* median, uint8_t* seen) {
  InspectJob job{};
  job.width = state.width;
  job.height = state.height;
  job.tiles_x = state.lists.tiles_x;
  job.records = state.records.data();
  job.list = state.lists.list.data();
  job.tile_begin = state.lists.begin.data();
  job.tile_end = state.lists.end.data();
  job.median = median;
  job.seen = seen;
  run_dynamic(state.parts, state.lists.tiles(), [&](int tile) { state.kernel->inspect_tile(job, tile); });
}

void render_backward(RenderState& state, const Scene& scene, const float* image, const float* alpha,
                     const float* grad_image, const float* grad_alpha, const Gradients& gradients) {
  std::lock_guard<std::mutex> lock(state.in_use);
  const Kernel& kernel = *state.kernel;
  const int parts = state.parts, count = scene.count;
  std::unique_ptr<BackwardScratch> scratch = backward_recycler().take();
  const size_t part_stride = static_cast<size_t>(count) * kGradientRow;
  float* rows = scratch->rows.resize(part_stride * parts);
  const std::vector<int> bounds = split_tiles(state.lists, parts);
  std::vector<double> camera(static_cast<size_t>(parts) * 16, 0.0);

  const bool one_pass = scene.channel_count <= kMaxChunk;
  for_channel_chunks(scene, state, one_pass, [&](int variant, int first, int channels) {
    TileJob job = tile_job(scene, state, const_cast<float*>(image), const_cast<float*>(alpha));
    job.first_channel = first;
    job.channels = channels;
    job.grad_image = grad_image;
    job.grad_alpha = first == 0 ? grad_alpha : nullptr;
    run_parts(parts, [&](int part) {
      float* own_rows = rows + part * part_stride;
      if (first == 0) std::fill_n(own_rows, part_stride, 0.f);
      for (int tile = bounds[part]; tile < bounds[part + 1]; ++tile) kernel.backward_tile[variant](job, tile, own_rows);
    });
    const bool last = first + channels == scene.channel_count;
    const UnprojectJob unprojection = {project_job(scene, state, {}), rows,
                                       gradients.means,               gradients.quats,
                                       gradients.scales,              gradients.opacities,
                                       gradients.means2d};
    run_parts(parts, [&](int part) {
      double* camera_sums = gradients.camera ? &camera[static_cast<size_t>(part) * 16] : nullptr;
      for_ranges(count, part, parts, [&](int begin, int end) {
        gather_rows(rows, part_stride, parts, begin, end, gradients.channels, scene.channel_count, first, channels);
        if (last) kernel.unproject(unprojection, begin, end, camera_sums);
      });
    });
  });
  backward_recycler().give_back(std::move(scratch));
  if (!gradients.camera) return;
  for (int k = 0; k < 16; ++k) {
    gradients.camera[k] = 0.0;
    for (int part = 0; part < parts; ++part) gradients.camera[k] += camera[static_cast<size_t>(part) * 16 + k];
  }
}

void recycle(std::unique_ptr<RenderState> state) { state_recycler().give_back(std::move(state)); }

}  // namespace perse
