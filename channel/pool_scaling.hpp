#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "channel/clock.hpp"
#include "channel/context.hpp"
#include "channel/mutex.hpp"

namespace logpipe {

/// How fast a pool of `min`..`max` workers follows its load. Growing is quick and shrinking slow, so that a load that
/// comes and goes does not make threads come and go.
struct PoolScaling {
  /// So long has an item been waiting and no worker been without one, before the workers are doubled (by no more than
  /// wait).
  std::chrono::nanoseconds grow_after{std::chrono::milliseconds(100)};
  /// So long have workers been to spare all the time, before half of the spare ones are sent home.
  std::chrono::nanoseconds shrink_after{std::chrono::seconds(10)};
};

namespace detail {

/// Decides how many workers a pool has. The workers say when they wait and take; one thread, the pool's scaler, blocks
/// in `next` and does what it says. While a worker waits and there are no more than `min`, nothing wakes up.
/// Threads: any.
class PoolScaler {
 public:
  enum class Step : std::uint8_t { grow, shrink, end };
  struct Decision {
    Step step{Step::end};
    std::size_t workers{0};  ///< to start, at most, or to send home
  };

  /// Begins with `min` workers, in the seats 0..min-1.
  PoolScaler(std::size_t min, std::size_t max, const PoolScaling& options, Clock& clock);

  // For the workers.
  /// A worker has come to the intake.
  void arrived();
  /// The worker at the head of the intake finds no item, or no room behind it. `took` or `left` comes next.
  void waits();
  /// It has an item; `waited`: not at once; `depth`: items that still wait.
  void took(bool waited, std::size_t depth);
  /// It leaves without.
  void left();
  /// True for one that is to go home; it need not call `left`.
  [[nodiscard]] bool sent_home();

  // For the scaler.
  /// Blocks until there is something to do. `depth()`: items that wait for a worker.
  [[nodiscard]] Decision next(const std::function<std::size_t()>& depth);
  /// A seat for a new worker, the lowest one free. Nothing when a worker on its way home still sits on the last.
  [[nodiscard]] std::optional<std::size_t> take_seat();
  /// The seat is free again.
  void leave_seat(std::size_t seat);
  /// There was no thread for the worker that was to take a seat.
  void not_grown();
  /// The pool ends: `next` returns `end` from now on.
  void end();

 private:
  bool growing_possible() const LOGPIPE_REQUIRES(mutex_) { return workers_ < max_ && !waiting_; }
  void begin_window(SteadyTime now) LOGPIPE_REQUIRES(mutex_);

  const std::size_t min_;
  const std::size_t max_;
  const PoolScaling options_;
  Clock& clock_;

  Mutex mutex_;
  Condition changed_;
  std::vector<bool> seats_ LOGPIPE_GUARDED_BY(mutex_);
  std::size_t workers_ LOGPIPE_GUARDED_BY(mutex_);
  std::size_t going_ LOGPIPE_GUARDED_BY(mutex_){0};      // to be sent home
  std::size_t at_intake_ LOGPIPE_GUARDED_BY(mutex_){0};  // without an item
  std::size_t least_spare_ LOGPIPE_GUARDED_BY(mutex_){
      0};                                           // fewest workers that were not needed, since the window began
  bool waiting_ LOGPIPE_GUARDED_BY(mutex_){false};  // the head of the intake waits
  bool parked_ LOGPIPE_GUARDED_BY(mutex_){false};   // the scaler sleeps and has to be told when growing is possible
  bool ended_ LOGPIPE_GUARDED_BY(mutex_){false};
  SteadyTime pressed_since_ LOGPIPE_GUARDED_BY(mutex_);  // nobody has waited since; also the last change
  SteadyTime window_begin_ LOGPIPE_GUARDED_BY(mutex_);
};

}  // namespace detail
}  // namespace logpipe
