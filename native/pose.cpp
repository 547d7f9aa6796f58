#include "pose.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "buffers.h"
#include "chunks.h"

namespace perse {
namespace {

constexpr int kParents[kJoints] = {-1, 0, 1, 1, 1};

// ---- joints

struct Matrix {
  double at[3][3];
};

Matrix multiply(const Matrix& a, const Matrix& b) {
  Matrix c;
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < 3; ++k) c.at[i][k] = a.at[i][0] * b.at[0][k] + a.at[i][1] * b.at[1][k] + a.at[i][2] * b.at[2][k];
  }
  return c;
}

// Rodrigues' formula and the same rotation as a quaternion wxyz.
void rotation_of(const float* axis_angle, Matrix& matrix, double* quat) {
  const double x = axis_angle[0], y = axis_angle[1], z = axis_angle[2];
  const double square = x * x + y * y + z * z, angle = std::sqrt(square);
  const bool small = square < 1e-12;
  const double first = small ? 1 - square / 6 : std::sin(angle) / angle;
  const double second = small ? 0.5 - square / 24 : (1 - std::cos(angle)) / square;
  matrix = {{{1 - second * (y * y + z * z), second * x * y - first * z, second * x * z + first * y},
             {second * x * y + first * z, 1 - second * (x * x + z * z), second * y * z - first * x},
             {second * x * z - first * y, second * y * z + first * x, 1 - second * (x * x + y * y)}}};
  const double ratio = small ? 0.5 - square / 48 : std::sin(angle / 2) / angle;
  quat[0] = std::cos(angle / 2);
  for (int k = 0; k < 3; ++k) quat[1 + k] = ratio * axis_angle[k];
}

void multiply_quats(const double* a, const double* b, double* out) {
  out[0] = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3];
  out[1] = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2];
  out[2] = a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1];
  out[3] = a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0];
}

void frame_motion(const float* joints, const float* pose, float* transforms, float* quats, float* features) {
  Matrix rotation[kJoints];
  double quat[kJoints][4], position[kJoints][3];
  for (int j = 0; j < kJoints; ++j) {
    Matrix local;
    double local_quat[4];
    rotation_of(pose + 3 * j, local, local_quat);
    const int parent = kParents[j];
    if (parent < 0) {
      rotation[j] = local;
      std::copy(local_quat, local_quat + 4, quat[j]);
      for (int k = 0; k < 3; ++k) position[j][k] = joints[3 * j + k];
    } else {
      rotation[j] = multiply(rotation[parent], local);
      multiply_quats(quat[parent], local_quat, quat[j]);
      for (int k = 0; k < 3; ++k) {
        position[j][k] = position[parent][k];
        for (int m = 0; m < 3; ++m) position[j][k] += rotation[parent].at[k][m] * (double{joints[3 * j + m]} - joints[3 * parent + m]);
      }
      for (int k = 0; k < 9; ++k) features[9 * (j - 1) + k] = static_cast<float>(local.at[k / 3][k % 3] - (k % 4 == 0));
    }
    for (int k = 0; k < 3; ++k) {
      double translation = position[j][k];
      for (int m = 0; m < 3; ++m) {
        translation -= rotation[j].at[k][m] * joints[3 * j + m];
        transforms[kTransform * j + 4 * k + m] = static_cast<float>(rotation[j].at[k][m]);
      }
      transforms[kTransform * j + 4 * k + 3] = static_cast<float>(translation);
    }
    for (int k = 0; k < 4; ++k) quats[4 * j + k] = static_cast<float>(quat[j][k]);
  }
}

// ---- what all points of a call share

// Joint quaternions in the hemisphere of the neck joint's, and the signs that brought them there.
struct AlignedQuats {
  AlignedQuats(const float* quats, int frames) : values(quats, quats + size_t(frames) * kJoints * 4), signs(size_t(frames) * kJoints) {
    for (size_t j = 0; j < signs.size(); ++j) {
      float* quat = values.data() + 4 * j;
      const float* neck = quats + 4 * (j / kJoints * kJoints + 1);
      const float agreement = quat[0] * neck[0] + quat[1] * neck[1] + quat[2] * neck[2] + quat[3] * neck[3];
      signs[j] = agreement < 0 ? -1.f : 1.f;
      for (int k = 0; k < 4; ++k) quat[k] *= signs[j];
    }
  }
  std::vector<float> values, signs;
};

int vectors_of(const SkinJob& job, int width) {
  int vectors = 0;
  for (int columns : job.columns) vectors += (columns + width - 1) / width;
  return vectors;
}

// Coefficients as the kernels read them: SkinJob::once and SkinJob::always.
struct Coefficients {
  Coefficients(const SkinJob& job, const float* const given[2], int width) {
    const size_t size = size_t(job.motion.frames) * size_t(vectors_of(job, width) * width);
    float* once_at = once.resize(size);
    float* always_at = always.resize(size);
    for (int f = 0; f < job.motion.frames; ++f) {
      for (int b = 0; b < 2; ++b) {
        const int columns = job.columns[b];
        for (int begin = 0; begin < columns; begin += width) {
          const int start = std::min(begin, columns - width);
          for (int lane = 0; lane < width; ++lane) {
            const float value = given[b][int64_t{f} * columns + start + lane];
            *always_at++ = value;
            *once_at++ = start + lane < begin ? 0.f : value;
          }
        }
      }
    }
  }
  AlignedBuffer<float> once, always;
};

}  // namespace

void joint_motion(const float* joints, const float* pose, int frames, float* transforms, float* quats, float* features) {
  for (int f = 0; f < frames; ++f) {
    frame_motion(joints, pose + 15 * f, transforms + f * kJoints * kTransform, quats + f * kJoints * 4, features + f * kPoseFeatures);
  }
}

void skin_forward(SkinJob job, const float* const coefficients[2], int threads, const Kernel& kernel) {
  const AlignedQuats quats(job.motion.joint_quats, job.motion.frames);
  const Coefficients padded(job, coefficients, kernel.pose.width);
  job.motion.joint_quats = quats.values.data();
  job.once = padded.once.data();
  job.always = padded.always.data();
  run_chunks(job.count, threads, [&](int, int, int begin, int end) { kernel.pose.skin(job, begin, end); });
}

void skin_backward(SkinJob job, const float* const coefficients[2], SkinGradients gradients,
                   const MotionGradients& wanted, int threads, const Kernel& kernel) {
  const AlignedQuats quats(job.motion.joint_quats, job.motion.frames);
  const Coefficients padded(job, coefficients, kernel.pose.width);
  job.motion.joint_quats = quats.values.data();
  job.once = padded.once.data();
  job.always = padded.always.data();
  gradients.joints = wanted.transforms != nullptr;
  gradients.coefficients = wanted.coefficients[0] != nullptr;

  // A chunk's sums have a place of their own, so that the result depends neither on the threads nor on their number.
  const size_t frames = size_t(job.motion.frames), row = size_t(kJointSums + job.columns[0] + job.columns[1]);
  const size_t chunks = size_t(chunk_count(job.count));
  std::vector<float> sums(gradients.joints || gradients.coefficients ? chunks * frames * row : 0);
  // Rounded up, for each thread's part begins at a cache line.
  const size_t scratch_size = frames * size_t(3 * kPoseBlock + (kJointSums + vectors_of(job, kernel.pose.width)) * kernel.pose.width + 15) / 16 * 16;
  AlignedBuffer<float> scratch;
  scratch.resize(scratch_size * size_t(std::max(threads, 1)));
  run_chunks(job.count, threads, [&](int part, int chunk, int begin, int end) {
    float* own_sums = sums.empty() ? nullptr : sums.data() + size_t(chunk) * frames * row;
    kernel.pose.skin_backward(job, gradients, begin, end, scratch.data() + scratch_size * size_t(part), own_sums);
  });
  if (sums.empty() && chunks) return;

  for (size_t f = 0; f < frames; ++f) {
    const auto total = [&](size_t k) {
      double sum = 0;
      for (size_t chunk = 0; chunk < chunks; ++chunk) sum += sums[(chunk * frames + f) * row + k];
      return static_cast<float>(sum);
    };
    if (gradients.joints) {
      const size_t entries = kJoints * kTransform;
      for (size_t k = 0; k < entries; ++k) wanted.transforms[f * entries + k] = total(k);
      for (size_t k = 0; k < kJoints * 4; ++k) {
        wanted.joint_quats[f * kJoints * 4 + k] = quats.signs[f * kJoints + k / 4] * total(entries + k);
      }
    }
    if (!gradients.coefficients) continue;
    size_t column = kJointSums;
    for (int b = 0; b < 2; ++b) {
      const size_t columns = size_t(job.columns[b]);
      for (size_t k = 0; k < columns; ++k) wanted.coefficients[b][f * columns + k] = total(column + k);
      column += columns;
    }
  }
}

void pose_table(TableJob job, int frames, const float* joints, const float* expr, const float* pose, int threads,
                const Kernel& kernel) {
  const size_t count = size_t(frames);
  std::vector<float> transforms(count * kJoints * kTransform), quats(count * kJoints * 4), features(count * kPoseFeatures);
  joint_motion(joints, pose, frames, transforms.data(), quats.data(), features.data());
  const AlignedQuats aligned(quats.data(), frames);
  const int units = job.coefficient_count - kPoseFeatures;
  std::vector<float> coefficients;
  for (int f = 0; f < frames; ++f) {
    coefficients.insert(coefficients.end(), expr + int64_t{f} * units, expr + int64_t{f + 1} * units);
    coefficients.insert(coefficients.end(), features.begin() + f * kPoseFeatures, features.begin() + (f + 1) * kPoseFeatures);
  }
  job.motion = {frames, transforms.data(), aligned.values.data()};
  job.coefficients = coefficients.data();
  const size_t scratch_size = job.mlp.layers ? kMlpScratch : 0;
  AlignedBuffer<float> scratch;
  scratch.resize(scratch_size * size_t(std::max(threads, 1)));
  run_chunks(job.count, threads, [&](int part, int, int begin, int end) {
    kernel.pose.table(job, begin, end, scratch.data() + scratch_size * size_t(part));
  });
}

}  // namespace perse
