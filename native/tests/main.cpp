// Checks of the native code that need no Python: for sanitizers, which slow Python down or cannot see through OpenMP
// (no OpenMP here, so the module's own threads work), and for processors that only an emulator has.
//   native_tests [--no-fork] [instruction set]...    default: all instruction sets that this processor can run
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "dispatch.h"
#include "reference.h"
#include "render.h"
#include "thread_pool.h"

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

using perse_tests::Choices;
using perse_tests::Inputs;
using perse_tests::Picture;

// While `allocations_left` counts down, memory ends when it reaches zero.
static std::atomic<long> allocations_left{-1};

static void* allocate(std::size_t size, std::size_t alignment) {
  if (allocations_left.load() >= 0 && allocations_left.fetch_sub(1) <= 0) {
    allocations_left = 0;
    throw std::bad_alloc();
  }
  void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void* operator new(std::size_t size) { return allocate(size ? size : 1, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t to) { return allocate(size ? size : 1, static_cast<std::size_t>(to)); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {  // std::stable_sort asks for this one
  try {
    return operator new(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

void check(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

Inputs<float> to_float(const Inputs<double>& from) {
  Inputs<float> to;
  to.count = from.count;
  to.channel_count = from.channel_count;
  to.width = from.width;
  to.height = from.height;
  std::vector<std::vector<double>> arrays;
  Inputs<double> copy = from;
  for_each_array(copy, [&](std::vector<double>& array) { arrays.push_back(array); });
  auto next = arrays.begin();
  for_each_array(to, [&](std::vector<float>& array) {
    array.assign(next->begin(), next->end());
    ++next;
  });
  return to;
}

perse::Scene scene_of(const Inputs<float>& s) {
  return {s.count,          s.channel_count,   s.width,         s.height,
          s.means.data(),   s.quats.data(),    s.scales.data(), s.opacities.data(),
          s.channels.data(), s.viewmat.data(), s.intrinsics.data(), s.background.data(),
          {0.01f, 1e10f, 0.3f, 0.f, 1e10f, false}};
}

// A drawing and the gradients of one loss. The arrays have exactly the size that is promised to the kernels, so that
// AddressSanitizer sees a step beyond.
struct Drawing {
  std::vector<float> image, alpha, means2d, grad_means2d, means, quats, scales, opacities, channels;
  std::vector<double> camera;
  std::vector<int32_t> radii, median;
  std::vector<uint8_t> seen, labels;
};

bool same_bits(const Drawing& a, const Drawing& b) {
  const auto same = [](const auto& x, const auto& y) {
    return x.size() == y.size() && (x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof x[0]) == 0);
  };
  return same(a.image, b.image) && same(a.alpha, b.alpha) && same(a.means, b.means) && same(a.quats, b.quats) &&
         same(a.scales, b.scales) && same(a.opacities, b.opacities) && same(a.channels, b.channels) && same(a.camera, b.camera) &&
         same(a.means2d, b.means2d) && same(a.grad_means2d, b.grad_means2d) && same(a.radii, b.radii) &&
         same(a.median, b.median) && same(a.seen, b.seen) && same(a.labels, b.labels);
}

// The loss is sum(weights of the image * image) + sum(weights of alpha * alpha), with random weights.
std::vector<float> random_weights(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> weights(size);
  for (float& weight : weights) weight = static_cast<float>(random() / 2147483648.0 - 1.0);
  return weights;
}

Drawing draw(const Inputs<float>& s, const std::string& isa, int threads) {
  const std::size_t pixels = static_cast<std::size_t>(s.width) * s.height, count = s.count;
  Drawing d;
  d.image.resize(pixels * s.channel_count);
  d.alpha.resize(pixels);
  d.means.resize(count * 3);
  d.quats.resize(count * 4);
  d.scales.resize(count * 3);
  d.opacities.resize(count);
  d.channels.resize(count * s.channel_count);
  d.camera.resize(16);
  d.means2d.resize(count * 2);
  d.grad_means2d.resize(count * 2);
  d.radii.resize(count);
  d.median.resize(pixels);
  d.seen.resize(count);
  d.labels.resize(pixels);
  const std::vector<float> of_image = random_weights(d.image.size(), 1), of_alpha = random_weights(pixels, 2);
  const perse::Scene scene = scene_of(s);
  auto state = perse::render_forward(scene, d.image.data(), d.alpha.data(), {d.means2d.data(), d.radii.data()}, threads, isa);
  std::vector<uint8_t> classes(count);
  for (std::size_t k = 0; k < count; ++k) classes[k] = static_cast<uint8_t>(k % 3);
  const uint8_t codes[3] = {1, 7, 200};
  perse::InspectJob inspection{};
  inspection.median = d.median.data();
  inspection.seen = d.seen.data();
  inspection.labels = d.labels.data();
  inspection.classes = classes.data();
  inspection.codes = codes;
  inspection.class_count = 3;
  perse::render_inspect(*state, inspection);
  perse::render_backward(*state, scene, of_image.data(), of_alpha.data(),
                         {d.means.data(), d.quats.data(), d.scales.data(), d.opacities.data(), d.channels.data(),
                          d.grad_means2d.data(), d.camera.data()});
  perse::recycle(std::move(state));
  return d;
}

double loss(const Inputs<double>& s, const Choices& choices) {
  const Picture picture = perse_tests::draw(s, nullptr, &choices);
  const std::vector<float> of_image = random_weights(picture.image.size(), 1), of_alpha = random_weights(picture.alpha.size(), 2);
  double total = 0;
  for (std::size_t k = 0; k < of_image.size(); ++k) total += of_image[k] * picture.image[k];
  for (std::size_t k = 0; k < of_alpha.size(); ++k) total += of_alpha[k] * picture.alpha[k];
  return total;
}

// Compares the derivative of the loss along a random direction with a difference. `entry(k)` is the k-th number of the
// array that the gradient belongs to.
template <typename T, typename Entry>
void check_gradient(const char* name, const Inputs<double>& scene, const Choices& choices, const std::vector<T>& gradient,
                    Entry&& entry, double tolerance = 2e-5) {
  std::mt19937 random(7);
  Inputs<double> ahead = scene, behind = scene;
  double along = 0, length2 = 0;
  const double step = 1e-6;
  for (std::size_t k = 0; k < gradient.size(); ++k) {
    const double direction = random() % 2 ? 1 : -1;
    const double unit = std::max(std::abs(entry(ahead, k)), 1e-3) * step * direction;  // each number by its own size
    entry(ahead, k) += unit;
    entry(behind, k) -= unit;
    along += gradient[k] * unit / step;
    length2 += gradient[k] * unit / step * (gradient[k] * unit / step);
  }
  const double difference = (loss(ahead, choices) - loss(behind, choices)) / (2 * step);
  check(std::abs(along - difference) <= tolerance * std::sqrt(length2) + 1e-6,
        std::string("gradient of ") + name + ": " + std::to_string(along) + " instead of " + std::to_string(difference));
}

void matches_the_reference(const std::string& isa) {
  struct Case {
    int count, channel_count, width, height;
    double size;
  };
  // Counts that no vector divides, images that no tile divides, and every way to split channels into passes.
  for (const Case& c : {Case{401, 3, 64, 48, 1}, Case{300, 4, 37, 51, 2}, Case{201, 7, 33, 20, 4}, Case{97, 17, 40, 40, 3},
                        Case{30, 1, 5, 1, 6}, Case{20, 8, 1, 1, 9}}) {
    const Inputs<double> scene = perse_tests::random_scene(c.count, c.channel_count, c.width, c.height, c.size, 5);
    Choices choices;
    const Picture truth = perse_tests::draw(scene, &choices);
    const Drawing drawn = draw(to_float(scene), isa, 1);
    double error = 0, size = 1e-12;
    for (std::size_t k = 0; k < truth.image.size(); ++k) {
      error += std::pow(drawn.image[k] - truth.image[k], 2);
      size += std::pow(truth.image[k], 2);
    }
    for (std::size_t k = 0; k < truth.alpha.size(); ++k) {
      error += std::pow(drawn.alpha[k] - truth.alpha[k], 2);
      size += std::pow(truth.alpha[k], 2);
    }
    check(error < 1e-12 * size, "the image is off by a relative " + std::to_string(std::sqrt(error / size)));
    using S = Inputs<double>;
    check_gradient("means", scene, choices, drawn.means, [](S& s, std::size_t k) -> double& { return s.means[k]; });
    check_gradient("quats", scene, choices, drawn.quats, [](S& s, std::size_t k) -> double& { return s.quats[k]; });
    check_gradient("scales", scene, choices, drawn.scales, [](S& s, std::size_t k) -> double& { return s.scales[k]; });
    check_gradient("opacities", scene, choices, drawn.opacities, [](S& s, std::size_t k) -> double& { return s.opacities[k]; });
    check_gradient("channels", scene, choices, drawn.channels, [](S& s, std::size_t k) -> double& { return s.channels[k]; });
    check_gradient("camera", scene, choices, drawn.camera, [](S& s, std::size_t k) -> double& {
      const int intrinsics[4] = {0, 4, 2, 5};
      return k < 12 ? s.viewmat[k] : s.intrinsics[intrinsics[k - 12]];
    }, 2e-3);  // the difference also moves the limits of the linearisation, which count as constants
    for (int threads : {2, 3, 7}) {
      const Drawing again = draw(to_float(scene), isa, threads);
      check(same_bits(again, drawn), "the image or a gradient depends on the number of threads");
    }
  }
}

// Numbers that no caller should pass, in every place: nothing may be read or written out of bounds, no float that does
// not fit may be converted to an integer, and the good Gaussians must be drawn.
void survives_anything(const std::string& isa) {
  const float infinity = std::numeric_limits<float>::infinity(), largest = std::numeric_limits<float>::max();
  const std::vector<float> bad = {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity, largest, -largest, 0.f, -1.f,
                                  1e-38f, 1e-45f, 1e20f, -1e20f, 1e9f, 3e9f};
  for (int place = 0; place < 8; ++place) {
    for (float value : bad) {
      Inputs<float> s = to_float(perse_tests::random_scene(77, 9, 35, 21, 4, 3));
      int index = 0;
      for_each_array(s, [&](std::vector<float>& array) {
        if (index++ != place) return;
        for (std::size_t k = 0; k < array.size(); k += place < 5 ? 5 : 1) array[k] = value;
      });
      const Drawing drawn = draw(s, isa, 2);
      if (place >= 5) continue;  // a broken camera may draw anything
      for (float alpha : drawn.alpha) check(alpha >= 0.f && alpha <= 1.f, "alpha is not in [0, 1]");
    }
  }
  for (int place = 0; place < 16; ++place) {  // cameras, number by number
    for (float value : bad) {
      Inputs<float> s = to_float(perse_tests::random_scene(77, 3, 35, 21, 4, 3));
      s.viewmat[place] = value;
      if (place < 9) s.intrinsics[place] = value;
      draw(s, isa, 1);
    }
  }
}

void draws_nothing(const std::string& isa) {
  Inputs<float> s = to_float(perse_tests::random_scene(0, 3, 40, 20, 1, 0));
  for (int threads : {1, 4}) {
    for (float alpha : draw(s, isa, threads).alpha) check(alpha == 0.f, "something was drawn");
  }
}

// Several threads of the caller draw at once, each with threads of its own: the same bits as alone.
void calls_at_once(const std::string& isa) {
  std::vector<Inputs<float>> scenes;
  std::vector<Drawing> alone;
  for (int k = 0; k < 4; ++k) {
    scenes.push_back(to_float(perse_tests::random_scene(150 + 40 * k, 3 + 2 * k, 40 + 8 * k, 30, 3, 10 + k)));
    alone.push_back(draw(scenes[k], isa, 2));
  }
  std::vector<std::thread> callers;
  std::vector<int> wrong(4, 0);
  for (int k = 0; k < 4; ++k) {
    callers.emplace_back([&, k] {
      for (int repeat = 0; repeat < 5; ++repeat) wrong[k] += !same_bits(alone[k], draw(scenes[k], isa, 2));
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (int k = 0; k < 4; ++k) check(wrong[k] == 0, "a call was disturbed by others");
}

// Memory may end at any allocation, in any thread: the call fails with bad_alloc (Python's MemoryError), loses nothing
// (LeakSanitizer looks), and the next call draws the same as ever.
void survives_lack_of_memory(const std::string& isa) {
  const Inputs<float> s = to_float(perse_tests::random_scene(150, 9, 40, 30, 3, 2));
  const Drawing expected = draw(s, isa, 2);
  int failures = 0;
  for (long allowed = 0; allowed < 400; ++allowed) {
    bool failed = false;
    allocations_left = allowed;
    try {
      draw(s, isa, 2);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    allocations_left = -1;
    failures += failed;
    if (!failed) break;
    check(same_bits(expected, draw(s, isa, 2)), "a failed call changed the next one");
  }
  check(failures > 10, "memory never ended");
}

// What one part throws reaches the caller after all parts have ended, and the threads go on working.
void passes_errors_on(const std::string&) {
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::vector<int> ran(8, 0);
    bool caught = false;
    try {
      perse::run_parts(8, [&](int part) {
        ran[part] = 1;
        if (part == 5) throw std::bad_alloc();
      });
    } catch (const std::bad_alloc&) {
      caught = true;
    }
    check(caught, "the error was lost");
    for (int part = 0; part < 8; ++part) check(ran[part] == 1, "a part was left out");
  }
}

// A child that was forked while threads exist has none of them, and must start its own.
void draws_in_a_forked_child(const std::string& isa) {
#if defined(_WIN32)
  (void)isa;
#else
  const Inputs<float> s = to_float(perse_tests::random_scene(200, 3, 48, 48, 3, 1));
  const Drawing expected = draw(s, isa, 3);
  std::fflush(nullptr);
  const pid_t child = fork();
  check(child >= 0, "fork failed");
  if (child == 0) _exit(same_bits(expected, draw(s, isa, 3)) ? 0 : 1);
  int status = 0;
  check(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child drew something else");
#endif
}

struct Test {
  const char* name;
  void (*run)(const std::string& isa);
};

constexpr Test kTests[] = {
    {"matches the reference", matches_the_reference},
    {"survives anything", survives_anything},
    {"draws nothing", draws_nothing},
    {"calls at once", calls_at_once},
    {"passes errors on", passes_errors_on},
    {"survives lack of memory", survives_lack_of_memory},
    {"draws in a forked child", draws_in_a_forked_child},
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> isas(argv + 1, argv + argc);
  const bool forks = isas.empty() || isas[0] != "--no-fork";  // emulators and ThreadSanitizer cannot
  if (!forks) isas.erase(isas.begin());
  if (isas.empty()) isas = perse::instruction_sets();
  perse::uses_own_threads();  // as the Python module does on import: watches for forks
  int failures = 0;
  for (const std::string& isa : isas) {
    for (const Test& test : kTests) {
      if (test.run == draws_in_a_forked_child && !forks) continue;
      try {
        test.run(isa);
        std::printf("%-8s %s: ok\n", isa.c_str(), test.name);
      } catch (const std::exception& error) {
        std::printf("%-8s %s: FAILED: %s\n", isa.c_str(), test.name, error.what());
        ++failures;
      }
      std::fflush(stdout);
    }
  }
  return failures ? 1 : 0;
}
