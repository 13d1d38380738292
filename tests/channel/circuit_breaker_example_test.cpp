// The example of docs/channels/circuit_breaker.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <chrono>

#include "delivery/circuit_breaker.hpp"
#include "tests/channel/manual_clock.hpp"

using namespace logpipe;

TEST_CASE("example: circuit breaker") {
  testing::ManualClock clock;
  // [circuit_breaker]
  CircuitBreaker breaker({.failures = 2, .open_for = std::chrono::seconds(10)}, {}, clock);
  for (int i = 0; i < 2; ++i) breaker.try_acquire()->failure();
  CHECK(breaker.state() == BreakerState::open);
  CHECK(!breaker.try_acquire());  // refused: nobody is called

  clock.advance(std::chrono::seconds(10));
  auto probe = breaker.try_acquire();
  CHECK(!breaker.try_acquire());  // one at a time
  probe->success();
  CHECK(breaker.state() == BreakerState::closed);
  // [end]
}
