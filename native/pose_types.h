// Plain data that posing's driver (pose.cpp) and kernels (pose_skin.h, pose_table.h) hand one another. No standard library: see simd.h.
#pragma once

#include <stdint.h>

namespace perse {

constexpr int kJoints = 5;
constexpr int kPoseFeatures = 36;     // R - I of the joints after the root
constexpr int kTransform = 12;        // 3 x 4, row by row
constexpr int kPoseBlock = 16;        // points that are posed together
constexpr int kJointSums = kJoints * (kTransform + 4);  // gradients of the transforms, then of the quaternions
constexpr int kMlpPoints = 64;        // points that go through MLP_pose together in training
constexpr int kMaxMlpLayers = 8;
constexpr int kMaxMlpWidth = 256;
constexpr int kMlpSwap = kPoseBlock * kMaxMlpWidth + 512;  // floats from one layer's values to the next one's; the 512
                                                           // keep the two from looking alike to the store buffer
constexpr int kMlpScratch = 2 * kMlpSwap;
constexpr int kMlpOutputs = 11;       // changes of quaternion (4), log scale (3), opacity (1), colour (3)

// What moves the points in each of F frames.
struct Motion {
  int frames;
  const float* transforms;   // [F, 5, 12]
  const float* joint_quats;  // [F, 5, 4] wxyz, all in the hemisphere of the neck joint's
};

// Points with E, P, W as torch keeps them, for training and for points that are posed once. A row of E (or P) is read
// in vectors; the last one of a row begins early enough to end with the row. In `once` the coefficients of lanes that
// the vector before has covered are zero, in `always` they are not.
struct SkinJob {
  int count;            // points
  int64_t total;        // points in one frame of the outputs, of which these are some
  Motion motion;
  int columns[2];       // of E and P; each at least 16
  const float* basis[2];   // E [count, 3, columns[0]], P [count, 3, columns[1]]
  const float* once;    // [F, vectors of a row of E and of P, width]
  const float* always;  // the same
  const float* weights;  // W [count, 5]
  const float* points;   // [count, 3]
  const float* quats;    // [count, 4] of any length; null: the identity
  float* posed;          // out [F, total, 3]
  float* turned;         // out [F, total, 4]
  float* bent;           // [F, total, 3] what E and P move; forward writes it unless null, backward reads it
};

// Null where a gradient is not given, or not wanted.
struct SkinGradients {
  const float* posed;   // [F, total, 3]
  const float* turned;  // [F, total, 4]
  const float* bent;    // [F, total, 3]
  float* points;        // out [count, 3]
  float* quats;         // out [count, 4]
  float* basis[2];      // out, like the inputs
  float* weights;       // out [count, 5]
  bool joints, coefficients;  // whether the sums below are wanted
};

// MLP_pose with everything that is the same for a whole look folded into its weights.
struct MlpJob {
  int layers;                   // 0: there is none
  int widths[kMaxMlpLayers + 1];  // inputs, then outputs of every layer, these padded to multiples of 8
  const float* weights;         // layer by layer: [inputs, outputs], then biases [outputs]
  float bounds[kMlpOutputs];    // largest changes
  float min_log_scale, max_log_scale;
};

// Points packed for playback. Blocks of 16 points; each holds the columns of its 86 basis functions that are not zero,
// and its constants, component by component.
struct TableJob {
  int count;
  Motion motion;
  bool compact;            // columns are int16, else float
  const void* columns;     // [L, 3, 16]
  const float* units;      // [L] metres of a column's one
  const uint8_t* which;    // [L] the coefficient that goes with a column
  const int32_t* first;    // [blocks + 1] into columns
  int rows;                // constants of a point
  const float* constants;  // [blocks, rows, 16]: see kRow...
  int coefficient_count;   // E's and P's together
  const float* coefficients;  // [F, coefficient_count]
  MlpJob mlp;
  float* means;      // out [F, count, 3]
  float* quats;      // out [F, count, 4]
  float* scales;     // out [F, count, 3]; this and the rest only if there is an MLP
  float* opacities;  // out [F, count]
  float* colors;     // out [F, count, 3]
};

enum TableRow {  // rows of TableJob::constants
  kRowMean = 0,
  kRowQuat = 3,    // unit
  kRowWeight = 7,
  kRowsPlain = 12,  // without MLP there are no more
  kRowLogScale = 12,
  kRowOpacity = 15,  // logit
  kRowPresence = 16,
  kRowColor = 17,    // logits
  kRowAtRest = 20,   // what the MLP gives for a point that does not move
  kRowCode = 31,     // further inputs of the MLP
};

// MLP_pose as training needs it. Rows of units are padded with zeros to multiples of 16.
struct MlpNetwork {
  int layers;
  int widths[kMaxMlpLayers + 1];  // inputs (3 moved, 3 bent, codes), then outputs of every layer
  const float* weights[kMaxMlpLayers];     // [widths[l], stride[l + 1]]
  const float* transposed[kMaxMlpLayers];  // [widths[l + 1], stride[l]]
  const float* biases[kMaxMlpLayers];      // [stride[l + 1]]

  int stride[kMaxMlpLayers + 1];      // widths rounded up to 16: the length of a row
  int sums_begin[kMaxMlpLayers + 1];  // where the gradients of layer l begin: of its weights [widths[l], stride[l + 1]],
                                      // then of its biases; for l = layers the number of all
  int widest;                         // the longest row
  int scratch;                        // floats: two sets of values, three rows of gradients, for kMlpPoints points
};

struct MlpTraining {
  MlpNetwork net;
  int count, frames;
  float moved_scale, bent_scale;
  float bounds[kMlpOutputs];
  const float* moved;  // [F, count, 3]
  const float* bent;   // [F, count, 3]
  const float* codes;  // [count, widths[0] - 6]
  float* changes;      // out [F, count, 11]
};

struct MlpGradients {
  const float* changes;  // [F, count, 11]
  float* moved;          // out [F, count, 3]
  float* bent;           // out [F, count, 3]
  float* codes;          // added to [count, codes]
};

// The functions that are compiled once for each instruction set; points [begin, end), begin a multiple of 16.
struct PoseKernel {
  int width;  // floats in a vector
  void (*skin)(const SkinJob& job, int begin, int end);
  // Besides the gradients adds to sums [F, kJointSums + columns of E and P], if any are wanted.
  // scratch: skin_scratch(job) floats.
  void (*skin_backward)(const SkinJob& job, const SkinGradients& gradients, int begin, int end, float* scratch,
                        float* sums);
  void (*table)(const TableJob& job, int begin, int end, float* scratch);  // scratch: kMlpScratch floats
  // scratch: job.net.scratch() floats. sums: added to, see MlpNetwork::sums_begin.
  void (*mlp_forward)(const MlpTraining& job, int begin, int end, float* scratch);
  void (*mlp_backward)(const MlpTraining& job, const MlpGradients& gradients, int begin, int end, float* scratch, float* sums);
};

}  // namespace perse
