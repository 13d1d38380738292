#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "channel/clock.hpp"
#include "channel/mutex.hpp"

namespace logpipe {

enum class BreakerState : std::uint8_t {
  closed,     ///< calls pass
  half_open,  ///< one call passes, to see
  open,       ///< calls are refused
};

struct BreakerPolicy {
  std::size_t failures{5};  ///< opens after so many in a row; 0: not by that
  /// Opens when at least this part of the calls that ended within `window` failed, once there were `minimum_calls`; 0:
  /// not by that.
  double failure_rate{0};
  std::size_t minimum_calls{20};
  std::chrono::nanoseconds window{std::chrono::seconds(10)};
  std::chrono::nanoseconds open_for{std::chrono::seconds(10)};  ///< then a probe
  double growth{1};                                             ///< of `open_for`, each time a probe fails
  std::chrono::nanoseconds open_max{std::chrono::minutes(5)};
};

/// Refuses calls to somebody who keeps failing, so that he can recover and nobody waits for his timeouts in vain. After
/// the cool-down one call is let through as a probe: its success closes the breaker, its failure opens it again.
/// Pattern: M. Nygard, "Release It!", chapter "Stability Patterns". Threads: any; a lock, as one outcome changes
/// several numbers at once.
class CircuitBreaker {
 public:
  /// Leave to make one call. Tells how it went; destroyed without that it was `neutral`. Must not outlive the breaker.
  /// Threads: one at a time.
  class Call {
   public:
    Call(Call&& other) noexcept
        : breaker_(std::exchange(other.breaker_, nullptr)), round_(other.round_), probe_(other.probe_) {}
    Call& operator=(Call&& other) noexcept {
      if (this == &other) return *this;
      neutral();
      breaker_ = std::exchange(other.breaker_, nullptr);
      round_ = other.round_;
      probe_ = other.probe_;
      return *this;
    }
    ~Call() { neutral(); }
    void success() { end(Outcome::success); }
    void failure() { end(Outcome::failure); }
    /// Says nothing about the other side: cancelled, or our own fault. A probe may then be made by the next call.
    void neutral() { end(Outcome::neutral); }
    [[nodiscard]] bool probe() const noexcept { return probe_; }

   private:
    friend class CircuitBreaker;
    enum class Outcome : std::uint8_t { success, failure, neutral };
    Call(CircuitBreaker& breaker, std::uint64_t round, bool probe) noexcept
        : breaker_(&breaker), round_(round), probe_(probe) {}
    void end(Outcome outcome) {
      if (CircuitBreaker* const breaker = std::exchange(breaker_, nullptr)) breaker->end(*this, outcome);
    }

    CircuitBreaker* breaker_;
    std::uint64_t round_;
    bool probe_;
  };

  /// `on_change` is called after every change of the state, with no lock held, so two at once may arrive in either
  /// order; it must not throw.
  explicit CircuitBreaker(BreakerPolicy policy, std::function<void(BreakerState)> on_change = {},
                          Clock& clock = Clock::steady());
  CircuitBreaker(const CircuitBreaker&) = delete;
  CircuitBreaker& operator=(const CircuitBreaker&) = delete;

  /// Nothing: do not call. An outcome of a call from before the last change of state changes nothing any more.
  [[nodiscard]] std::optional<Call> try_acquire();

  /// As it is now: `half_open` as soon as the cool-down is over.
  [[nodiscard]] BreakerState state() const;
  /// How long until a probe may be made; 0 unless open.
  [[nodiscard]] std::chrono::nanoseconds retry_in() const;
  /// How often it has opened, failed probes included.
  [[nodiscard]] std::uint64_t opened() const;
  /// Calls it has refused.
  [[nodiscard]] std::uint64_t refused() const;

 private:
  static constexpr std::size_t kSlices = 10;
  struct Slice {
    std::int64_t number{-1};
    std::size_t calls{0};
    std::size_t failed{0};
  };

  void end(const Call& call, Call::Outcome outcome);
  void count(bool failed, SteadyTime now) LOGPIPE_REQUIRES(mutex_);
  bool too_many(SteadyTime now) const LOGPIPE_REQUIRES(mutex_);
  void open(SteadyTime now) LOGPIPE_REQUIRES(mutex_);
  void enter(BreakerState state) LOGPIPE_REQUIRES(mutex_);

  const BreakerPolicy policy_;
  const std::function<void(BreakerState)> on_change_;
  Clock& clock_;

  mutable Mutex mutex_;
  BreakerState state_ LOGPIPE_GUARDED_BY(mutex_){BreakerState::closed};
  std::uint64_t round_ LOGPIPE_GUARDED_BY(mutex_){0};  // changes of state: outcomes of earlier rounds are stale
  bool probing_ LOGPIPE_GUARDED_BY(mutex_){false};
  std::size_t in_a_row_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::array<Slice, kSlices> slices_ LOGPIPE_GUARDED_BY(mutex_);
  std::chrono::nanoseconds open_for_ LOGPIPE_GUARDED_BY(mutex_);
  SteadyTime open_until_ LOGPIPE_GUARDED_BY(mutex_);
  std::uint64_t opened_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::uint64_t refused_ LOGPIPE_GUARDED_BY(mutex_){0};
};

}  // namespace logpipe
