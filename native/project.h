// From Gaussians in the world to ellipses in the image, and the way back for gradients.
#pragma once

#include "simd.h"
#include "types.h"

namespace perse {
namespace PERSE_ISA {

// Reads `columns` floats of each of `count` consecutive rows, one Gaussian a lane; lanes behind the end repeat the
// first row.
template <int columns>
PERSE_INLINE void load_rows(const float* rows, int count, Float* out) {
  alignas(64) float lanes[columns][Float::width];
  for (int i = 0; i < Float::width; ++i) {
    const float* row = rows + static_cast<size_t>(i < count ? i : 0) * columns;
    for (int k = 0; k < columns; ++k) lanes[k][i] = row[k];
  }
  for (int k = 0; k < columns; ++k) out[k] = load(lanes[k]);
}

template <int columns>
PERSE_INLINE void store_rows(float* rows, int count, const Float* in) {
  alignas(64) float lanes[columns][Float::width];
  for (int k = 0; k < columns; ++k) store(lanes[k], in[k]);
  for (int i = 0; i < count; ++i) {
    for (int k = 0; k < columns; ++k) rows[static_cast<size_t>(i) * columns + k] = lanes[k][i];
  }
}

PERSE_INLINE Float dot3(const Float* a, const Float* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

// Everything about one vector of Gaussians that the forward or the backward pass needs. Matrices are row-major.
struct Projection {
  Float position[3], inverse_depth;  // in the camera frame
  Float slope_x, slope_y;            // x / z and y / z
  Float clamped_x, clamped_y;        // the slopes at which the projection is linearised
  Mask inside_x, inside_y;           // not clamped
  Float quat[4], quat2, quat_scale;  // unit quaternion; its squared length before, and 1 / its length before
  Float rotation[9];
  Float jacobian[6];       // 2 x 3, pixels per metre in the world
  Float unscaled_axes[6];  // jacobian * rotation
  Float axes[6];           // the same, columns times the scales: covariance = axes axes^T + blur
  Float cov_xx, cov_xy, cov_yy;
  Float sharp_determinant, inverse_determinant;  // of the covariance without and with blur
  Float conic_yy;  // of the inverse covariance
};

PERSE_INLINE void quat_to_rotation(const Float* q, Float* r) {
  Float w = q[0], x = q[1], y = q[2], z = q[3];
  r[0] = 1.f - 2.f * (y * y + z * z);
  r[1] = 2.f * (x * y - w * z);
  r[2] = 2.f * (x * z + w * y);
  r[3] = 2.f * (x * y + w * z);
  r[4] = 1.f - 2.f * (x * x + z * z);
  r[5] = 2.f * (y * z - w * x);
  r[6] = 2.f * (x * z - w * y);
  r[7] = 2.f * (y * z + w * x);
  r[8] = 1.f - 2.f * (x * x + y * y);
}

// Gradient of the rotation matrix -> gradient of the quaternion before it was normalised.
PERSE_INLINE void rotation_grad_to_quat(const Projection& p, const Float* g, Float* out) {
  const Float *q = p.quat, w = q[0], x = q[1], y = q[2], z = q[3];
  out[0] = 2.f * (x * (g[7] - g[5]) + y * (g[2] - g[6]) + z * (g[3] - g[1]));
  out[1] = 2.f * (y * (g[1] + g[3]) + z * (g[2] + g[6]) + w * (g[7] - g[5]) - 2.f * x * (g[4] + g[8]));
  out[2] = 2.f * (x * (g[1] + g[3]) + z * (g[5] + g[7]) + w * (g[2] - g[6]) - 2.f * y * (g[0] + g[8]));
  out[3] = 2.f * (x * (g[2] + g[6]) + y * (g[5] + g[7]) + w * (g[3] - g[1]) - 2.f * z * (g[0] + g[4]));
  Float along = out[0] * w + out[1] * x + out[2] * y + out[3] * z;
  for (int k = 0; k < 4; ++k) out[k] = (out[k] - along * q[k]) * p.quat_scale;
}

PERSE_INLINE void project_vector(const CameraParameters& c, float blur, const Float* mean, const Float* quat,
                                 const Float* scale, Projection& p) {
  const float* view = c.rotation;
  for (int i = 0; i < 3; ++i) {
    p.position[i] = view[3 * i] * mean[0] + view[3 * i + 1] * mean[1] + view[3 * i + 2] * mean[2] + c.translation[i];
  }
  p.inverse_depth = 1.f / p.position[2];
  p.slope_x = p.position[0] * p.inverse_depth;
  p.slope_y = p.position[1] * p.inverse_depth;

  // The linearised projection explodes far outside the image: take it 15 % beyond the border at most.
  float margin_x = 0.15f * c.width / c.fx, margin_y = 0.15f * c.height / c.fy;
  p.clamped_x = clamp(p.slope_x, -c.cx / c.fx - margin_x, (c.width - c.cx) / c.fx + margin_x);
  p.clamped_y = clamp(p.slope_y, -c.cy / c.fy - margin_y, (c.height - c.cy) / c.fy + margin_y);
  p.inside_x = p.clamped_x == p.slope_x;
  p.inside_y = p.clamped_y == p.slope_y;

  p.quat2 = quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3];
  p.quat_scale = 1.f / sqrt(max(p.quat2, kMinQuat2));
  for (int k = 0; k < 4; ++k) p.quat[k] = quat[k] * p.quat_scale;
  quat_to_rotation(p.quat, p.rotation);

  Float focal_x = c.fx * p.inverse_depth, focal_y = c.fy * p.inverse_depth;
  for (int k = 0; k < 3; ++k) {
    p.jacobian[k] = focal_x * (view[k] - p.clamped_x * view[6 + k]);
    p.jacobian[3 + k] = focal_y * (view[3 + k] - p.clamped_y * view[6 + k]);
  }
  for (int row = 0; row < 6; row += 3) {
    for (int k = 0; k < 3; ++k) {
      p.unscaled_axes[row + k] = p.jacobian[row] * p.rotation[k] + p.jacobian[row + 1] * p.rotation[3 + k] +
                                 p.jacobian[row + 2] * p.rotation[6 + k];
      p.axes[row + k] = p.unscaled_axes[row + k] * scale[k];
    }
  }

  const Float *u = p.axes, *v = p.axes + 3;
  Float uu = dot3(u, u), vv = dot3(v, v), uv = dot3(u, v);
  p.cov_xx = uu + blur;
  p.cov_xy = uv;
  p.cov_yy = vv + blur;
  // |u x v|^2 instead of uu vv - uv^2: no cancellation for long thin ellipses.
  Float cross[3] = {u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]};
  p.sharp_determinant = dot3(cross, cross);
  p.inverse_determinant = 1.f / (p.sharp_determinant + blur * (uu + vv) + blur * blur);
  p.conic_yy = p.cov_xx * p.inverse_determinant;
}

// Tiles that hold a pixel centre in [x_low, x_high] x [y_low, y_high] (pixel indices); false if there is none.
PERSE_INLINE bool tile_rect(const CameraParameters& c, float x_low, float x_high, float y_low, float y_high,
                            TileRect* rect) {
  int x0 = static_cast<int>(ceilf(x_low)), x1 = static_cast<int>(floorf(x_high));
  int y0 = static_cast<int>(ceilf(y_low)), y1 = static_cast<int>(floorf(y_high));
  x0 = x0 > 0 ? x0 : 0;
  y0 = y0 > 0 ? y0 : 0;
  x1 = x1 < c.width - 1 ? x1 : c.width - 1;
  y1 = y1 < c.height - 1 ? y1 : c.height - 1;
  if (x1 < x0 || y1 < y0) {
    *rect = {0, 0, 0, 0};
    return false;
  }
  *rect = {static_cast<uint16_t>(x0 / kTileSize), static_cast<uint16_t>(x1 / kTileSize + 1),
           static_cast<uint16_t>(y0 / kTileSize), static_cast<uint16_t>(y1 / kTileSize + 1)};
  return true;
}

// Copies the first channels into the record; whether all are finite.
PERSE_INLINE bool copy_channels(const float* channels, int count, Record* record) {
  bool finite = true;
  for (int k = 0; k < count; ++k) finite = finite & (fabsf(channels[k]) <= kLargestFloat);
  for (int k = 0; k < kMaxChunk; ++k) record->channel[k] = k < count ? channels[k] : 0.f;
  return finite;
}

// Radius and centre as the caller sees them: of Gaussians that reach into the image, in whole pixels.
PERSE_INLINE void report(const ProjectJob& job, size_t id, float mean_x, float mean_y, float half_x, float half_y) {
  const float x = ceilf(half_x), y = ceilf(half_y), larger = x > y ? x : y;
  const bool inside = mean_x + x > 0.f && mean_x - x < job.camera.width && mean_y + y > 0.f && mean_y - y < job.camera.height;
  const bool drawn = inside && larger > 0.f;
  job.radii[id] = drawn ? static_cast<int32_t>(larger < 16777216.f ? larger : 16777216.f) : 0;
  job.means2d[2 * id] = drawn ? mean_x : 0.f;
  job.means2d[2 * id + 1] = drawn ? mean_y : 0.f;
}

// Centres in the image, and what rounding took from them. In double precision, in plain C for the compiler to vectorise:
// what they are off moves whole Gaussians, and that would be most of what images and the camera's gradients are off.
PERSE_INLINE void project_centres(const CameraParameters& c, const Float* mean, Float* centre, Float* rest) {
  alignas(64) float in[3][Float::width], out[2][Float::width], left[2][Float::width];
  for (int k = 0; k < 3; ++k) store(in[k], mean[k]);
  double view[9], shift[3];
  for (int k = 0; k < 9; ++k) view[k] = c.rotation[k];
  for (int k = 0; k < 3; ++k) shift[k] = c.translation[k];
  const double fx = c.fx, fy = c.fy, cx = c.cx, cy = c.cy;
  for (int i = 0; i < Float::width; ++i) {
    const double x = in[0][i], y = in[1][i], z = in[2][i];
    const double per_depth = 1.0 / (view[6] * x + view[7] * y + view[8] * z + shift[2]);
    const double at_x = (view[0] * x + view[1] * y + view[2] * z + shift[0]) * per_depth * fx + cx;
    const double at_y = (view[3] * x + view[4] * y + view[5] * z + shift[1]) * per_depth * fy + cy;
    out[0][i] = static_cast<float>(at_x);
    out[1][i] = static_cast<float>(at_y);
    left[0][i] = static_cast<float>(at_x - out[0][i]);
    left[1][i] = static_cast<float>(at_y - out[1][i]);
  }
  for (int k = 0; k < 2; ++k) {
    centre[k] = load(out[k]);
    rest[k] = load(left[k]);
  }
}

// The upper halves of two floats.
PERSE_INLINE uint32_t upper_halves(float a, float b) {
  uint32_t words[2];
  memcpy(&words[0], &a, 4);
  memcpy(&words[1], &b, 4);
  return (words[0] & 0xffff0000u) | words[1] >> 16;
}

// One vector of Gaussians [first, first + count).
PERSE_INLINE void project_some(const ProjectJob& job, int first, int count) {
  const CameraParameters& c = job.camera;
  Float mean[3], quat[4], scale[3], opacity;
  load_rows<3>(job.means + static_cast<size_t>(first) * 3, count, mean);
  load_rows<4>(job.quats + static_cast<size_t>(first) * 4, count, quat);
  load_rows<3>(job.scales + static_cast<size_t>(first) * 3, count, scale);
  load_rows<1>(job.opacities + first, count, &opacity);
  Projection p;
  const ViewOptions& o = job.options;
  project_vector(c, o.blur, mean, quat, scale, p);
  Float centre[2], rest[2];
  project_centres(c, mean, centre, rest);
  Float mean_x = centre[0], mean_y = centre[1];

  Float blended = min(opacity, 1.f);
  if (o.antialiased) blended = blended * sqrt(p.sharp_determinant * p.inverse_determinant);
  Float log2_opacity = log2(blended);
  // The Gaussian falls to 1/255 at sigmas2 squared standard deviations.
  Float sigmas2 = min((log2_opacity - kLog2MinAlpha) * (2.f / kLog2E), kMaxSigma * kMaxSigma);
  Float half_x = sqrt(max(sigmas2, 0.f) * p.cov_xx), half_y = sqrt(max(sigmas2, 0.f) * p.cov_yy);
  Float slope = p.cov_xy / p.cov_xx, tip = half_y * (p.cov_xy / p.cov_yy);
  Float fall_x = -0.5f * kLog2E / p.cov_xx, fall_y = p.conic_yy * (-0.5f * kLog2E);

  // NaN and inf stay in a sum.
  Float checked = mean_x + mean_y + half_x + half_y + slope + tip + fall_x + fall_y + log2_opacity + opacity;
  Float radius = max(half_x, half_y);
  Mask drawn = (p.position[2] >= o.near_plane) & (blended > 0.f) & (o.far_plane >= p.position[2]) & (sigmas2 > 0.f) &
               (radius > o.radius_clip) & (o.radius_limit >= radius) & (p.quat2 >= kMinQuat2) & (kMaxQuat2 >= p.quat2) &
               (-1e-37f >= fall_y) &  // so that `reciprocal` can take it
               (abs_negated(checked) >= -kLargestFloat);
  Float nowhere = -2.f;  // every bound fits into an int
  Float box[4] = {clamp(mean_x - half_x - 0.5f, -2.f, c.width + 2.f),
                  select(drawn, clamp(mean_x + half_x - 0.5f, -2.f, c.width + 2.f), nowhere),
                  clamp(mean_y - half_y - 0.5f, -2.f, c.height + 2.f),
                  select(drawn, clamp(mean_y + half_y - 0.5f, -2.f, c.height + 2.f), nowhere)};
  for (int k = 0; k < 4; k += 2) box[k] = select(drawn, box[k], 0.f);

  enum { kShape, kRest = kShape + 7, kDepth = kRest + 2, kHalfX, kHalfY, kBox, kFields = kBox + 4 };
  const Float fields[kFields] = {mean_x, mean_y, slope, tip, log2_opacity, fall_x, fall_y, rest[0], rest[1],
                                 p.position[2], select(drawn, half_x, 0.f), select(drawn, half_y, 0.f),
                                 box[0], box[1], box[2], box[3]};
  alignas(64) float lanes[kFields][Float::width];
  for (int k = 0; k < kFields; ++k) store(lanes[k], fields[k]);
  for (int i = 0; i < count; ++i) {
    const size_t id = static_cast<size_t>(first) + i;
    Record& r = job.records[id];
    r.mean_x = lanes[kShape][i];
    r.mean_y = lanes[kShape + 1][i];
    r.slope = lanes[kShape + 2][i];
    r.tip = lanes[kShape + 3][i];
    r.log2_opacity = lanes[kShape + 4][i];
    r.fall_x = lanes[kShape + 5][i];
    r.fall_y = lanes[kShape + 6][i];
    r.mean_rest = upper_halves(lanes[kRest][i], lanes[kRest + 1][i]);
    bool finite = copy_channels(job.channels + id * job.channel_count, job.channel_count, &r);
    bool visible = tile_rect(c, lanes[kBox][i], lanes[kBox + 1][i], lanes[kBox + 2][i], lanes[kBox + 3][i], &job.rects[id]);
    if (!finite) job.rects[id] = {0, 0, 0, 0};
    job.depths[id] = visible && finite ? lanes[kDepth][i] : -1.f;
    if (job.radii) {
      report(job, id, r.mean_x, r.mean_y, finite ? lanes[kHalfX][i] : 0.f, finite ? lanes[kHalfY][i] : 0.f);
    }
  }
}

void project(const ProjectJob& job, int begin, int end) {
  for (int first = begin; first < end; first += Float::width) {
    project_some(job, first, end - first < Float::width ? end - first : Float::width);
  }
}

struct CameraGradient {
  Float rotation[9], translation[3], fx, fy, cx, cy;
};

// Back through project_vector. `row` holds, for each Gaussian, the six sums of backward.h.
PERSE_INLINE void unproject_vector(const CameraParameters& c, const ViewOptions& o, const Projection& p,
                                   const Float* scale, const Float* mean, const Float* row, Float* grad_mean,
                                   Float* grad_quat, Float* grad_scale, Float* grad_mean2d, CameraGradient* camera) {
  const float* view = c.rotation;
  // v = dL/dlog(alpha) was summed with weights 1, dx, u, dx^2, dx u, u^2. The conic Q takes (dx, dy) to (a - slope b, b)
  // with a = dx / cov_xx and b = conic_yy u.
  Float per_x = 1.f / p.cov_xx, slope = p.cov_xy * per_x;
  Float grad_mean_y = p.conic_yy * row[2];
  Float grad_mean_x = per_x * row[1] - slope * grad_mean_y;
  grad_mean2d[0] = grad_mean_x;
  grad_mean2d[1] = grad_mean_y;
  // Covariance: dL/dC = 1/2 sum of v (Q d) (Q d)^T, kept as its three entries.
  Float aa = 0.5f * per_x * per_x * row[3], ab = 0.5f * per_x * p.conic_yy * row[4];
  Float cov_yy = 0.5f * p.conic_yy * p.conic_yy * row[5];
  Float cov_xy = ab - slope * cov_yy;
  Float cov_xx = aa - slope * (ab + cov_xy);

  if (o.antialiased) {
    // log(opacity) += log(sharp determinant) / 2 - log(determinant) / 2, and the gradient of log det C is C^-1.
    Float uu = dot3(p.axes, p.axes), vv = dot3(p.axes + 3, p.axes + 3), half = 0.5f * row[0];
    Float apart = (o.blur * (uu + vv) + o.blur * o.blur) * p.inverse_determinant / p.sharp_determinant;
    cov_xx = cov_xx + half * (vv * apart - o.blur * p.inverse_determinant);
    cov_xy = cov_xy - half * (p.cov_xy * apart);
    cov_yy = cov_yy + half * (uu * apart - o.blur * p.inverse_determinant);
  }

  // covariance = axes axes^T, axes = jacobian rotation diag(scale)
  Float unscaled[6];
  for (int k = 0; k < 3; ++k) {
    Float axis_x = 2.f * (cov_xx * p.axes[k] + cov_xy * p.axes[3 + k]);
    Float axis_y = 2.f * (cov_xy * p.axes[k] + cov_yy * p.axes[3 + k]);
    grad_scale[k] = p.unscaled_axes[k] * axis_x + p.unscaled_axes[3 + k] * axis_y;
    unscaled[k] = axis_x * scale[k];
    unscaled[3 + k] = axis_y * scale[k];
  }
  Float rotation[9], jacobian[6];
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < 3; ++k) {
      rotation[3 * i + k] = p.jacobian[i] * unscaled[k] + p.jacobian[3 + i] * unscaled[3 + k];
    }
    jacobian[i] = dot3(unscaled, p.rotation + 3 * i);
    jacobian[3 + i] = dot3(unscaled + 3, p.rotation + 3 * i);
  }
  rotation_grad_to_quat(p, rotation, grad_quat);

  // jacobian row x = focal_x (view row 0 - clamped_x view row 2), and so for y.
  Float focal_x = c.fx * p.inverse_depth, focal_y = c.fy * p.inverse_depth;
  Float by_focal_x = 0.f, by_focal_y = 0.f, by_clamped_x = 0.f, by_clamped_y = 0.f;
  for (int k = 0; k < 3; ++k) {
    by_focal_x = by_focal_x + jacobian[k] * (view[k] - p.clamped_x * view[6 + k]);
    by_focal_y = by_focal_y + jacobian[3 + k] * (view[3 + k] - p.clamped_y * view[6 + k]);
    by_clamped_x = by_clamped_x - jacobian[k] * focal_x * view[6 + k];
    by_clamped_y = by_clamped_y - jacobian[3 + k] * focal_y * view[6 + k];
  }
  Float by_slope_x = grad_mean_x * c.fx + select(p.inside_x, by_clamped_x, 0.f);
  Float by_slope_y = grad_mean_y * c.fy + select(p.inside_y, by_clamped_y, 0.f);
  Float position[3];
  position[0] = by_slope_x * p.inverse_depth;
  position[1] = by_slope_y * p.inverse_depth;
  position[2] = -(by_slope_x * p.slope_x + by_slope_y * p.slope_y + by_focal_x * focal_x + by_focal_y * focal_y) *
                p.inverse_depth;
  for (int k = 0; k < 3; ++k) {
    grad_mean[k] = view[k] * position[0] + view[3 + k] * position[1] + view[6 + k] * position[2];
  }
  if (!camera) return;
  for (int k = 0; k < 3; ++k) {
    Float jx = focal_x * jacobian[k], jy = focal_y * jacobian[3 + k];
    camera->rotation[k] = position[0] * mean[k] + jx;
    camera->rotation[3 + k] = position[1] * mean[k] + jy;
    camera->rotation[6 + k] = position[2] * mean[k] - jx * p.clamped_x - jy * p.clamped_y;
    camera->translation[k] = position[k];
  }
  camera->fx = grad_mean_x * p.slope_x + by_focal_x * p.inverse_depth;
  camera->fy = grad_mean_y * p.slope_y + by_focal_y * p.inverse_depth;
  camera->cx = grad_mean_x;
  camera->cy = grad_mean_y;
}

PERSE_INLINE void add_camera(const CameraGradient& g, Mask drawn, double* sums) {
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < 3; ++k) sums[4 * i + k] += sum(select(drawn, g.rotation[3 * i + k], 0.f));
    sums[4 * i + 3] += sum(select(drawn, g.translation[i], 0.f));
  }
  const Float intrinsics[4] = {g.fx, g.fy, g.cx, g.cy};
  for (int k = 0; k < 4; ++k) sums[12 + k] += sum(select(drawn, intrinsics[k], 0.f));
}

// One vector of Gaussians [first, first + count) and their rows.
PERSE_INLINE void unproject_some(const UnprojectJob& job, const float* rows, int first, int count, double* camera_sums) {
  const ProjectJob& in = job.input;
  Float mean[3], quat[4], scale[3], opacity, depth, row[kGradientRow];
  load_rows<3>(in.means + static_cast<size_t>(first) * 3, count, mean);
  load_rows<4>(in.quats + static_cast<size_t>(first) * 4, count, quat);
  load_rows<3>(in.scales + static_cast<size_t>(first) * 3, count, scale);
  load_rows<1>(in.opacities + first, count, &opacity);
  load_rows<1>(in.depths + first, count, &depth);
  load_rows<kGradientRow>(rows, count, row);
  Projection p;
  project_vector(in.camera, in.options.blur, mean, quat, scale, p);

  Float grad_mean[3], grad_quat[4], grad_scale[3], grad_mean2d[2];
  Float grad_opacity = select(1.f >= opacity, row[0] / opacity, 0.f);  // above 1 it is drawn as 1
  CameraGradient camera;
  unproject_vector(in.camera, in.options, p, scale, mean, row, grad_mean, grad_quat, grad_scale, grad_mean2d,
                   camera_sums ? &camera : nullptr);

  Mask drawn = depth > 0.f;  // the others may hold NaN
  for (int k = 0; k < 3; ++k) grad_mean[k] = select(drawn, grad_mean[k], 0.f);
  for (int k = 0; k < 4; ++k) grad_quat[k] = select(drawn, grad_quat[k], 0.f);
  for (int k = 0; k < 3; ++k) grad_scale[k] = select(drawn, grad_scale[k], 0.f);
  grad_opacity = select(drawn, grad_opacity, 0.f);
  store_rows<3>(job.grad_means + static_cast<size_t>(first) * 3, count, grad_mean);
  store_rows<4>(job.grad_quats + static_cast<size_t>(first) * 4, count, grad_quat);
  store_rows<3>(job.grad_scales + static_cast<size_t>(first) * 3, count, grad_scale);
  store_rows<1>(job.grad_opacities + first, count, &grad_opacity);
  if (job.grad_means2d) {
    for (int k = 0; k < 2; ++k) grad_mean2d[k] = select(drawn, grad_mean2d[k], 0.f);
    store_rows<2>(job.grad_means2d + static_cast<size_t>(first) * 2, count, grad_mean2d);
  }
  if (!camera_sums) return;
  alignas(64) float index[Float::width];
  for (int i = 0; i < Float::width; ++i) index[i] = i < count ? 1.f : 0.f;
  add_camera(camera, drawn & (load(index) > 0.f), camera_sums);
}

void unproject(const UnprojectJob& job, int begin, int end, double* camera_sums) {
  for (int first = begin; first < end; first += Float::width) {
    const float* rows = job.gradient_rows + static_cast<size_t>(first - begin) * kGradientRow;
    unproject_some(job, rows, first, end - first < Float::width ? end - first : Float::width, camera_sums);
  }
}

}  // namespace PERSE_ISA
}  // namespace perse
