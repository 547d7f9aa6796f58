// The rules of docs/splat.md once more, in the plainest C++ and in double precision: what native_tests compares with.
// Derived from the definition, not from the kernels: no tiles, no lists, no vectors, and derivatives by differences.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <random>
#include <vector>

namespace perse_tests {

// Everything that a drawing depends on; T is double for the reference and float for the kernels.
template <typename T>
struct Inputs {
  int count = 0, channel_count = 3, width = 0, height = 0;
  std::vector<T> means, quats, scales, opacities, channels, viewmat, intrinsics, background;
};

template <typename T, typename Visit>
void for_each_array(Inputs<T>& inputs, Visit&& visit) {
  visit(inputs.means);
  visit(inputs.quats);
  visit(inputs.scales);
  visit(inputs.opacities);
  visit(inputs.channels);
  visit(inputs.viewmat);
  visit(inputs.intrinsics);
  visit(inputs.background);
}

// A shell of the size of a head before a turned camera one metre off; all values are exact in float.
inline Inputs<double> random_scene(int count, int channel_count, int width, int height, double size, unsigned seed) {
  std::mt19937 random(seed);
  const auto uniform = [&](double low, double high) {
    return static_cast<double>(static_cast<float>(low + (high - low) * (random() / 4294967296.0)));
  };
  Inputs<double> s;
  s.count = count;
  s.channel_count = channel_count;
  s.width = width;
  s.height = height;
  for (int i = 0; i < count; ++i) {
    const double height_on_sphere = uniform(-1, 1), angle = uniform(0, 6.2831853);
    const double ring = std::sqrt(1 - height_on_sphere * height_on_sphere), thickness = uniform(.95, 1.05);
    for (double v : {.11 * ring * std::cos(angle), .15 * height_on_sphere, .12 * ring * std::sin(angle)}) {
      s.means.push_back(static_cast<float>(v * thickness));
    }
    for (int k = 0; k < 4; ++k) s.quats.push_back(uniform(-1, 1));
    for (int k = 0; k < 3; ++k) s.scales.push_back(size * uniform(.0005, .0045));
    s.opacities.push_back(uniform(0, 1));
    for (int k = 0; k < channel_count; ++k) s.channels.push_back(uniform(0, 1));
  }
  const double c = static_cast<float>(std::cos(.5)), n = static_cast<float>(std::sin(.5)), focal = 2.5 * std::max(width, height);
  s.viewmat = {c, 0, n, .0078125, 0, 1, 0, -.015625, -n, 0, c, 1, 0, 0, 0, 1};
  s.intrinsics = {focal, 0, .5 * width, 0, 1.0625 * focal, .5 * height, 0, 0, 1};
  for (int k = 0; k < channel_count; ++k) s.background.push_back(uniform(0, 1));
  return s;
}

struct Picture {
  std::vector<double> image, alpha;  // [H, W, C], [H, W]
};

// What a pixel blended, near to far. Which Gaussians pass the thresholds is no smooth function of the inputs: for
// differences, a drawing is repeated with the choices of another one.
struct Contribution {
  int id;
  bool clamped;
};
using Choices = std::vector<std::vector<Contribution>>;

struct Ellipse {
  double x, y, depth, conic_xx, conic_xy, conic_yy;
  bool drawn;
};

inline Ellipse project(const Inputs<double>& s, int i) {
  const double *m = &s.means[3 * i], *view = s.viewmat.data(), *K = s.intrinsics.data();
  double p[3];
  for (int r = 0; r < 3; ++r) p[r] = view[4 * r] * m[0] + view[4 * r + 1] * m[1] + view[4 * r + 2] * m[2] + view[4 * r + 3];
  const double fx = K[0], fy = K[4], cx = K[2], cy = K[5], margin_x = .15 * s.width / fx, margin_y = .15 * s.height / fy;
  const double slope_x = std::min(std::max(p[0] / p[2], -cx / fx - margin_x), (s.width - cx) / fx + margin_x);
  const double slope_y = std::min(std::max(p[1] / p[2], -cy / fy - margin_y), (s.height - cy) / fy + margin_y);

  const double* q = &s.quats[4 * i];
  const double length = std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  const double w = q[0] / length, x = q[1] / length, y = q[2] / length, z = q[3] / length;
  const double rotation[3][3] = {{1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)},
                                 {2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)},
                                 {2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)}};
  double xx = .3, xy = 0, yy = .3;
  for (int axis = 0; axis < 3; ++axis) {  // each axis of the Gaussian, in the camera's frame and then in the image
    double a[3] = {0, 0, 0};
    for (int r = 0; r < 3; ++r) {
      for (int k = 0; k < 3; ++k) a[r] += view[4 * r + k] * rotation[k][axis] * s.scales[3 * i + axis];
    }
    const double u = fx / p[2] * (a[0] - slope_x * a[2]), v = fy / p[2] * (a[1] - slope_y * a[2]);
    xx += u * u;
    xy += u * v;
    yy += v * v;
  }
  const double determinant = xx * yy - xy * xy;
  return {fx * p[0] / p[2] + cx, fy * p[1] / p[2] + cy, p[2], yy / determinant, -xy / determinant, xx / determinant, p[2] > .01};
}

// Draws, and fills `made` with its choices, or follows `given` ones.
inline Picture draw(const Inputs<double>& s, Choices* made, const Choices* given = nullptr) {
  std::vector<Ellipse> ellipses;
  for (int i = 0; i < s.count; ++i) ellipses.push_back(project(s, i));
  std::vector<int> order(s.count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return ellipses[a].depth < ellipses[b].depth; });

  const auto alpha_at = [&](int id, int px, int py) {
    const Ellipse& e = ellipses[id];
    const double dx = px + .5 - e.x, dy = py + .5 - e.y;
    const double sigma = .5 * (e.conic_xx * dx * dx + e.conic_yy * dy * dy) + e.conic_xy * dx * dy;
    return s.opacities[id] * std::exp(-sigma);
  };
  Picture picture;
  if (made) made->assign(static_cast<std::size_t>(s.width) * s.height, {});
  for (int pixel = 0; pixel < s.width * s.height; ++pixel) {
    const int px = pixel % s.width, py = pixel / s.width;
    std::vector<Contribution> chosen;
    if (given) {
      chosen = (*given)[pixel];
    } else {
      double left = 1;
      for (int id : order) {
        const double raw = ellipses[id].drawn ? alpha_at(id, px, py) : 0, alpha = std::min(raw, .999);
        if (alpha < 1. / 255) continue;
        if (left * (1 - alpha) <= 1e-4) break;
        left *= 1 - alpha;
        chosen.push_back({id, raw > .999});
      }
    }
    double left = 1;
    std::vector<double> sum(s.channel_count, 0.);
    for (const Contribution& one : chosen) {
      const double alpha = one.clamped ? .999 : alpha_at(one.id, px, py);
      for (int k = 0; k < s.channel_count; ++k) sum[k] += left * alpha * s.channels[one.id * s.channel_count + k];
      left *= 1 - alpha;
    }
    for (int k = 0; k < s.channel_count; ++k) picture.image.push_back(sum[k] + left * s.background[k]);
    picture.alpha.push_back(1 - left);
    if (made) (*made)[pixel] = std::move(chosen);
  }
  return picture;
}

}  // namespace perse_tests
