#include "thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <dlfcn.h>
#include <pthread.h>
#endif

namespace perse {
namespace {

// The calls of one image follow one another within microseconds, and waking a sleeping thread takes longer than that:
// wait awake for about this long (tens of microseconds) before going to sleep.
constexpr int kSpins = 4000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  __asm__ __volatile__("yield");
#endif
}

template <typename Condition>
void spin_until(Condition&& condition) {
  for (int k = 0; k < kSpins && !condition(); ++k) pause();
}

// Threads of our own, which live as long as the process. A call made while another one is running (from a second
// Python thread), or in a process that cannot start threads, does all parts itself.
class ThreadPool {
 public:
  ~ThreadPool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void run(int parts, const std::function<void(int)>& work) {
    std::unique_lock<std::mutex> only_user(user_mutex_, std::try_to_lock);
    if (!only_user.owns_lock() || parts < 2 || !grow(parts - 1)) {
      for (int part = 0; part < parts; ++part) work(part);
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      work_ = &work;
      parts_ = parts;
      next_part_ = 0;
      unfinished_ = parts;
      error_ = nullptr;
      ++generation_;
    }
    wake_.notify_all();
    take_parts(work, generation_);
    spin_until([this] { return unfinished_ == 0; });
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return unfinished_ == 0; });
    work_ = nullptr;
    if (error_) std::rethrow_exception(error_);
  }

 private:
  bool grow(int count) {
    try {
      while (static_cast<int>(threads_.size()) < count) threads_.emplace_back([this] { serve(); });
    } catch (const std::system_error&) {
      return !threads_.empty();
    }
    return true;
  }

  void serve() {
    unsigned long seen = 0;
    while (true) {
      spin_until([&] { return generation_ != seen; });
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || (work_ && generation_ != seen); });
      if (stopping_) return;
      seen = generation_;
      const std::function<void(int)>& work = *work_;
      lock.unlock();
      take_parts(work, seen);
    }
  }

  // Takes parts of one call until none is left. `generation` keeps a thread that comes late from a newer call's parts.
  void take_parts(const std::function<void(int)>& work, unsigned long generation) {
    while (true) {
      int part;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        if (generation != generation_ || next_part_ >= parts_) return;
        part = next_part_++;
      }
      std::exception_ptr error;
      try {
        work(part);
      } catch (...) {
        error = std::current_exception();
      }
      std::lock_guard<std::mutex> lock(mutex_);
      if (error) error_ = error;
      if (--unfinished_ == 0) done_.notify_one();
    }
  }

  std::mutex user_mutex_;  // held by the call that uses the threads
  std::mutex mutex_;       // guards everything below; the atomics are also watched without it
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  const std::function<void(int)>* work_ = nullptr;
  int parts_ = 0, next_part_ = 0;
  std::atomic<int> unfinished_{0};
  std::atomic<unsigned long> generation_{0};
  std::exception_ptr error_;
  bool stopping_ = false;
};

std::atomic<ThreadPool*> current_pool{nullptr};

ThreadPool& pool() {
  ThreadPool* existing = current_pool.load();
  if (existing) return *existing;
  ThreadPool* fresh = new ThreadPool();  // never destroyed: joining when the process ends could hang
  if (current_pool.compare_exchange_strong(existing, fresh)) return *fresh;
  delete fresh;
  return *existing;
}

// GOMP_parallel(function, data, threads, flags) calls function(data) on each of its threads. GCC's OpenMP runtime has
// it, and LLVM's and Intel's have it for compatibility.
using OpenMpParallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
std::atomic<bool> own_threads_wanted{false};
std::atomic<bool> is_forked_child{false};

#if defined(_WIN32)
OpenMpParallel prepare_and_find_openmp() { return nullptr; }
#else
// A forked child has none of its parent's threads: it leaks the parent's (unusable) pool and starts over.
void after_fork() {
  current_pool.store(nullptr);
  is_forked_child.store(true);
}

OpenMpParallel prepare_and_find_openmp() {
  pthread_atfork(nullptr, nullptr, after_fork);
  return reinterpret_cast<OpenMpParallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
}
#endif

OpenMpParallel openmp() {
  static const OpenMpParallel found = prepare_and_find_openmp();
  return own_threads_wanted || is_forked_child ? nullptr : found;
}

struct OpenMpTask {
  OpenMpTask(const std::function<void(int)>& work, int parts) : work(work), parts(parts) {}
  const std::function<void(int)>& work;
  const int parts;
  std::atomic<int> next_part{0};
  std::mutex error_mutex;
  std::exception_ptr error;
};

void run_openmp_task(void* data) {
  OpenMpTask& task = *static_cast<OpenMpTask*>(data);
  for (int part; (part = task.next_part.fetch_add(1)) < task.parts;) {
    try {
      task.work(part);
    } catch (...) {  // must not leave an OpenMP region
      std::lock_guard<std::mutex> lock(task.error_mutex);
      task.error = std::current_exception();
    }
  }
}

}  // namespace

void run_parts(int parts, const std::function<void(int)>& work) {
  if (parts < 2) {
    for (int part = 0; part < parts; ++part) work(part);
  } else if (const OpenMpParallel parallel = openmp()) {
    OpenMpTask task(work, parts);
    parallel(run_openmp_task, &task, static_cast<unsigned>(parts), 0);
    if (task.error) std::rethrow_exception(task.error);
  } else {
    pool().run(parts, work);
  }
}

bool uses_own_threads() { return openmp() == nullptr; }
void use_own_threads(bool always) { own_threads_wanted = always; }

}  // namespace perse
