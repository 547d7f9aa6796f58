// The Python module perse._native. Shapes are checked in Python (perse/splat/rasterize.py); the types here make
// sure that nothing but contiguous float32 arrays on the CPU reaches the kernels.
#include <memory>
#include <utility>

#include "arrays.h"
#include "dispatch.h"
#include "pose_bindings.h"
#include "render.h"
#include "thread_pool.h"

namespace {

using Vectors3 = In<nb::shape<-1, 3>>;
using Vectors4 = In<nb::shape<-1, 4>>;
using Vector = In<nb::ndim<1>>;
using Viewmat = In<nb::shape<4, 4>>;
using Intrinsics = In<nb::shape<3, 3>>;
using Image = In<nb::ndim<3>>;
template <typename Shape>
using Ints = Array<int32_t, Shape>;
template <typename Shape>
using Bytes = Array<uint8_t, Shape>;
using Flags = Bytes<nb::ndim<1>>;

// Owns a state for as long as Python (the autograd graph) does.
class StateHandle {
 public:
  explicit StateHandle(std::unique_ptr<perse::RenderState> state) : state_(std::move(state)) {}
  StateHandle(StateHandle&&) = default;
  ~StateHandle() {
    if (state_) perse::recycle(std::move(state_));
  }
  perse::RenderState& state() { return *state_; }

 private:
  std::unique_ptr<perse::RenderState> state_;
};

perse::Scene make_scene(const Vectors3& means, const Vectors4& quats, const Vectors3& scales, const Vector& opacities,
                        const Rows& channels, const Viewmat& viewmat, const Intrinsics& intrinsics,
                        const Vector& background, size_t height, size_t width, const perse::ViewOptions& options) {
  const size_t count = means.shape(0);
  require(quats.shape(0) == count && scales.shape(0) == count && opacities.shape(0) == count && channels.shape(0) == count,
          "means, quats, scales, opacities and channels must have the same length");
  require(count <= (size_t{1} << 27), "too many Gaussians");
  require(channels.shape(1) >= 1 && channels.shape(1) <= 65536, "between 1 and 65536 channels");
  require(background.shape(0) == channels.shape(1), "background must have one value for each channel");
  require(width >= 1 && width <= 16384 && height >= 1 && height <= 16384, "image sides must be 1 to 16384 pixels");
  require(options.near_plane > 0, "the near plane must be in front of the camera");
  perse::Scene scene;
  scene.count = static_cast<int>(count);
  scene.channel_count = static_cast<int>(channels.shape(1));
  scene.width = static_cast<int>(width);
  scene.height = static_cast<int>(height);
  scene.means = means.data();
  scene.quats = quats.data();
  scene.scales = scales.data();
  scene.opacities = opacities.data();
  scene.channels = channels.data();
  scene.viewmat = viewmat.data();
  scene.intrinsics = intrinsics.data();
  scene.background = background.data();
  scene.options = options;
  return scene;
}

StateHandle forward(Vectors3 means, Vectors4 quats, Vectors3 scales, Vector opacities, Rows channels, Viewmat viewmat,
                    Intrinsics intrinsics, Vector background, const perse::ViewOptions& options, Out<nb::ndim<3>> image,
                    Out<nb::ndim<2>> alpha, std::optional<Out<nb::shape<-1, 2>>> means2d,
                    std::optional<Ints<nb::ndim<1>>> radii, int threads, const std::string& instruction_set) {
  const perse::Scene scene = make_scene(means, quats, scales, opacities, channels, viewmat, intrinsics, background,
                                        image.shape(0), image.shape(1), options);
  require(image.shape(2) == channels.shape(1), "image must have one value for each channel");
  require(alpha.shape(0) == image.shape(0) && alpha.shape(1) == image.shape(1), "alpha must have the size of the image");
  require(means2d.has_value() == radii.has_value(), "means2d and radii are wanted together");
  require(!radii || (radii->shape(0) == means.shape(0) && means2d->shape(0) == means.shape(0)),
          "means2d and radii must have one row for each Gaussian");
  const perse::Projected projected = {means2d ? means2d->data() : nullptr, radii ? radii->data() : nullptr};
  nb::gil_scoped_release release;
  return StateHandle(perse::render_forward(scene, image.data(), alpha.data(), projected, threads, instruction_set));
}

void inspect(StateHandle& handle, std::optional<Ints<nb::ndim<2>>> median, std::optional<Flags> seen,
             std::optional<Bytes<nb::ndim<2>>> labels, std::optional<Flags> classes, std::optional<Flags> codes) {
  perse::RenderState& state = handle.state();
  const size_t count = static_cast<size_t>(state.count), height = static_cast<size_t>(state.height);
  const size_t width = static_cast<size_t>(state.width);
  require(!median || (median->shape(0) == height && median->shape(1) == width), "median must have the size of the image");
  require(!seen || seen->shape(0) == count, "seen must have one value for each Gaussian");
  perse::InspectJob job{};
  if (median) job.median = median->data();
  if (seen) job.seen = seen->data();
  if (labels) {
    require(labels->shape(0) == height && labels->shape(1) == width, "labels must have the size of the image");
    require(classes && codes && classes->shape(0) == count && codes->shape(0) <= 256, "labels need classes and codes");
    for (size_t k = 0; k < count; ++k) require(classes->data()[k] < codes->shape(0), "a class has no code");
    job.labels = labels->data();
    job.classes = classes->data();
    job.codes = codes->data();
    job.class_count = static_cast<int>(codes->shape(0));
  }
  nb::gil_scoped_release release;
  perse::render_inspect(state, job);
}

nb::dict profile(StateHandle& handle) {
  const perse::StageTimes& times = handle.state().times;
  const perse::WorkCounts work = perse::count_work(handle.state());
  nb::dict out;
  out["project_ms"] = 1e3 * times.project;
  out["sort_ms"] = 1e3 * times.sort;
  out["bin_ms"] = 1e3 * times.bin;
  out["blend_ms"] = 1e3 * times.blend;
  out["order_rows_ms"] = 1e3 * times.order_rows;
  out["gradients_ms"] = 1e3 * times.gradients;
  out["unproject_ms"] = 1e3 * times.unproject;
  out["gaussians"] = work.gaussians;
  out["entries"] = work.entries;
  out["visited_entries"] = work.visited;
  out["drawn_entries"] = work.drawn;
  out["tested_blocks"] = work.tested;
  out["drawn_blocks"] = work.hits;
  out["drawn_pixels"] = work.pixels;
  out["block_pixels"] = work.block_pixels;
  return out;
}

void backward(StateHandle& handle, Vectors3 means, Vectors4 quats, Vectors3 scales, Vector opacities, Rows channels,
              Viewmat viewmat, Intrinsics intrinsics, Vector background, const perse::ViewOptions& options, Image grad_image,
              Rows grad_alpha, Out<nb::shape<-1, 3>> grad_means, Out<nb::shape<-1, 4>> grad_quats,
              Out<nb::shape<-1, 3>> grad_scales, Out<nb::ndim<1>> grad_opacities, Out<nb::ndim<2>> grad_channels,
              std::optional<Out<nb::shape<-1, 2>>> grad_means2d,
              Array<double, nb::shape<16>> grad_camera, bool camera_wanted) {
  perse::RenderState& state = handle.state();
  const perse::Scene scene = make_scene(means, quats, scales, opacities, channels, viewmat, intrinsics, background,
                                        grad_image.shape(0), grad_image.shape(1), options);
  require(scene.count == state.count && scene.channel_count == state.channel_count && scene.width == state.width &&
              scene.height == state.height,
          "the inputs are not those of the forward call");
  for (size_t k = 0; k < 2; ++k) {
    require(grad_alpha.shape(k) == grad_image.shape(k), "grad_alpha must have the size of grad_image");
  }
  require(grad_image.shape(2) == channels.shape(1), "grad_image must have one value for each channel");
  require(grad_means.shape(0) == means.shape(0) && grad_quats.shape(0) == means.shape(0) &&
              grad_scales.shape(0) == means.shape(0) && grad_opacities.shape(0) == means.shape(0) &&
              grad_channels.shape(0) == means.shape(0) && grad_channels.shape(1) == channels.shape(1),
          "gradients must be shaped like the inputs");
  require(!grad_means2d || grad_means2d->shape(0) == means.shape(0), "gradients must be shaped like the inputs");
  const perse::Gradients gradients = {grad_means.data(),
                                      grad_quats.data(),
                                      grad_scales.data(),
                                      grad_opacities.data(),
                                      grad_channels.data(),
                                      grad_means2d ? grad_means2d->data() : nullptr,
                                      camera_wanted ? grad_camera.data() : nullptr};
  nb::gil_scoped_release release;
  perse::render_backward(state, scene, grad_image.data(), grad_alpha.data(), gradients);
}

}  // namespace

NB_MODULE(_native, m) {
  nb::set_leak_warnings(false);  // graphs that are alive when Python ends are no mistake
  perse::uses_own_threads();  // looks for OpenMP and starts to watch for forks, before anything forks
  m.doc() = "Gaussian splatting on the CPU; use it through perse.splat.rasterize.";
  m.attr("interface") = 2;  // changes with the arguments below, together with INTERFACE of perse/_kernels.py
  nb::class_<StateHandle>(m, "RenderState");
  nb::class_<perse::ViewOptions>(m, "ViewOptions")
      .def(nb::init<float, float, float, float, float, bool>(), nb::arg("near_plane"), nb::arg("far_plane"),
           nb::arg("blur"), nb::arg("radius_clip"), nb::arg("radius_limit"), nb::arg("antialiased"));
  bind_posing(m);
  m.def("instruction_sets", &perse::instruction_sets, "Names of the kernels that run here, the fastest first.");
  m.def("uses_own_threads", &perse::uses_own_threads, "Whether the threads are ours rather than OpenMP's.");
  m.def("use_own_threads", &perse::use_own_threads, nb::arg("always"), "Never use OpenMP's threads (for tests).");
  m.def("forward", &forward, nb::arg("means").noconvert(), nb::arg("quats").noconvert(), nb::arg("scales").noconvert(),
        nb::arg("opacities").noconvert(), nb::arg("channels").noconvert(), nb::arg("viewmat").noconvert(),
        nb::arg("K").noconvert(), nb::arg("background").noconvert(), nb::arg("options"),
        nb::arg("image").noconvert(), nb::arg("alpha").noconvert(), nb::arg("means2d").noconvert().none(),
        nb::arg("radii").noconvert().none(), nb::arg("threads"), nb::arg("isa"),
        "Draws into image and alpha; returns what backward needs.");
  m.def("inspect", &inspect, nb::arg("state"), nb::arg("median").noconvert().none(), nb::arg("seen").noconvert().none(),
        nb::arg("labels").noconvert().none(), nb::arg("classes").noconvert().none(), nb::arg("codes").noconvert().none(),
        "Writes which Gaussian each pixel's median depth is that of, which Gaussians any pixel saw, and the label that "
        "most of each pixel shows.");
  m.def("profile", &profile, nb::arg("state"), "Milliseconds of each stage, and counted work; see native/profile.h.");
  m.def("backward", &backward, nb::arg("state"), nb::arg("means").noconvert(), nb::arg("quats").noconvert(),
        nb::arg("scales").noconvert(), nb::arg("opacities").noconvert(), nb::arg("channels").noconvert(),
        nb::arg("viewmat").noconvert(), nb::arg("K").noconvert(), nb::arg("background").noconvert(),
        nb::arg("options"), nb::arg("grad_image").noconvert(),
        nb::arg("grad_alpha").noconvert(), nb::arg("grad_means").noconvert(), nb::arg("grad_quats").noconvert(),
        nb::arg("grad_scales").noconvert(), nb::arg("grad_opacities").noconvert(), nb::arg("grad_channels").noconvert(),
        nb::arg("grad_means2d").noconvert().none(),
        nb::arg("grad_camera").noconvert(), nb::arg("camera_wanted"), "Writes the gradients of one forward call.");
}
