// The kernels that were compiled in and that this processor can run.
#pragma once

#include <string>
#include <vector>

#include "types.h"

namespace perse {

// Names, the fastest first; the last is "generic", which runs anywhere.
std::vector<std::string> instruction_sets();

// The kernel of that name; the fastest one if the name is empty. Throws std::invalid_argument for others.
const Kernel& find_kernel(const std::string& name);

}  // namespace perse
