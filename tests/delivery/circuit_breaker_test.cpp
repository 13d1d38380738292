#include "delivery/circuit_breaker.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/channel/manual_clock.hpp"

using namespace logpipe;
using namespace logpipe::testing;
using namespace std::chrono_literals;

namespace {

void fail(CircuitBreaker& breaker, int times = 1) {
  for (int i = 0; i < times; ++i) breaker.try_acquire().value().failure();
}

}  // namespace

TEST_CASE("circuit breaker: opens after failures in a row, and a success or a neutral end between changes the count") {
  ManualClock clock;
  CircuitBreaker breaker({.failures = 3}, {}, clock);
  fail(breaker, 2);
  breaker.try_acquire()->success();
  fail(breaker, 2);
  breaker.try_acquire()->neutral();
  { const auto forgotten = breaker.try_acquire(); }
  CHECK(breaker.state() == BreakerState::closed);
  fail(breaker);
  CHECK(breaker.state() == BreakerState::open);
  CHECK(breaker.opened() == 1);
  CHECK(breaker.retry_in() == 10s);
  CHECK_FALSE(breaker.try_acquire());
  CHECK(breaker.refused() == 1);
}

TEST_CASE("circuit breaker: lets one probe through after the cool-down, which closes or opens it") {
  ManualClock clock;
  std::vector<BreakerState> seen;
  CircuitBreaker breaker(
      {.failures = 1, .open_for = 10s, .growth = 2, .open_max = 30s},
      [&](BreakerState state) { seen.push_back(state); }, clock);
  fail(breaker);
  clock.advance(9s);
  CHECK_FALSE(breaker.try_acquire());
  clock.advance(1s);
  CHECK(breaker.state() == BreakerState::half_open);
  auto probe = breaker.try_acquire();
  REQUIRE(probe);
  CHECK(probe->probe());
  CHECK_FALSE(breaker.try_acquire());
  probe->failure();
  CHECK(breaker.retry_in() == 20s);  // grown
  clock.advance(20s);
  fail(breaker);
  CHECK(breaker.retry_in() == 30s);  // as far as it goes
  clock.advance(30s);
  breaker.try_acquire()->neutral();
  CHECK(breaker.state() == BreakerState::half_open);  // it has proved nothing: the next one is a probe, too
  probe = breaker.try_acquire();
  CHECK(probe->probe());
  probe->success();
  CHECK(breaker.state() == BreakerState::closed);
  fail(breaker);
  CHECK(breaker.retry_in() == 10s);  // as at first
  CHECK(breaker.opened() == 4);
  using enum BreakerState;
  CHECK(seen == std::vector{open, half_open, open, half_open, open, half_open, closed, open});
}

TEST_CASE("circuit breaker: a call from before it opened changes nothing any more") {
  ManualClock clock;
  CircuitBreaker breaker({.failures = 1}, {}, clock);
  auto late_failure = breaker.try_acquire();
  auto late_success = breaker.try_acquire();
  fail(breaker);
  clock.advance(10s);
  auto probe = breaker.try_acquire();
  late_success->success();
  CHECK(breaker.state() == BreakerState::half_open);
  CHECK_FALSE(breaker.try_acquire());
  probe->success();
  late_failure->failure();
  CHECK(breaker.state() == BreakerState::closed);
}

TEST_CASE("circuit breaker: opens by the rate of failures in the window, once there were enough calls") {
  ManualClock clock;
  CircuitBreaker breaker({.failures = 0, .failure_rate = 0.5, .minimum_calls = 10, .window = 10s}, {}, clock);
  fail(breaker, 9);
  CHECK(breaker.state() == BreakerState::closed);
  clock.advance(20s);  // forgotten
  for (int i = 0; i < 6; ++i) breaker.try_acquire()->success();
  clock.advance(5s);
  fail(breaker, 5);
  CHECK(breaker.state() == BreakerState::closed);  // 5 of 11
  fail(breaker);
  CHECK(breaker.state() == BreakerState::open);  // 6 of 12
}

TEST_CASE("circuit breaker: moving a call moves the duty to tell, assigning over one ends it") {
  ManualClock clock;
  CircuitBreaker breaker({.failures = 1}, {}, clock);
  auto first = breaker.try_acquire().value();
  auto second = std::move(first);
  second.failure();
  CHECK(breaker.opened() == 1);
  clock.advance(10s);
  auto probe = breaker.try_acquire();
  probe = std::nullopt;
  CHECK(breaker.try_acquire());
}

TEST_CASE("circuit breaker: does what a plain one does, in random schedules") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    ManualClock clock;
    const std::size_t failures = random() % 4;
    CircuitBreaker breaker({.failures = failures,
                            .failure_rate = failures == 0 ? 0.6 : 0,
                            .minimum_calls = 5,
                            .window = 10s,
                            .open_for = 3s,
                            .growth = 2,
                            .open_max = 10s},
                           {}, clock);
    struct Made {
      CircuitBreaker::Call call;
      int round;
    };
    std::deque<Made> calls;
    // The plain one.
    BreakerState state = BreakerState::closed;
    int round = 0;
    bool probing = false;
    SteadyTime until{};
    std::chrono::nanoseconds open_for = 3s;
    std::vector<std::pair<std::int64_t, bool>> outcomes;  // second, failed
    std::size_t opened = 0;
    const auto enter = [&](BreakerState next) {
      state = next;
      ++round;
      probing = false;
      outcomes.clear();
      if (next != BreakerState::open) return;
      ++opened;
      until = clock.now() + open_for;
    };
    for (int step = 0; step < 400; ++step) {
      switch (random() % 4) {
        case 0:
          clock.advance(std::chrono::milliseconds(random() % 2500));
          break;
        case 1:
        case 2: {
          if (state == BreakerState::open && clock.now() >= until) enter(BreakerState::half_open);
          const bool allowed = state == BreakerState::closed || (state == BreakerState::half_open && !probing);
          auto call = breaker.try_acquire();
          REQUIRE(call.has_value() == allowed);
          if (!call) break;
          CHECK(call->probe() == (state == BreakerState::half_open));
          probing = state == BreakerState::half_open;
          calls.push_back({std::move(*call), round});
          break;
        }
        default: {
          if (calls.empty()) break;
          Made made = std::move(calls.front());
          calls.pop_front();
          const std::uint64_t how = random() % 5;
          how < 2 ? made.call.failure() : how < 4 ? made.call.success() : made.call.neutral();
          if (made.round != round) break;
          const bool failed = how < 2;
          if (probing) {
            probing = false;
            if (how == 4) break;
            open_for = failed ? std::min<std::chrono::nanoseconds>(open_for * 2, 10s) : 3s;
            enter(failed ? BreakerState::open : BreakerState::closed);
            break;
          }
          if (how == 4) break;
          const std::int64_t second = clock.now().time_since_epoch() / 1s;
          outcomes.emplace_back(second, failed);
          if (!failed) break;
          std::size_t in_a_row = 0;
          for (auto it = outcomes.rbegin(); it != outcomes.rend() && it->second; ++it) ++in_a_row;
          std::size_t all = 0;
          std::size_t bad = 0;
          for (const auto& [when, was_bad] : outcomes) {
            if (second - when >= 10) continue;
            ++all;
            bad += was_bad ? 1 : 0;
          }
          const bool rate = failures == 0 && all >= 5 && static_cast<double>(bad) >= 0.6 * static_cast<double>(all);
          if ((failures != 0 && in_a_row >= failures) || rate) enter(BreakerState::open);
        }
      }
      REQUIRE(breaker.opened() == opened);
      const bool cooled = state == BreakerState::open && clock.now() >= until;
      REQUIRE(breaker.state() == (cooled ? BreakerState::half_open : state));
    }
  }
}

TEST_CASE("circuit breaker: among many threads there is never more than one probe") {
  CircuitBreaker breaker({.failures = 2, .open_for = 1ns});
  std::atomic<int> probes{0};
  std::atomic<int> most{0};
  std::atomic<std::uint64_t> allowed{0};
  std::atomic<std::uint64_t> refused{0};
  constexpr int kThreads = 8;
  constexpr int kCalls = 5000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, random = std::mt19937_64(static_cast<std::uint64_t>(t))]() mutable {
      for (int i = 0; i < kCalls; ++i) {
        auto call = breaker.try_acquire();
        (call ? allowed : refused).fetch_add(1);
        if (!call) continue;
        if (call->probe()) {
          const int now = probes.fetch_add(1) + 1;
          for (int seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
          }
          if (random() % 4 == 0) std::this_thread::yield();
          probes.fetch_sub(1);
        }
        random() % 3 == 0 ? call->success() : call->failure();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(most.load() == 1);
  CHECK(allowed.load() + refused.load() == kThreads * kCalls);
  CHECK(breaker.refused() == refused.load());
  CHECK(breaker.opened() > 0);
}
