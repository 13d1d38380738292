#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "channel/clock.hpp"
#include "channel/context.hpp"
#include "channel/mutex.hpp"
#include "delivery/run_context.hpp"

namespace logpipe {

enum class Jitter : std::uint8_t {
  none,  ///< the delay itself
  full,  ///< evenly between nothing and the delay, so that those who failed together do not come back together
};

struct RetryPolicy {
  std::chrono::nanoseconds initial{std::chrono::milliseconds(100)};
  std::chrono::nanoseconds max{std::chrono::seconds(30)};
  double multiplier{2};
  Jitter jitter{Jitter::full};
  std::size_t max_attempts{0};  ///< the first one included; 0: for ever
  /// What a server asks for with Retry-After is honoured up to this.
  std::chrono::nanoseconds retry_after_max{std::chrono::minutes(5)};
};

/// How many retries many operations may make together, in proportion to the operations themselves: when everything
/// fails, retries add `ratio` to the load and not a multiple of it. Every operation deposits `ratio`, every retry takes
/// 1; a deposit is good for `ttl`, and `per_second` is there without any, so that rare operations can be retried. The
/// scheme is that of Finagle's RetryBudget (twitter.github.io/finagle/guide/Clients.html#retries). Threads: any. A
/// lock, as one withdrawal looks at several deposits.
class RetryBudget {
 public:
  explicit RetryBudget(double ratio = 0.2, double per_second = 10,
                       std::chrono::nanoseconds ttl = std::chrono::seconds(10), Clock& clock = Clock::steady());
  void deposit();
  /// False when there is nothing left: do not retry.
  [[nodiscard]] bool withdraw();
  /// Whole retries that could be made now.
  [[nodiscard]] std::size_t balance() const;

 private:
  static constexpr std::int64_t kUnit = 1000;  // thousandths: sums stay exact
  static constexpr std::size_t kSlices = 10;
  struct Slice {
    std::int64_t number{-1};  // since the clock began
    std::int64_t sum{0};      // withdrawals make it negative
  };
  Slice& slice() LOGPIPE_REQUIRES(mutex_);
  std::int64_t sum() const LOGPIPE_REQUIRES(mutex_);
  std::int64_t number() const;

  const std::int64_t deposit_;
  const std::int64_t reserve_;
  const std::chrono::nanoseconds slice_time_;
  Clock& clock_;
  mutable Mutex mutex_;
  std::array<Slice, kSlices> slices_ LOGPIPE_GUARDED_BY(mutex_);
};

/// The waits between the attempts of one operation: exponential back-off, capped, with full jitter, as in "Exponential
/// Backoff And Jitter" (AWS Architecture Blog, 2015). `reset` begins the next operation.
/// Threads: one at a time. Deterministic for a seed and a clock.
class Retry {
 public:
  enum class Next : std::uint8_t {
    attempt,    ///< now
    exhausted,  ///< all attempts have been made
    no_budget,  ///< others have used up what this one could share
    stopped,    ///< the run context ended
  };

  /// `budget`, where given, outlives this. An operation's first attempt deposits into it.
  explicit Retry(RetryPolicy policy, std::uint64_t seed, RetryBudget* budget = nullptr, Clock& clock = Clock::steady());

  /// After a failed attempt: waits as long as is due. When draining begins (the intake context ends), a wait under way
  /// or the next one to begin ends at once, once, and the delays begin anew: what works now is not left for
  /// later. After that only the run context ends a wait early.
  [[nodiscard]] Next wait(const RunContext& ctx);
  /// The same with one context, for what does not tell draining from stopping.
  [[nodiscard]] Next wait(const Context& run) { return wait(RunContext{Context::background(), run}); }

  /// How long to wait, for those who wait by themselves; nothing when there is to be no further attempt (`given_up`).
  [[nodiscard]] std::optional<std::chrono::nanoseconds> next_delay();
  [[nodiscard]] Next given_up() const noexcept { return given_up_; }

  /// The server asked for so long before the next attempt. Lengthens that one wait, within `retry_after_max`.
  void retry_after(std::chrono::nanoseconds wish) noexcept { wish_ = wish; }

  /// The operation succeeded, or another begins.
  void reset();
  /// There was progress, though the operation is not done: delays begin anew, attempts go on counting.
  void restart_delays() noexcept { step_ = 0; }
  /// Attempts that have been made or are under way, from 1.
  [[nodiscard]] std::size_t attempt() const noexcept { return attempt_; }

 private:
  std::uint64_t random() noexcept;

  const RetryPolicy policy_;
  RetryBudget* const budget_;
  Clock& clock_;
  std::uint64_t state_;  // of the generator
  std::size_t attempt_{1};
  std::size_t step_{0};
  std::optional<std::chrono::nanoseconds> wish_;
  bool drain_seen_{false};
  Next given_up_{Next::attempt};
};

}  // namespace logpipe
