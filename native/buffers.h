// Memory that is aligned for vectors and handed on from call to call.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace perse {

// AddressSanitizer sees a step beyond an array only if the array has no room to spare and is not handed on.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSpareRoom = false;
#else
constexpr bool kSpareRoom = true;
#endif

// Uninitialised array of trivial values, aligned to a cache line. Grows, never shrinks; growing loses the contents.
template <typename T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { release(); }

  T* resize(std::size_t count) {
    if (count > capacity_ || (count != capacity_ && !kSpareRoom)) {
      release();
      const std::size_t room = kSpareRoom ? count + count / 8 : count;  // slowly growing sets do not reallocate each time
      data_ = static_cast<T*>(::operator new(room * sizeof(T), std::align_val_t{64}));
      capacity_ = room;
    }
    return data_;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }

 private:
  void release() {
    if (data_) ::operator delete(data_, std::align_val_t{64});
    data_ = nullptr;
    capacity_ = 0;
  }
  T* data_ = nullptr;
  std::size_t capacity_ = 0;
};

// Keeps up to `limit` released objects for the next taker: fresh pages cost more than drawing a small image. Never waits:
// a thread that held the lock when the process forked does not exist in the child. Giving back does not throw.
template <typename T>
class Recycler {
 public:
  explicit Recycler(std::size_t limit) : limit_(kSpareRoom ? limit : 0) { free_.reserve(limit_); }

  std::unique_ptr<T> take() {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock || free_.empty()) return std::make_unique<T>();
    std::unique_ptr<T> object = std::move(free_.back());
    free_.pop_back();
    return object;
  }
  void give_back(std::unique_ptr<T> object) noexcept {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (lock && free_.size() < limit_) free_.push_back(std::move(object));
  }

 private:
  const std::size_t limit_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> free_;
};

}  // namespace perse
