// A few threads of our own: no OpenMP runtime to clash with torch's.
#pragma once

#include <functional>

namespace perse {

// Runs work(0) ... work(parts - 1) and returns when all are done. Which thread runs which part is left open, so a
// part must not share what it writes. The threads live on between calls. A call made while another one is running (from
// a second Python thread), or in a process that cannot start threads, does all parts itself.
void run_parts(int parts, const std::function<void(int part)>& work);

}  // namespace perse
