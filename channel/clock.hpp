#pragma once

#include "channel/context.hpp"
#include "channel/mutex.hpp"

namespace logpipe {

/// The time that timed decisions are made by. What waits for a moment of it waits through it, so that a test can put a
/// clock of its own in and be awaited by nobody's watch. Threads: any.
/// Limits: the deadline of a Context is always the system's; a test that turns the clock by hand uses none.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual SteadyTime now() const = 0;
  /// Waits for a notification, at most until `when`. May return early: always wait in a loop.
  virtual void wait_until(Condition& condition, MutexLock& lock, SteadyTime when) = 0;

  /// The system's monotonic clock. Lives as long as the program.
  static Clock& steady() noexcept;
};

}  // namespace logpipe
