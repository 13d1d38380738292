#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <vector>

#include "channel/broker.hpp"

namespace logpipe::testing {

/// A clock that moves only when told to.
struct FakeClock {
  static inline std::atomic<std::chrono::nanoseconds::rep> elapsed{0};
  static void reset() { elapsed = 0; }
  static void advance(std::chrono::nanoseconds by) { elapsed += by.count(); }
  static SteadyTime steady() { return SteadyTime(std::chrono::hours(1000) + std::chrono::nanoseconds(elapsed.load())); }
  static const Clock* clock() {
    struct Fake final : Clock {
      SteadyTime now() const override { return FakeClock::steady(); }
      void wait_until(Condition& condition, MutexLock& lock, SteadyTime) override { condition.wait(lock); }
    };
    static const Fake fake;
    return &fake;
  }
};

struct Sized {
  std::size_t size;
};
inline std::size_t byte_size(const Sized& value) {
  return value.size;
}

/// All that can be received without waiting.
template <class T>
std::vector<T> values(Subscription<T>& subscription) {
  std::vector<T> all;
  while (auto message = subscription.try_recv()) all.push_back(std::move(message->value));
  return all;
}

}  // namespace logpipe::testing
