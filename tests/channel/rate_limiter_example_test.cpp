// The examples of docs/channels/rate_limiter.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <chrono>

#include "channel/keyed_rate_limiter.hpp"
#include "channel/rate_limiter.hpp"

using namespace logpipe;
using namespace std::chrono_literals;

TEST_CASE("example: rate limiter") {
  // [allow]
  RateLimiter limiter({.tokens = 10, .per = 1h, .burst = 3});
  CHECK(limiter.allow());
  CHECK(limiter.allow(2));
  CHECK_FALSE(limiter.allow());  // the next one comes in six minutes
  // [end]
}

TEST_CASE("example: rate limiter that says when") {
  // [reserve]
  RateLimiter limiter({.tokens = 10, .per = 1s, .burst = 1});
  const Reservation first = limiter.reserve();
  const SteadyTime begin = first.due();
  CHECK(begin <= std::chrono::steady_clock::now());
  Reservation large = limiter.reserve(20);  // more than the burst: paid for over time
  CHECK(large.due() >= begin + 2s);
  CHECK(large.cancel());  // nobody stands behind it: all of it is given back
  CHECK(limiter.reserve().due() < begin + 2s);
  // [end]
}

TEST_CASE("example: rate limiter that waits") {
  // [wait]
  RateLimiter limiter({.tokens = 1000, .per = 1s, .burst = 1});
  const Context ctx = Context::background();
  for (int request = 0; request < 3; ++request) {
    if (Status turn = limiter.wait(ctx); !turn) break;  // the context ended
  }
  const auto soon = with_timeout(ctx, 1h);
  const Status never = limiter.wait(soon.context, 10'000'000);  // takes longer than an hour: says so at once
  CHECK(never.error().kind == ErrorKind::deadline_exceeded);
  // [end]
}

TEST_CASE("example: keyed rate limiter") {
  // [keyed]
  KeyedRateLimiter limiter({.limit = {.tokens = 1, .per = 1h, .burst = 1}, .max_keys = 10'000});
  CHECK(limiter.allow("api"));
  CHECK_FALSE(limiter.allow("api"));
  CHECK(limiter.allow("web"));  // has a bucket of its own
  CHECK(limiter.stats().keys == 2);
  // [end]
}
