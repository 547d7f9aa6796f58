// Where the time of one image goes, and how much work it was.
#pragma once

#include <chrono>
#include <cstdint>

namespace perse {

// Seconds of each stage; reading the clock costs nothing that could be measured.
struct StageTimes {
  double project = 0, sort = 0, bin = 0, blend = 0;       // of the forward call
  double order_rows = 0, gradients = 0, unproject = 0;    // of the last backward call
};

class StopWatch {
 public:
  // Adds the seconds since the last lap, or since the beginning.
  void lap(double& seconds) {
    const Clock::time_point now = Clock::now();
    seconds += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
};

// Counted work of a forward call.
struct WorkCounts {
  uint64_t gaussians = 0;       // in front of the camera and in the image
  uint64_t entries = 0;         // in all tile lists
  uint64_t visited = 0;         // of these, until the last pixel of the tile was finished
  uint64_t drawn = 0;           // of these, blended into at least one pixel
  uint64_t tested = 0;          // (entry, block) pairs computed
  uint64_t hits = 0;            // of these, blended into at least one pixel
  uint64_t pixels = 0;          // (entry, pixel) pairs blended
  uint64_t block_pixels = 0;    // pixels in a block
};

}  // namespace perse
