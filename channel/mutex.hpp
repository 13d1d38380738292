#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

// Attributes of clang's -Wthread-safety; nothing under other compilers.
#if defined(__clang__)
#define LOGPIPE_THREAD_ANNOTATION(attribute) __attribute__((attribute))
#else
#define LOGPIPE_THREAD_ANNOTATION(attribute)
#endif
#define LOGPIPE_CAPABILITY(name) LOGPIPE_THREAD_ANNOTATION(capability(name))
#define LOGPIPE_SCOPED_CAPABILITY LOGPIPE_THREAD_ANNOTATION(scoped_lockable)
#define LOGPIPE_GUARDED_BY(mutex) LOGPIPE_THREAD_ANNOTATION(guarded_by(mutex))
#define LOGPIPE_REQUIRES(...) LOGPIPE_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define LOGPIPE_EXCLUDES(...) LOGPIPE_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define LOGPIPE_ACQUIRE(...) LOGPIPE_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define LOGPIPE_RELEASE(...) LOGPIPE_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define LOGPIPE_NO_THREAD_SAFETY_ANALYSIS LOGPIPE_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace logpipe {

/// A std::mutex that clang's thread-safety analysis understands. Take it with MutexLock.
class LOGPIPE_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() LOGPIPE_ACQUIRE() { native_.lock(); }
  void unlock() LOGPIPE_RELEASE() { native_.unlock(); }

 private:
  friend class MutexLock;
  std::mutex native_;
};

/// Holds a Mutex for a scope; may be released early and taken again.
class LOGPIPE_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) LOGPIPE_ACQUIRE(mutex) : native_(mutex.native_) {}
  ~MutexLock() LOGPIPE_RELEASE() {}
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void unlock() LOGPIPE_RELEASE() { native_.unlock(); }
  void lock() LOGPIPE_ACQUIRE() { native_.lock(); }

 private:
  friend class Condition;
  std::unique_lock<std::mutex> native_;
};

/// A condition variable for Mutex. Wake-ups may be spurious: always wait in a loop around the condition itself.
class Condition {
 public:
  void wait(MutexLock& lock) { native_.wait(lock.native_); }
  void wait_until(MutexLock& lock, std::chrono::steady_clock::time_point when) {
    native_.wait_until(lock.native_, when);
  }
  void notify_one() noexcept { native_.notify_one(); }
  void notify_all() noexcept { native_.notify_all(); }

 private:
  std::condition_variable native_;
};

}  // namespace logpipe
