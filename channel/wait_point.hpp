#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "channel/context.hpp"
#include "channel/mutex.hpp"

namespace logpipe::detail {

enum class WaitEnd : std::uint8_t { done, aborted, timeout };

/// The one place where threads of this library wait for each other: a mutex, a condition variable, a count of waiters.
/// What they wait for lives outside, in sequentially consistent atomics. Whoever changes those wakes afterwards, which
/// costs one load while nobody waits: either the change is seen by the waiter's last attempt, or the waiter by the
/// changer's load. Never spins.
class WaitPoint {
 public:
  /// Blocks until `attempt()` returns true, the context ends or the deadline passes, looked at in the order context,
  /// attempt, deadline. `attempt` runs under the lock and must neither block nor wake anybody.
  template <class Attempt>
  WaitEnd wait(const Context& ctx, std::optional<SteadyTime> deadline, Attempt attempt) {
    std::optional<SteadyTime> wake_at = ctx.deadline();
    if (deadline && (!wake_at || *deadline < *wake_at)) wake_at = deadline;
    // Before the lock: a context that is being cancelled holds its own lock and wants ours.
    const CancelListener listener(
        ctx, [](void* self) noexcept { static_cast<WaitPoint*>(self)->wake_all(); }, this);
    MutexLock lock(mutex_);
    waiters_.fetch_add(1);
    WaitEnd end = WaitEnd::done;
    for (;;) {
      if (ctx.done()) {
        end = WaitEnd::aborted;
        break;
      }
      if (attempt()) break;
      if (deadline && std::chrono::steady_clock::now() >= *deadline) {
        end = WaitEnd::timeout;
        break;
      }
      if (wake_at) {
        changed_.wait_until(lock, *wake_at);
      } else {
        changed_.wait(lock);
      }
    }
    const bool others = waiters_.fetch_sub(1) > 1;
    // A wake-up that reached this thread too late for it belongs to somebody else.
    if (others && end != WaitEnd::done) changed_.notify_one();
    return end;
  }

  void wake_one() noexcept {
    if (waiters_.load() == 0) return;
    pass_through_lock();
    changed_.notify_one();
  }
  void wake_all() noexcept {
    if (waiters_.load() == 0) return;
    pass_through_lock();
    changed_.notify_all();
  }
  /// How many threads are in `wait` right now.
  [[nodiscard]] int waiters() const noexcept { return waiters_.load(); }

 private:
  // Between a waiter's last attempt and its sleep the lock is taken, so after this it sleeps or will look again.
  void pass_through_lock() noexcept { MutexLock lock(mutex_); }

  std::atomic<int> waiters_{0};
  Mutex mutex_;
  Condition changed_;
};

}  // namespace logpipe::detail
