// Dividing points among threads.
#pragma once

#include <algorithm>
#include <atomic>

#include "thread_pool.h"

namespace perse {

constexpr int kChunk = 512;  // points that a thread takes at a time

inline int chunk_count(int count) { return (count + kChunk - 1) / kChunk; }

// Runs work(part, chunk, begin, end) for all chunks of the points. Threads take chunks as they come, so a busy core costs
// little; what a chunk gives does not depend on who computed it.
template <typename Work>
void run_chunks(int count, int threads, const Work& work) {
  const int chunks = chunk_count(count);
  std::atomic<int> next{0};
  run_parts(std::max(1, std::min(threads, chunks)), [&](int part) {
    for (int chunk; (chunk = next.fetch_add(1)) < chunks;) {
      work(part, chunk, chunk * kChunk, std::min(count, (chunk + 1) * kChunk));
    }
  });
}

}  // namespace perse
