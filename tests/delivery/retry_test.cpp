#include "delivery/retry.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "channel/task_group.hpp"
#include "tests/channel/manual_clock.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using namespace logpipe::testing;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

namespace {

const RetryPolicy kPlain{.initial = 100ms, .max = 1s, .jitter = Jitter::none};

std::vector<nanoseconds> delays(Retry& retry, std::size_t count) {
  std::vector<nanoseconds> all;
  while (all.size() < count) all.push_back(*retry.next_delay());
  return all;
}

}  // namespace

TEST_CASE("retry: delays grow by the multiplier up to the cap, and begin anew after a success") {
  Retry retry(kPlain, 1);
  CHECK(delays(retry, 6) == std::vector<nanoseconds>{100ms, 200ms, 400ms, 800ms, 1s, 1s});
  CHECK(retry.attempt() == 7);
  retry.reset();
  CHECK(retry.attempt() == 1);
  CHECK(delays(retry, 2) == std::vector<nanoseconds>{100ms, 200ms});
  retry.restart_delays();
  CHECK(delays(retry, 1) == std::vector<nanoseconds>{100ms});
  CHECK(retry.attempt() == 4);
  Retry long_lived({.initial = 1ns, .max = 24h, .multiplier = 10, .jitter = Jitter::none}, 1);
  for (int i = 0; i < 2000; ++i) CHECK(*long_lived.next_delay() <= 24h);  // nothing overflows
}

TEST_CASE("retry: full jitter spreads evenly between nothing and the delay, the same for the same seed") {
  const RetryPolicy policy{.initial = 1s, .max = 1s};
  Retry first(policy, 42);
  Retry second(policy, 42);
  Retry other(policy, 43);
  std::vector<int> tenths(10, 0);
  bool differs = false;
  for (int i = 0; i < 10000; ++i) {
    const nanoseconds delay = *first.next_delay();
    REQUIRE(delay >= 0ns);
    REQUIRE(delay <= 1s);
    CHECK(delay == *second.next_delay());
    differs = differs || delay != *other.next_delay();
    ++tenths[static_cast<std::size_t>(std::min<nanoseconds::rep>(delay / 100ms, 9))];
  }
  CHECK(differs);
  for (const int count : tenths) {
    CHECK(count > 850);
    CHECK(count < 1150);
  }
}

TEST_CASE("retry: gives up after its attempts, the first one included") {
  Retry retry({.initial = 1ms, .max_attempts = 3}, 1);
  CHECK(retry.next_delay());
  CHECK(retry.next_delay());
  CHECK_FALSE(retry.next_delay());
  CHECK(retry.given_up() == Retry::Next::exhausted);
  CHECK(retry.wait(Context::background()) == Retry::Next::exhausted);
  Retry once({.max_attempts = 1}, 1);
  CHECK_FALSE(once.next_delay());
}

TEST_CASE("retry: a server's wish lengthens one wait, within bounds, and never shortens it") {
  RetryPolicy policy = kPlain;
  policy.retry_after_max = 1min;
  Retry retry(policy, 1);
  retry.retry_after(5s);
  CHECK(*retry.next_delay() == 5s);
  CHECK(*retry.next_delay() == 200ms);
  retry.retry_after(1ms);
  CHECK(*retry.next_delay() == 400ms);
  retry.retry_after(1h);
  CHECK(*retry.next_delay() == 1min);
}

TEST_CASE("retry: a shared budget allows retries in proportion to operations, and forgets old ones") {
  ManualClock clock;
  RetryBudget budget(0.5, 0, 10s, clock);
  CHECK(budget.balance() == 0);
  CHECK_FALSE(budget.withdraw());
  for (int i = 0; i < 10; ++i) budget.deposit();
  CHECK(budget.balance() == 5);
  for (int i = 0; i < 5; ++i) CHECK(budget.withdraw());
  CHECK_FALSE(budget.withdraw());
  for (int i = 0; i < 10; ++i) budget.deposit();
  clock.advance(9s);
  CHECK(budget.balance() == 5);
  clock.advance(2s);
  CHECK(budget.balance() == 0);

  RetryBudget rare(0, 1, 10s, clock);
  CHECK(rare.balance() == 10);
  for (int i = 0; i < 10; ++i) CHECK(rare.withdraw());
  CHECK_FALSE(rare.withdraw());
  clock.advance(11s);
  CHECK(rare.balance() == 10);
}

TEST_CASE("retry: an operation puts into its budget once and each retry takes out of it") {
  ManualClock clock;
  RetryBudget budget(1, 0, 10s, clock);
  Retry retry({.initial = 1ms}, 1, &budget, clock);
  CHECK(budget.balance() == 1);
  CHECK(retry.next_delay());
  CHECK_FALSE(retry.next_delay());
  CHECK(retry.given_up() == Retry::Next::no_budget);
  retry.reset();
  CHECK(retry.given_up() == Retry::Next::attempt);
  CHECK(retry.next_delay());
}

TEST_CASE("retry: waits by the clock it was given") {
  ManualClock clock;
  Retry retry(kPlain, 1, nullptr, clock);
  std::atomic<int> attempts{0};
  TaskGroup group(Context::background());
  group.spawn("retrying", [&] {
    for (int i = 0; i < 3; ++i) {
      CHECK(retry.wait(group.context()) == Retry::Next::attempt);
      ++attempts;
    }
  });
  for (const auto& [delay, after] : {std::pair{100ms, 1}, {200ms, 2}, {400ms, 3}}) {
    await([&] { return clock.waiting() == 1; });
    clock.advance(delay - 1ms);
    CHECK(attempts.load() == after - 1);
    await([&] { return clock.waiting() == 1; });
    clock.advance(1ms);
    await([&, expected = after] { return attempts.load() == expected; });
  }
  CHECK(group.wait());
}

TEST_CASE("retry: a drain ends one wait and begins the delays anew, and only the run context ends the others") {
  ManualClock clock;
  const auto run = with_cancel(Context::background());
  const auto intake = with_cancel(run.context);
  const RunContext ctx{intake.context, run.context};
  Retry retry({.initial = 1s, .max = 1h, .multiplier = 60, .jitter = Jitter::none}, 1, nullptr, clock);
  CHECK(*retry.next_delay() == 1s);
  CHECK(*retry.next_delay() == 1min);
  std::atomic<int> attempts{0};
  TaskGroup group(Context::background());
  group.spawn("retrying", [&] {
    CHECK(retry.wait(ctx) == Retry::Next::attempt);  // an hour, cut short
    ++attempts;
    CHECK(retry.wait(ctx) == Retry::Next::attempt);  // a second, waited out
    ++attempts;
    CHECK(retry.wait(ctx) == Retry::Next::stopped);
  });
  await([&] { return clock.waiting() == 1; });
  intake.cancel("drain");
  await([&] { return attempts.load() == 1 && clock.waiting() == 1; });
  clock.advance(1s);
  await([&] { return attempts.load() == 2 && clock.waiting() == 1; });
  run.cancel("drain deadline");
  CHECK(group.wait());
  CHECK(retry.wait(ctx) == Retry::Next::stopped);
}

TEST_CASE("retry: the deadline of its context ends a wait") {
  Retry retry({.initial = 1h, .max = 1h, .jitter = Jitter::none}, 1);
  CHECK(retry.wait(with_timeout(Context::background(), 1ms).context) == Retry::Next::stopped);
}
