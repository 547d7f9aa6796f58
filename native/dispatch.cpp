#include "dispatch.h"

#include <stdexcept>

// Only the kernel files may be compiled for more than the oldest processor (cmake/portable_flags.cmake).
#if defined(__AVX__) || defined(__FAST_MATH__)
#error "compiler flags from outside (-march=native? -ffast-math?) would make a build that fails, or draws otherwise, elsewhere"
#endif

namespace perse {

#if defined(PERSE_X86_KERNELS)
namespace avx512 {
extern const Kernel kernel;
}
namespace avx2 {
extern const Kernel kernel;
}
namespace sse4 {
extern const Kernel kernel;
}
#endif
namespace generic {
extern const Kernel kernel;
}

namespace {

std::vector<const Kernel*> usable_kernels() {
  std::vector<const Kernel*> usable;
#if defined(PERSE_X86_KERNELS)
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    usable.push_back(&avx512::kernel);
  }
  if (has_avx2) usable.push_back(&avx2::kernel);
  if (__builtin_cpu_supports("sse4.1")) usable.push_back(&sse4::kernel);
#endif
  usable.push_back(&generic::kernel);
  return usable;
}

const std::vector<const Kernel*>& kernels() {
  static const std::vector<const Kernel*> usable = usable_kernels();
  return usable;
}

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Kernel* kernel : kernels()) names.emplace_back(kernel->name);
  return names;
}

const Kernel& find_kernel(const std::string& name) {
  if (name.empty()) return *kernels().front();
  std::string known;
  for (const Kernel* kernel : kernels()) {
    if (name == kernel->name) return *kernel;
    known += std::string(known.empty() ? "" : ", ") + kernel->name;
  }
  throw std::invalid_argument("no instruction set '" + name + "' on this processor; there are " + known);
}

}  // namespace perse
