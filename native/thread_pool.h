// Running parts of a call on several threads, without linking an OpenMP runtime.
//
// torch keeps OpenMP threads, and they wait awake for milliseconds after each of its operations: threads of our own
// would have to share the cores with them (measured: 1.4 to 1.5 times slower on two cores). So if torch's OpenMP runtime is in
// the process, its threads do our parts too; it is looked up by name at run time. Otherwise, and in forked children,
// where that runtime hangs, a pool of our own does.
#pragma once

#include <functional>

namespace perse {

// Runs work(0) ... work(parts - 1) and returns when all are done. Which thread runs which part is left open, so a
// part must not share what it writes.
void run_parts(int parts, const std::function<void(int part)>& work);

bool uses_own_threads();
void use_own_threads(bool always);  // for tests; false: only where OpenMP's cannot be used

}  // namespace perse
