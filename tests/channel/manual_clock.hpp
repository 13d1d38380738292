#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include "channel/clock.hpp"

namespace logpipe::testing {

/// A clock that stands still until it is told to go on.
class ManualClock final : public Clock {
 public:
  SteadyTime now() const override {
    MutexLock lock(mutex_);
    return now_;
  }

  void wait_until(Condition& condition, MutexLock& lock, SteadyTime when) override {
    Wait wait{&condition, when};
    {
      MutexLock own(mutex_);
      if (now_ >= when) return;
      waits_.push_back(&wait);
    }
    condition.wait(lock);
    MutexLock own(mutex_);
    std::erase(waits_, &wait);
  }

  /// Lets `time` pass and returns when everybody who waited for a moment in it has woken up.
  void advance(std::chrono::nanoseconds time) {
    {
      MutexLock lock(mutex_);
      now_ += time;
    }
    while (wake_due()) std::this_thread::yield();
  }

  /// Threads that wait for a moment of this clock.
  std::size_t waiting() const {
    MutexLock lock(mutex_);
    return waits_.size();
  }

 private:
  struct Wait {
    Condition* condition;
    SteadyTime when;
  };
  bool wake_due() {
    MutexLock lock(mutex_);
    bool due = false;
    for (const Wait* wait : waits_) {
      if (wait->when > now_) continue;
      due = true;
      wait->condition->notify_all();
    }
    return due;
  }

  mutable Mutex mutex_;
  SteadyTime now_ LOGPIPE_GUARDED_BY(mutex_){std::chrono::hours(1)};
  std::vector<const Wait*> waits_ LOGPIPE_GUARDED_BY(mutex_);
};

}  // namespace logpipe::testing
