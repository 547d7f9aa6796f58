// Posing in the Python module perse._native; used through perse.head.skin and perse.avatar.
#include "pose_bindings.h"

#include <algorithm>
#include <vector>

#include "arrays.h"
#include "dispatch.h"
#include "pose.h"

namespace {

using Points = In<nb::shape<-1, 3>>;
using Quats = In<nb::shape<-1, 4>>;
using Basis = In<nb::shape<-1, 3, -1>>;
using Weights = In<nb::shape<-1, perse::kJoints>>;
using Transforms = In<nb::shape<-1, perse::kJoints, 3, 4>>;
using JointQuats = In<nb::shape<-1, perse::kJoints, 4>>;
using FramePoints = In<nb::shape<-1, -1, 3>>;
using FrameQuats = In<nb::shape<-1, -1, 4>>;

template <typename Given>
auto* data_of(const std::optional<Given>& array) {
  return array ? array->data() : nullptr;
}

template <typename A, typename B>
void require_same_shape(const std::optional<A>& a, const B& b, const char* message) {
  if (!a) return;
  bool same = a->ndim() == b.ndim();
  for (size_t k = 0; same && k < b.ndim(); ++k) same = a->shape(k) == b.shape(k);
  require(same, message);
}

// A run of points that begins at `first` of all points of the outputs.
perse::SkinJob make_job(const Points& points, const std::optional<Quats>& quats, const Basis& E, const Basis& P,
                        const Weights& W, const Rows& expr, const Transforms& transforms, const JointQuats& joint_quats,
                        const Rows& feature, size_t total, size_t first) {
  const size_t count = points.shape(0), frames = expr.shape(0);
  require(count <= (size_t{1} << 27) && frames <= (size_t{1} << 20), "too many points or frames");
  require(first <= total && count <= total - first, "the points must lie inside the outputs");
  require(E.shape(0) == count && P.shape(0) == count && W.shape(0) == count, "E, P and W must have a row for each point");
  require(!quats || quats->shape(0) == count, "quats must have a row for each point");
  for (const Basis* basis : {&E, &P}) require(basis->shape(2) >= 16 && basis->shape(2) <= 65536, "E and P need 16 to 65536 columns");
  require(expr.shape(1) == E.shape(2) && feature.shape(1) == P.shape(2), "one coefficient for each column of E and P");
  require(transforms.shape(0) == frames && joint_quats.shape(0) == frames && feature.shape(0) == frames,
          "expr and the joints must have the same number of frames");
  perse::SkinJob job = {};
  job.count = static_cast<int>(count);
  job.total = static_cast<int64_t>(total);
  job.motion = {static_cast<int>(frames), transforms.data(), joint_quats.data()};
  job.columns[0] = static_cast<int>(E.shape(2));
  job.columns[1] = static_cast<int>(P.shape(2));
  job.basis[0] = E.data();
  job.basis[1] = P.data();
  job.weights = W.data();
  job.points = points.data();
  job.quats = data_of(quats);
  return job;
}

void joint_motion(In<nb::shape<perse::kJoints, 3>> joints, In<nb::shape<-1, 15>> pose,
                  Out<nb::shape<-1, perse::kJoints, 3, 4>> transforms, Out<nb::shape<-1, perse::kJoints, 4>> quats,
                  Out<nb::shape<-1, perse::kPoseFeatures>> feature) {
  const size_t frames = pose.shape(0);
  require(transforms.shape(0) == frames && quats.shape(0) == frames && feature.shape(0) == frames, "one output for each frame");
  perse::joint_motion(joints.data(), pose.data(), static_cast<int>(frames), transforms.data(), quats.data(), feature.data());
}

void skin(Points points, std::optional<Quats> quats, Basis E, Basis P, Weights W, Rows expr, Transforms transforms,
          JointQuats joint_quats, Rows feature, Out<nb::shape<-1, -1, 3>> posed, Out<nb::shape<-1, -1, 4>> turned,
          std::optional<Out<nb::shape<-1, -1, 3>>> bent, size_t first, int threads, const std::string& isa) {
  perse::SkinJob job = make_job(points, quats, E, P, W, expr, transforms, joint_quats, feature, posed.shape(1), first);
  require(posed.shape(0) == expr.shape(0) && turned.shape(0) == posed.shape(0) && turned.shape(1) == posed.shape(1),
          "the outputs must have the same frames and points");
  require_same_shape(bent, posed, "bent must be shaped like posed");
  job.posed = posed.data() + 3 * first;
  job.turned = turned.data() + 4 * first;
  job.bent = bent ? bent->data() + 3 * first : nullptr;
  const float* const coefficients[2] = {expr.data(), feature.data()};
  const perse::Kernel& kernel = perse::find_kernel(isa);
  nb::gil_scoped_release release;
  perse::skin_forward(job, coefficients, threads, kernel);
}

void skin_backward(Points points, std::optional<Quats> quats, Basis E, Basis P, Weights W, Rows expr, Transforms transforms,
                   JointQuats joint_quats, Rows feature, Out<nb::shape<-1, -1, 3>> bent, size_t first,
                   std::optional<FramePoints> grad_posed, std::optional<FrameQuats> grad_turned,
                   std::optional<FramePoints> grad_bent, std::optional<Out<nb::shape<-1, 3>>> grad_points,
                   std::optional<Out<nb::shape<-1, 4>>> grad_quats, std::optional<Out<nb::ndim<3>>> grad_E,
                   std::optional<Out<nb::ndim<3>>> grad_P, std::optional<Out<nb::ndim<2>>> grad_W,
                   std::optional<Out<nb::ndim<2>>> grad_expr, std::optional<Out<nb::ndim<4>>> grad_transforms,
                   std::optional<Out<nb::ndim<3>>> grad_joint_quats, std::optional<Out<nb::ndim<2>>> grad_feature,
                   int threads, const std::string& isa) {
  perse::SkinJob job = make_job(points, quats, E, P, W, expr, transforms, joint_quats, feature, bent.shape(1), first);
  require(bent.shape(0) == expr.shape(0), "bent must have the frames of expr");
  job.bent = bent.data() + 3 * first;
  const char* like = "gradients must be shaped like what they belong to";
  require_same_shape(grad_posed, bent, like);
  require_same_shape(grad_bent, bent, like);
  require(!grad_turned || (grad_turned->shape(0) == bent.shape(0) && grad_turned->shape(1) == bent.shape(1)), like);
  require_same_shape(grad_points, points, like);
  require(!grad_quats || quats, "no quats, no gradient of quats");
  if (quats) require_same_shape(grad_quats, *quats, like);
  require_same_shape(grad_E, E, like);
  require_same_shape(grad_P, P, like);
  require_same_shape(grad_W, W, like);
  require_same_shape(grad_expr, expr, like);
  require_same_shape(grad_feature, feature, like);
  require_same_shape(grad_transforms, transforms, like);
  require_same_shape(grad_joint_quats, joint_quats, like);
  require(bool(grad_expr) == bool(grad_feature) && bool(grad_transforms) == bool(grad_joint_quats),
          "gradients of expr and feature come together, and so do those of the joints");
  perse::SkinGradients gradients = {};
  gradients.posed = grad_posed ? grad_posed->data() + 3 * first : nullptr;
  gradients.turned = grad_turned ? grad_turned->data() + 4 * first : nullptr;
  gradients.bent = grad_bent ? grad_bent->data() + 3 * first : nullptr;
  gradients.points = data_of(grad_points);
  gradients.quats = data_of(grad_quats);
  gradients.basis[0] = data_of(grad_E);
  gradients.basis[1] = data_of(grad_P);
  gradients.weights = data_of(grad_W);
  const perse::MotionGradients motion = {
      data_of(grad_transforms), data_of(grad_joint_quats), {data_of(grad_expr), data_of(grad_feature)}};
  const float* const coefficients[2] = {expr.data(), feature.data()};
  const perse::Kernel& kernel = perse::find_kernel(isa);
  nb::gil_scoped_release release;
  perse::skin_backward(job, coefficients, gradients, motion, threads, kernel);
}

using Bias = In<nb::ndim<1>>;
using FrameChanges = In<nb::shape<-1, -1, perse::kMlpOutputs>>;

perse::MlpLayers make_layers(const std::vector<Rows>& weights, const std::vector<Bias>& biases) {
  perse::MlpLayers layers = {};
  require(!weights.empty() && weights.size() <= perse::kMaxMlpLayers && biases.size() == weights.size(), "1 to 8 layers");
  layers.layers = static_cast<int>(weights.size());
  for (size_t l = 0; l < weights.size(); ++l) {
    const size_t out = weights[l].shape(0), in = weights[l].shape(1);
    require(in >= 1 && in <= perse::kMaxMlpWidth && out >= 1 && out <= perse::kMaxMlpWidth, "layers can be 256 wide");
    require(biases[l].shape(0) == out && (l == 0 || in == weights[l - 1].shape(0)), "the layers must fit one another");
    layers.widths[l] = static_cast<int>(in);
    layers.widths[l + 1] = static_cast<int>(out);
    layers.weights[l] = weights[l].data();
    layers.biases[l] = biases[l].data();
  }
  require(layers.widths[0] >= 6 && layers.widths[layers.layers] == perse::kMlpOutputs, "at least 6 inputs, and 11 outputs");
  return layers;
}

perse::MlpTraining make_training(const FramePoints& moved, const FramePoints& bent, const Rows& codes,
                                 const perse::MlpLayers& layers, const std::vector<float>& scales_and_bounds) {
  const size_t frames = moved.shape(0), count = moved.shape(1);
  require(count <= (size_t{1} << 27) && frames <= (size_t{1} << 20), "too many points or frames");
  require(bent.shape(0) == frames && bent.shape(1) == count, "moved and bent must have the same shape");
  require(codes.shape(0) == count && codes.shape(1) + 6 == size_t(layers.widths[0]), "codes must be [N, inputs - 6]");
  require(scales_and_bounds.size() == 2 + perse::kMlpOutputs, "two scales and 11 bounds");
  perse::MlpTraining job = {};
  job.count = static_cast<int>(count);
  job.frames = static_cast<int>(frames);
  job.moved_scale = scales_and_bounds[0];
  job.bent_scale = scales_and_bounds[1];
  std::copy(scales_and_bounds.begin() + 2, scales_and_bounds.end(), job.bounds);
  job.moved = moved.data();
  job.bent = bent.data();
  job.codes = codes.data();
  return job;
}

void mlp_forward(FramePoints moved, FramePoints bent, Rows codes, const std::vector<Rows>& weights,
                 const std::vector<Bias>& biases, const std::vector<float>& scales_and_bounds,
                 Out<nb::shape<-1, -1, perse::kMlpOutputs>> changes, int threads, const std::string& isa) {
  const perse::MlpLayers layers = make_layers(weights, biases);
  perse::MlpTraining job = make_training(moved, bent, codes, layers, scales_and_bounds);
  require(changes.shape(0) == moved.shape(0) && changes.shape(1) == moved.shape(1), "changes must be [F, N, 11]");
  job.changes = changes.data();
  const perse::Kernel& kernel = perse::find_kernel(isa);
  nb::gil_scoped_release release;
  perse::mlp_forward(job, layers, threads, kernel);
}

void mlp_backward(FramePoints moved, FramePoints bent, Rows codes, const std::vector<Rows>& weights,
                  const std::vector<Bias>& biases, const std::vector<float>& scales_and_bounds, FrameChanges grad_changes,
                  Out<nb::shape<-1, -1, 3>> grad_moved, Out<nb::shape<-1, -1, 3>> grad_bent, Out<nb::ndim<2>> grad_codes,
                  const std::vector<Out<nb::ndim<2>>>& grad_weights, const std::vector<Out<nb::ndim<1>>>& grad_biases,
                  int threads, const std::string& isa) {
  const perse::MlpLayers layers = make_layers(weights, biases);
  const perse::MlpTraining job = make_training(moved, bent, codes, layers, scales_and_bounds);
  const char* like = "gradients must be shaped like what they belong to";
  require(grad_changes.shape(0) == moved.shape(0) && grad_changes.shape(1) == moved.shape(1), like);
  require_same_shape(std::optional(grad_moved), moved, like);
  require_same_shape(std::optional(grad_bent), bent, like);
  require_same_shape(std::optional(grad_codes), codes, like);
  require(grad_weights.size() == weights.size() && grad_biases.size() == biases.size(), like);
  std::vector<float*> weight_data, bias_data;
  for (size_t l = 0; l < weights.size(); ++l) {
    require_same_shape(std::optional(grad_weights[l]), weights[l], like);
    require_same_shape(std::optional(grad_biases[l]), biases[l], like);
    weight_data.push_back(grad_weights[l].data());
    bias_data.push_back(grad_biases[l].data());
  }
  std::fill(grad_codes.data(), grad_codes.data() + grad_codes.size(), 0.f);
  const perse::MlpGradients gradients = {grad_changes.data(), grad_moved.data(), grad_bent.data(), grad_codes.data()};
  const perse::Kernel& kernel = perse::find_kernel(isa);
  nb::gil_scoped_release release;
  perse::mlp_backward(job, layers, gradients, weight_data.data(), bias_data.data(), threads, kernel);
}

// The packed points of a look. Checks everything once and keeps the arrays alive.
class PoseTable {
 public:
  using Columns = nb::ndarray<nb::shape<-1, 3, perse::kPoseBlock>, nb::c_contig, nb::device::cpu>;
  using Bytes = Array<const uint8_t, nb::ndim<1>>;
  using Ints = Array<const int32_t, nb::ndim<1>>;
  using Constants = In<nb::shape<-1, -1, perse::kPoseBlock>>;
  using Joints = In<nb::shape<perse::kJoints, 3>>;
  using Floats = In<nb::ndim<1>>;

  PoseTable(int count, int coefficient_count, Columns columns, Floats units, Bytes which, Ints first, Constants constants,
            Joints joints, const std::vector<int>& widths, Floats mlp_weights, const std::vector<float>& bounds, float min_log_scale, float max_log_scale)
      : columns_(columns), units_(units), which_(which), first_(first), constants_(constants), joints_(joints), weights_(mlp_weights), job_{} {
    job_.compact = columns.dtype() == nb::dtype<int16_t>();
    require(job_.compact || columns.dtype() == nb::dtype<float>(), "columns must be float32 or int16");
    const size_t blocks = constants.shape(0);
    require(count >= 0 && blocks == (size_t(count) + perse::kPoseBlock - 1) / perse::kPoseBlock, "one block for 16 points");
    require(coefficient_count >= perse::kPoseFeatures && coefficient_count <= 256, "36 to 256 coefficients");
    require(which.shape(0) == columns.shape(0) && units.shape(0) == columns.shape(0) && first.shape(0) == blocks + 1, "columns, units, which and first must fit");
    require(first.data()[0] == 0 && first.data()[blocks] == int64_t(columns.shape(0)) &&
                std::is_sorted(first.data(), first.data() + blocks + 1),
            "first must rise from 0 to the number of columns");
    require(std::all_of(which.data(), which.data() + which.shape(0), [&](uint8_t k) { return k < coefficient_count; }),
            "which must name coefficients");
    for (const void* address : {static_cast<const void*>(columns.data()), static_cast<const void*>(constants.data())}) {
      require(reinterpret_cast<uintptr_t>(address) % 64 == 0, "columns and constants must be aligned to 64 bytes");
    }
    job_.count = count;
    job_.columns = columns.data();
    job_.units = units.data();
    job_.which = which.data();
    job_.first = first.data();
    job_.rows = static_cast<int>(constants.shape(1));
    job_.constants = constants.data();
    job_.coefficient_count = coefficient_count;
    set_mlp(widths, bounds, min_log_scale, max_log_scale);
  }

  void pose(In<nb::ndim<2>> expr, In<nb::shape<-1, 15>> pose, Out<nb::shape<-1, -1, 3>> means, Out<nb::shape<-1, -1, 4>> quats,
            std::optional<Out<nb::shape<-1, -1, 3>>> scales, std::optional<Out<nb::ndim<2>>> opacities,
            std::optional<Out<nb::shape<-1, -1, 3>>> colors, int threads, const std::string& isa) const {
    perse::TableJob job = job_;
    const size_t frames = pose.shape(0), count = size_t(job.count);
    require(frames <= (size_t{1} << 20), "too many frames");
    require(expr.shape(0) == frames && expr.shape(1) + perse::kPoseFeatures == size_t(job.coefficient_count),
            "expr must have a row for each pose, and a number for each expression");
    require(means.shape(0) == frames && means.shape(1) == count, "means must be [F, N, 3]");
    require(quats.shape(0) == frames && quats.shape(1) == count, "quats must be [F, N, 4]");
    require(!job.mlp.layers || (scales && opacities && colors), "this look changes scales, opacities and colours");
    require_same_shape(scales, means, "scales must be [F, N, 3]");
    require_same_shape(colors, means, "colors must be [F, N, 3]");
    require(!opacities || (opacities->shape(0) == frames && opacities->shape(1) == count), "opacities must be [F, N]");
    job.means = means.data();
    job.quats = quats.data();
    job.scales = data_of(scales);
    job.opacities = data_of(opacities);
    job.colors = data_of(colors);
    const perse::Kernel& kernel = perse::find_kernel(isa);
    nb::gil_scoped_release release;
    perse::pose_table(job, static_cast<int>(frames), joints_.data(), expr.data(), pose.data(), threads, kernel);
  }

 private:
  void set_mlp(const std::vector<int>& widths, const std::vector<float>& bounds, float min_log_scale, float max_log_scale) {
    const int layers = widths.empty() ? 0 : static_cast<int>(widths.size()) - 1;
    require(layers <= perse::kMaxMlpLayers, "too many layers");
    const int codes = layers ? widths[0] - 6 : 0;
    require(codes >= 0 && job_.rows == (layers ? perse::kRowCode + codes : perse::kRowsPlain), "a wrong number of constants");
    perse::MlpJob& mlp = job_.mlp;
    size_t numbers = 0;
    for (int k = 0; k <= layers && layers; ++k) {
      require(widths[k] >= 1 && widths[k] <= perse::kMaxMlpWidth && (k == 0 || widths[k] % 8 == 0), "layers must be multiples of 8, up to 256 wide");
      mlp.widths[k] = widths[k];
      if (k) numbers += size_t(widths[k - 1] + 1) * size_t(widths[k]);
    }
    require(weights_.shape(0) == numbers, "the weights do not fit the layers");
    if (layers) require(widths.back() >= perse::kMlpOutputs && bounds.size() == perse::kMlpOutputs, "11 outputs and bounds");
    mlp.layers = layers;
    mlp.weights = weights_.data();
    if (layers) std::copy(bounds.begin(), bounds.end(), mlp.bounds);
    mlp.min_log_scale = min_log_scale;
    mlp.max_log_scale = max_log_scale;
  }

  Columns columns_;
  Floats units_;
  Bytes which_;
  Ints first_;
  Constants constants_;
  Joints joints_;
  Floats weights_;
  perse::TableJob job_;
};

}  // namespace

void bind_posing(nb::module_& m) {
  const auto no = [](const char* name) { return nb::arg(name).noconvert(); };
  const auto maybe = [](const char* name) { return nb::arg(name).noconvert().none(); };
  m.def("joint_motion", &joint_motion, no("joints"), no("pose"), no("transforms"), no("quats"), no("feature"),
        "Forward kinematics, in double precision.");
  m.def("skin", &skin, no("points"), maybe("quats"), no("E"), no("P"), no("W"), no("expr"), no("transforms"), no("joint_quats"),
        no("feature"), no("posed"), no("turned"), maybe("bent"), nb::arg("first"), nb::arg("threads"), nb::arg("isa"),
        "Poses a run of points into posed, turned and bent, from point `first` on.");
  m.def("skin_backward", &skin_backward, no("points"), maybe("quats"), no("E"), no("P"), no("W"), no("expr"), no("transforms"),
        no("joint_quats"), no("feature"), no("bent"), nb::arg("first"), maybe("grad_posed"), maybe("grad_turned"),
        maybe("grad_bent"), maybe("grad_points"), maybe("grad_quats"), maybe("grad_E"), maybe("grad_P"), maybe("grad_W"),
        maybe("grad_expr"), maybe("grad_transforms"), maybe("grad_joint_quats"), maybe("grad_feature"), nb::arg("threads"),
        nb::arg("isa"), "Writes the gradients that are not None.");
  m.def("mlp_forward", &mlp_forward, no("moved"), no("bent"), no("codes"), no("weights"), no("biases"),
        nb::arg("scales_and_bounds"), no("changes"), nb::arg("threads"), nb::arg("isa"), "MLP_pose into changes.");
  m.def("mlp_backward", &mlp_backward, no("moved"), no("bent"), no("codes"), no("weights"), no("biases"),
        nb::arg("scales_and_bounds"), no("grad_changes"), no("grad_moved"), no("grad_bent"), no("grad_codes"), no("grad_weights"),
        no("grad_biases"), nb::arg("threads"), nb::arg("isa"), "Writes all gradients of mlp_forward.");
  nb::class_<PoseTable>(m, "PoseTable")
      .def(nb::init<int, int, PoseTable::Columns, PoseTable::Floats, PoseTable::Bytes, PoseTable::Ints, PoseTable::Constants,
                    PoseTable::Joints, const std::vector<int>&, PoseTable::Floats, const std::vector<float>&, float, float>(),
           nb::arg("count"), nb::arg("coefficient_count"), no("columns"), no("units"), no("which"), no("first"), no("constants"), no("joints"),
           nb::arg("widths"), no("mlp_weights"), nb::arg("bounds"), nb::arg("min_log_scale"), nb::arg("max_log_scale"))
      .def("pose", &PoseTable::pose, no("expr"), no("pose"), no("means"), no("quats"), maybe("scales"), maybe("opacities"),
           maybe("colors"), nb::arg("threads"), nb::arg("isa"), "Poses all points into the outputs.");
}
