#include "channel/clock.hpp"

#include <chrono>

namespace logpipe {
namespace {

class SteadyClock final : public Clock {
 public:
  SteadyTime now() const override { return std::chrono::steady_clock::now(); }
  void wait_until(Condition& condition, MutexLock& lock, SteadyTime when) override { condition.wait_until(lock, when); }
};

}  // namespace

Clock& Clock::steady() noexcept {
  static SteadyClock clock;
  return clock;
}

}  // namespace logpipe
