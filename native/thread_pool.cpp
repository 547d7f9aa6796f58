#include "thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace perse {
namespace {

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
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stopping_ || (work_ && generation_ != seen); });
      if (stopping_) return;
      seen = generation_;
      const std::function<void(int)>& work = *work_;
      lock.unlock();
      take_parts(work, seen);
      lock.lock();
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
  std::mutex mutex_;       // guards everything below
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  const std::function<void(int)>* work_ = nullptr;
  int parts_ = 0, next_part_ = 0, unfinished_ = 0;
  unsigned long generation_ = 0;
  std::exception_ptr error_;
  bool stopping_ = false;
};

std::atomic<ThreadPool*> current_pool{nullptr};

// A forked child has none of its parent's threads: it starts over, and leaks the parent's (unusable) pool object.
void forget_pool() { current_pool.store(nullptr); }

ThreadPool& pool() {
  ThreadPool* existing = current_pool.load();
  if (existing) return *existing;
#if !defined(_WIN32)
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
  (void)registered;
#endif
  ThreadPool* fresh = new ThreadPool();  // lives as long as the process: joining at exit could hang
  if (current_pool.compare_exchange_strong(existing, fresh)) return *fresh;
  delete fresh;
  return *existing;
}

}  // namespace

void run_parts(int parts, const std::function<void(int)>& work) {
  if (parts < 2) {
    for (int part = 0; part < parts; ++part) work(part);
    return;
  }
  pool().run(parts, work);
}

}  // namespace perse
