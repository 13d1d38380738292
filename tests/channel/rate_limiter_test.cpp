#include "channel/rate_limiter.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

#include "tests/channel/manual_clock.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using namespace std::chrono_literals;
using logpipe::testing::await;
using logpipe::testing::ManualClock;

namespace {

const Context kForever = Context::background();

}  // namespace

TEST_CASE("rate limiter: the burst is there at once, then tokens come at the rate") {
  ManualClock clock;
  RateLimiter limiter({.tokens = 10, .per = 1s, .burst = 3}, clock);
  CHECK(limiter.tokens() == 3);
  for (int i = 0; i < 3; ++i) CHECK(limiter.allow());
  CHECK_FALSE(limiter.allow());
  clock.advance(100ms - 1ns);
  CHECK_FALSE(limiter.allow());
  clock.advance(1ns);
  CHECK(limiter.allow());
  CHECK_FALSE(limiter.allow());
  clock.advance(1h);
  CHECK(limiter.tokens() == 3);
  CHECK(limiter.allow(3));
  CHECK_FALSE(limiter.allow());
}

TEST_CASE("rate limiter: exactly burst + rate * time are let through in virtual time, at any rate") {
  for (const RateLimit limit :
       {RateLimit{1000, 1s, 50}, RateLimit{3, 1s, 2}, RateLimit{0.5, 1s, 2}, RateLimit{7, 1min, 2},
        RateLimit{123'456, 1s, 1000}, RateLimit{1, 1h, 2}, RateLimit{0.1, 1s, 2}}) {
    ManualClock clock;
    RateLimiter limiter(limit, clock);
    const SteadyTime begin = clock.now();
    std::mt19937_64 random(42);
    std::uint64_t passed = 0;
    // Never more than a token at a time, or the bucket would run over.
    while (limiter.allow()) ++passed;
    const auto span = std::chrono::nanoseconds(
        static_cast<std::int64_t>(std::ceil(static_cast<double>(limit.per.count()) / limit.tokens * 10000)));
    while (clock.now() - begin < span) {
      const auto left = span - (clock.now() - begin);
      clock.advance(std::min<std::chrono::nanoseconds>(
          left, std::chrono::nanoseconds(random() % static_cast<std::uint64_t>(span.count() / 20'000 + 1))));
      while (limiter.allow()) ++passed;
    }
    CAPTURE(limit.tokens);
    CHECK(passed == limit.burst + 10'000);
  }
}

TEST_CASE("rate limiter: a request above the burst is refused for ever by allow, and paid for over time otherwise") {
  ManualClock clock;
  RateLimiter limiter({.tokens = 10, .per = 1s, .burst = 5}, clock);
  CHECK_FALSE(limiter.allow(6));
  clock.advance(1h);
  CHECK_FALSE(limiter.allow(6));
  CHECK(limiter.tokens() == 5);
  CHECK(limiter.reserve(25).due() == clock.now() + 2s);
  CHECK(limiter.tokens() == -20);
  CHECK_FALSE(limiter.allow(1));
  CHECK(limiter.allow(0));
  clock.advance(2s);
  CHECK(limiter.tokens() == 0);
}

TEST_CASE("rate limiter: a reservation says when, in the order of the calls") {
  ManualClock clock;
  RateLimiter limiter({.tokens = 1, .per = 1s, .burst = 2}, clock);
  const SteadyTime now = clock.now();
  CHECK(limiter.reserve(2).due() <= now);
  CHECK(limiter.reserve().due() == now + 1s);
  CHECK(limiter.reserve(2).due() == now + 3s);
  clock.advance(10s);
  CHECK(limiter.tokens() == 2);
}

TEST_CASE("rate limiter: a cancelled reservation is given back as far as nobody stands behind it") {
  ManualClock clock;
  RateLimiter limiter({.tokens = 1, .per = 1s, .burst = 1}, clock);
  const SteadyTime now = clock.now();
  Reservation first = limiter.reserve();
  Reservation last = limiter.reserve(3);
  CHECK(last.due() == now + 3s);
  CHECK(last.cancel());
  CHECK_FALSE(last.cancel());
  CHECK(limiter.reserve().due() == now + 1s);
  CHECK_FALSE(first.cancel());  // the one behind has reserved all of it
  Reservation large = limiter.reserve(4);
  CHECK(large.due() == now + 5s);
  Reservation behind = limiter.reserve(1);
  CHECK(large.cancel());  // three of four
  CHECK(limiter.reserve().due() == now + 4s);
  CHECK(behind.due() == now + 6s);
}

TEST_CASE("rate limiter: a reservation from before a change of the rate gives nothing back") {
  ManualClock clock;
  RateLimiter limiter({.tokens = 1, .per = 1s, .burst = 1}, clock);
  Reservation reserved = limiter.reserve(5);
  limiter.set_rate({.tokens = 2, .per = 1s, .burst = 1});
  CHECK_FALSE(reserved.cancel());
  CHECK(limiter.tokens() == doctest::Approx(-4));
}

TEST_CASE("rate limiter: a new rate keeps what is saved and owed, up to the new burst") {
  ManualClock clock;
  RateLimiter limiter({.tokens = 10, .per = 1s, .burst = 100}, clock);
  CHECK(limiter.allow(40));
  limiter.set_rate({.tokens = 1000, .per = 1s, .burst = 80});
  CHECK(limiter.tokens() == doctest::Approx(60));
  clock.advance(10ms);
  CHECK(limiter.tokens() == doctest::Approx(70));
  limiter.set_rate({.tokens = 1, .per = 1s, .burst = 5});
  CHECK(limiter.tokens() == doctest::Approx(5));
  CHECK(limiter.reserve(15).due() == clock.now() + 10s);
  limiter.set_rate({.tokens = 10, .per = 1s, .burst = 1});
  CHECK(limiter.tokens() == doctest::Approx(-10));
  CHECK(limiter.limit() == RateLimit{10, 1s, 1});
}

TEST_CASE("rate limiter: waiting takes exactly as long as the rate says") {
  ManualClock clock;
  RateLimiter limiter({.tokens = 10, .per = 1s, .burst = 1}, clock);
  CHECK(limiter.wait(kForever));
  SteadyTime woken{};
  std::jthread waiter([&] {
    CHECK(limiter.wait(kForever, 20));
    woken = clock.now();
  });
  const SteadyTime begin = clock.now();
  await([&] { return clock.waiting() == 1; });
  CHECK(limiter.waiting() == 1);
  clock.advance(2s - 1ns);
  CHECK(limiter.waiting() == 1);
  clock.advance(1ns);
  waiter.join();
  CHECK(woken == begin + 2s);
  CHECK(limiter.waiting() == 0);
  CHECK(limiter.blocked_seconds() == doctest::Approx(2));
}

TEST_CASE("rate limiter: waiting fails at once, and takes nothing, when the deadline comes first") {
  ManualClock clock;
  RateLimiter limiter({.tokens = 1, .per = 1s, .burst = 1}, clock);
  CHECK(limiter.allow());
  const Status late = limiter.wait(kForever, 2, clock.now() + 2s - 1ns);
  REQUIRE_FALSE(late);
  CHECK(late.error().kind == ErrorKind::deadline_exceeded);
  CHECK(limiter.tokens() == 0);
  CHECK(limiter.reserve().due() == clock.now() + 1s);
  const auto deadline = with_deadline(kForever, std::chrono::steady_clock::now() + 1h);
  RateLimiter real({.tokens = 1, .per = std::chrono::hours(2), .burst = 1});
  CHECK(real.wait(deadline.context));
  CHECK(real.wait(deadline.context).error().kind == ErrorKind::deadline_exceeded);
}

TEST_CASE("rate limiter: a context's end wakes who waits, and the tokens go to the next") {
  RateLimiter limiter({.tokens = 1, .per = 1h, .burst = 1});
  CHECK(limiter.allow());
  auto [ctx, cancel] = with_cancel(kForever);
  Status ended;
  std::jthread waiter([&, ctx = ctx] { ended = limiter.wait(ctx, 5); });
  await([&] { return limiter.waiting() == 1; });
  cancel("enough");
  waiter.join();
  REQUIRE_FALSE(ended);
  CHECK(ended.error().kind == ErrorKind::canceled);
  CHECK(limiter.tokens() > -0.5);
  CHECK(limiter.wait(ctx).error().kind == ErrorKind::canceled);
}

TEST_CASE("rate limiter: who waits, waits by the new rate when it changes") {
  ManualClock clock;
  RateLimiter limiter({.tokens = 1, .per = 1h, .burst = 1}, clock);
  CHECK(limiter.allow());
  std::vector<std::jthread> waiters;
  for (int i = 0; i < 3; ++i) waiters.emplace_back([&] { CHECK(limiter.wait(kForever, 10)); });
  await([&] { return clock.waiting() == 3; });
  limiter.set_rate({.tokens = 10, .per = 1s, .burst = 1});
  clock.advance(3s);
  waiters.clear();
  CHECK(limiter.tokens() == doctest::Approx(0));
}

TEST_CASE("rate limiter: first come, first served, whatever the sizes") {
  ManualClock clock;
  RateLimiter limiter({.tokens = 1, .per = 1s, .burst = 1}, clock);
  CHECK(limiter.allow());
  std::vector<int> order;
  Mutex mutex;
  std::vector<std::jthread> waiters;
  const std::uint64_t sizes[] = {5, 1, 3};
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&, i] {
      CHECK(limiter.wait(kForever, sizes[i]));
      MutexLock lock(mutex);
      order.push_back(i);
    });
    await([&] { return clock.waiting() == static_cast<std::size_t>(i) + 1; });
  }
  for (int i = 0; i < 9; ++i) clock.advance(1s);
  waiters.clear();
  CHECK(order == std::vector<int>{0, 1, 2});
}

TEST_CASE("rate limiter: a time read before another thread's does no harm") {
  ManualClock clock;
  RateLimiter limiter({.tokens = 1, .per = 1s, .burst = 2}, clock);
  const SteadyTime early = clock.now();
  clock.advance(1s);
  CHECK(limiter.allow(2, clock.now()));
  CHECK_FALSE(limiter.allow(1, early));
  clock.advance(1s);
  CHECK(limiter.allow(1, clock.now()));
}

TEST_CASE("rate limiter: behaves like a bucket of numbers under random calls") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const auto below = [&](std::uint64_t n) { return random() % n; };
    // Every rate is one token in a whole number of microseconds, so that the model is exact in integers.
    const auto random_limit = [&] {
      return std::pair(1 + below(1000), 1 + below(20));  // microseconds per token, burst
    };
    auto [micros, burst] = random_limit();
    const auto limit_of = [](std::uint64_t per, std::uint64_t b) {
      return RateLimit{1, std::chrono::microseconds(per), b};
    };
    ManualClock clock;
    RateLimiter limiter(limit_of(micros, burst), clock);
    // The model: tokens in units of one micro-token per microsecond-per-token.
    std::int64_t level = static_cast<std::int64_t>(burst * micros);  // in microseconds' worth of tokens
    for (int step = 0; step < 300; ++step) {
      const std::uint64_t n = 1 + below(2 * burst);
      const auto cost = static_cast<std::int64_t>(n * micros);
      switch (below(4)) {
        case 0: {
          const auto passed = below(3 * micros);
          clock.advance(std::chrono::microseconds(passed));
          level = std::min(level + static_cast<std::int64_t>(passed), static_cast<std::int64_t>(burst * micros));
          break;
        }
        case 1: {
          const bool allowed = level >= cost;
          CHECK(limiter.allow(n) == allowed);
          if (allowed) level -= cost;
          break;
        }
        case 2: {
          level -= cost;
          const SteadyTime due = limiter.reserve(n).due();
          CHECK(std::max(due, clock.now()) ==
                clock.now() + std::chrono::microseconds(std::max<std::int64_t>(-level, 0)));
          break;
        }
        default: {
          Reservation reserved = limiter.reserve(n);
          CHECK(reserved.cancel());
          break;
        }
      }
      CHECK(limiter.tokens() == doctest::Approx(static_cast<double>(level) / static_cast<double>(micros)));
    }
  }
}
