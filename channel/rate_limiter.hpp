#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "channel/clock.hpp"
#include "channel/context.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"
#include "channel/token_bucket.hpp"

namespace logpipe {

class RateLimiter;

/// Tokens that were taken ahead of time: `due()` says when they are there. Dropping it gives nothing back; `cancel`
/// does. Must not outlive its limiter. Threads: one at a time.
class [[nodiscard]] Reservation {
 public:
  /// When what was paid for may happen; not later than now when the tokens were there. A change of the rate does not
  /// move it.
  SteadyTime due() const noexcept { return due_; }
  /// Gives back what nobody has reserved behind it, so that the burst holds for those who have. Nothing after a change
  /// of the rate, or the second time. True if anything was given back.
  bool cancel();

 private:
  friend class RateLimiter;
  RateLimiter* limiter_{nullptr};
  detail::Ticks after_{0};
  std::uint64_t count_{0};
  std::uint64_t rule_{0};
  SteadyTime due_{};
};

/// A token bucket: tokens arrive at a steady rate, at most `burst` are saved up, and it begins full. Over any time t no
/// more than burst + rate * t are handed out.
/// - `allow` takes tokens if they are there. More than the burst never are: such a request is refused for ever.
/// - `reserve` takes them in any case and says when they are there; more than the burst is paid for over time.
/// - No tokens at all are always there, whatever is owed.
/// - `wait` reserves and waits: first come, first served. It takes nothing when the tokens would come after the
///   deadline, and says so at once. Who gives up waiting gives its tokens back as Reservation::cancel does.
/// Threads: everything from any; a short lock. A context's end wakes its waiters at once.
/// Ends: must outlive its reservations, and everybody who waits, which its destructor asserts.
/// Errors: of `wait`: `canceled`, `deadline_exceeded`.
/// The rate is exact to 2^-32 ns per token, whatever the number of calls and threads.
class RateLimiter {
 public:
  explicit RateLimiter(const RateLimit& limit, Clock& clock = Clock::steady());
  ~RateLimiter();
  RateLimiter(const RateLimiter&) = delete;
  RateLimiter& operator=(const RateLimiter&) = delete;

  [[nodiscard]] bool allow(std::uint64_t n = 1) { return allow(n, clock_.now()); }
  /// The same by a time that the caller has read from the limiter's clock, once for many.
  [[nodiscard]] bool allow(std::uint64_t n, SteadyTime now);
  Reservation reserve(std::uint64_t n = 1) { return reserve(n, clock_.now()); }
  Reservation reserve(std::uint64_t n, SteadyTime now);
  Status wait(const Context& ctx, std::uint64_t n = 1, std::optional<SteadyTime> deadline = {});

  /// From now on. Tokens saved and owed stay, up to the new burst; who waits, waits by the new rate.
  void set_rate(const RateLimit& limit);

  [[nodiscard]] RateLimit limit() const;
  /// Tokens that are there; below 0 when they are owed.
  [[nodiscard]] double tokens() const;
  [[nodiscard]] std::size_t waiting() const;
  /// Seconds spent in `wait`, without those who wait right now.
  [[nodiscard]] double blocked_seconds() const;

 private:
  friend class Reservation;

  /// One thread in `wait`, on its stack. Everything but `owner` is under the limiter's lock.
  struct Waiter {
    RateLimiter* owner;
    detail::Ticks after{0};
    Condition woken{};
    Waiter* previous{nullptr};
    Waiter* next{nullptr};
  };
  Status wait_until_due(const Context& ctx, Waiter& waiter, std::uint64_t n, std::optional<SteadyTime> until);
  void append(Waiter& waiter) LOGPIPE_REQUIRES(mutex_);
  void remove(Waiter& waiter) noexcept LOGPIPE_REQUIRES(mutex_);

  Clock& clock_;
  mutable Mutex mutex_;
  detail::TokenRule rule_ LOGPIPE_GUARDED_BY(mutex_);
  std::uint64_t rules_ LOGPIPE_GUARDED_BY(mutex_){0};  // how often the rule has changed
  detail::TokenBucket bucket_ LOGPIPE_GUARDED_BY(mutex_);
  Waiter* first_ LOGPIPE_GUARDED_BY(mutex_){nullptr};
  Waiter* last_ LOGPIPE_GUARDED_BY(mutex_){nullptr};
  std::size_t waiting_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::chrono::duration<double> blocked_ LOGPIPE_GUARDED_BY(mutex_){0};
};

}  // namespace logpipe
