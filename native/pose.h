// Posing points: the driver around pose_skin.h and pose_table.h. Arrays are described in pose_types.h.
#pragma once

#include "types.h"

namespace perse {

// Forward kinematics (perse.head.pose_transforms), computed in double precision: joints [5, 3], pose [F, 15] ->
// transforms [F, 5, 12], quats [F, 5, 4], features [F, 36].
void joint_motion(const float* joints, const float* pose, int frames, float* transforms, float* quats, float* features);

// `job` without `once` and `always`, its joint quaternions of any sign; coefficients: psi [F, columns of E] and the
// pose features [F, columns of P].
void skin_forward(SkinJob job, const float* const coefficients[2], int threads, const Kernel& kernel);

struct MotionGradients {  // null where not wanted; transforms and joint_quats come together, and so do the others
  float* transforms;       // [F, 5, 12]
  float* joint_quats;      // [F, 5, 4]
  float* coefficients[2];  // [F, columns of E], [F, columns of P]
};
void skin_backward(SkinJob job, const float* const coefficients[2], SkinGradients gradients,
                   const MotionGradients& motion_gradients, int threads, const Kernel& kernel);

// `job` without motion and coefficients: joints [5, 3], expr [F, coefficient_count - 36], pose [F, 15].
void pose_table(TableJob job, int frames, const float* joints, const float* expr, const float* pose, int threads,
                const Kernel& kernel);

// MLP_pose for training. Layers as torch keeps them: weights [outputs, inputs] and biases [outputs].
struct MlpLayers {
  int layers;
  int widths[kMaxMlpLayers + 1];
  const float* weights[kMaxMlpLayers];
  const float* biases[kMaxMlpLayers];
};
void mlp_forward(MlpTraining job, const MlpLayers& layers, int threads, const Kernel& kernel);
// grad_weights, grad_biases: like the layers, every one written.
void mlp_backward(MlpTraining job, const MlpLayers& layers, const MlpGradients& gradients, float* const* grad_weights,
                  float* const* grad_biases, int threads, const Kernel& kernel);

}  // namespace perse
