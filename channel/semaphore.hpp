#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "channel/clock.hpp"
#include "channel/context.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"

namespace logpipe {

class Semaphore;

/// Some of a Semaphore's total, given back by the destructor. Must not outlive the Semaphore.
/// Threads: one at a time; it may move to another and be given back there.
class [[nodiscard]] Permit {
 public:
  Permit() noexcept = default;
  Permit(Permit&& other) noexcept
      : semaphore_(std::exchange(other.semaphore_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  Permit& operator=(Permit&& other) noexcept {
    if (this == &other) return *this;
    release();
    semaphore_ = std::exchange(other.semaphore_, nullptr);
    count_ = std::exchange(other.count_, 0);
    return *this;
  }
  ~Permit() { release(); }

  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  explicit operator bool() const noexcept { return count_ > 0; }

  /// Gives everything back now; the permit is empty then.
  void release() noexcept { release(count_); }
  /// Gives `n` back, which must not be more than there are.
  void release(std::size_t n) noexcept;
  /// Moves `n` into a permit of their own, which must not be more than there are.
  [[nodiscard]] Permit split(std::size_t n) noexcept;

 private:
  friend class Semaphore;
  Permit(Semaphore& semaphore, std::size_t count) noexcept : semaphore_(&semaphore), count_(count) {}

  Semaphore* semaphore_{nullptr};
  std::size_t count_{0};
};

/// At most `total` of something at once: open requests, descriptors, bytes. Permits have weights: one request may take
/// several, all or none of them.
/// Order: first come, first served. A large request at the head is not overtaken by small ones behind it, nor by
/// `try_acquire`, so it waits no longer than those before it.
/// Threads: everything from any. A context's end wakes its waiters at once.
/// Ends: must outlive its permits and everybody who waits, which its destructor asserts.
/// Errors: `invalid` for more than the total, at once; `canceled`, `deadline_exceeded`.
/// Uncontended it costs one compare-and-swap each way; only with somebody waiting a mutex is taken.
class Semaphore {
 public:
  static constexpr std::size_t kTotalMax = std::size_t{1} << 60;

  /// `total` from 1 to kTotalMax.
  explicit Semaphore(std::size_t total, Clock& clock = Clock::steady());
  ~Semaphore();
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  /// Waits for `n`, until the context ends or the deadline passes. An ended context wins over free permits. 0 is
  /// granted at once.
  Result<Permit> acquire(const Context& ctx, std::size_t n = 1, std::optional<SteadyTime> deadline = {});
  /// Never waits. Nothing while anybody waits, however small `n` is.
  [[nodiscard]] std::optional<Permit> try_acquire(std::size_t n = 1);

  /// Changes the total. Growing wakes those who fit now. Shrinking takes back nothing: it takes effect as permits are
  /// released, and until then `in_use` is above `total`. Requests above the new total fail with `invalid`.
  void resize(std::size_t total);

  [[nodiscard]] std::size_t total() const noexcept { return static_cast<std::size_t>(total_.load()); }
  /// Permits that are out.
  [[nodiscard]] std::size_t in_use() const;
  /// Requests that wait.
  [[nodiscard]] std::size_t waiting() const;
  /// Seconds spent waiting in `acquire`, added up over all requests, those that wait right now included.
  [[nodiscard]] double blocked_seconds() const;

 private:
  friend class Permit;

  /// One request in the queue, on its thread's stack. Everything but `owner` is under the semaphore's lock.
  struct Waiter {
    enum class Outcome : std::uint8_t { waiting, granted, refused };
    Semaphore* owner;
    std::int64_t count;
    Outcome outcome{Outcome::waiting};
    Condition woken{};
    Waiter* previous{nullptr};
    Waiter* next{nullptr};
  };

  bool take_uncontended(std::int64_t n) noexcept;
  bool take_or_announce(std::int64_t n) LOGPIPE_REQUIRES(mutex_);
  void give_back(std::int64_t n) noexcept;
  void hand_out() noexcept LOGPIPE_REQUIRES(mutex_);
  void append(Waiter& waiter) LOGPIPE_REQUIRES(mutex_);
  void remove(Waiter& waiter) noexcept LOGPIPE_REQUIRES(mutex_);
  void account() const LOGPIPE_REQUIRES(mutex_);
  Result<Permit> too_much(std::size_t n) const;

  // The free permits, doubled; the lowest bit says that somebody waits. While it is set, only holders of the lock take
  // permits. Negative while more are out than the total, after a shrink.
  static constexpr std::int64_t kWaiting = 1;
  std::atomic<std::int64_t> free_;
  std::atomic<std::int64_t> total_;  // changes under the lock

  Clock& clock_;
  mutable Mutex mutex_;
  Waiter* first_ LOGPIPE_GUARDED_BY(mutex_){nullptr};
  Waiter* last_ LOGPIPE_GUARDED_BY(mutex_){nullptr};
  std::size_t waiting_ LOGPIPE_GUARDED_BY(mutex_){0};
  // Waiting time up to `accounted_`.
  mutable std::chrono::duration<double> blocked_ LOGPIPE_GUARDED_BY(mutex_){0};
  mutable SteadyTime accounted_ LOGPIPE_GUARDED_BY(mutex_);
};

}  // namespace logpipe
