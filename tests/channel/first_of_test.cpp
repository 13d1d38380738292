#include "channel/first_of.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <latch>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

#include "channel/task_group.hpp"
#include "tests/channel/manual_clock.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using logpipe::testing::await;
using logpipe::testing::ManualClock;
using namespace std::chrono_literals;

namespace {

const Context kForever = Context::background();

/// Returns when the context has ended, with its error.
Result<int> until_cancelled(const Context& ctx) {
  await([&] { return ctx.done(); });
  return fail(error_of(ctx));
}

}  // namespace

TEST_CASE("first_of: an answer in time is the only attempt") {
  FirstOfStats stats;
  std::atomic<int> attempts{0};
  const auto answer = first_of(kForever, {.hedge_after = 1h, .stats = &stats}, [&](const Context&, std::size_t index) {
    attempts.fetch_add(1);
    return std::to_string(index);
  });
  CHECK(answer.value() == "0");
  CHECK(attempts.load() == 1);
  CHECK(stats.calls.load() == 1);
  CHECK(stats.hedged.load() + stats.retried.load() + stats.rescued.load() + stats.failed.load() == 0);
}

TEST_CASE("first_of: without an answer after hedge_after the next attempt begins, and its success cancels the first") {
  ManualClock clock;
  FirstOfStats stats;
  std::atomic<int> attempts{0};
  std::atomic<int> cancelled{0};
  TaskGroup group(kForever);
  group.spawn("caller", [&] {
    const auto answer = first_of(kForever, {.attempts = 3, .hedge_after = 50ms, .stats = &stats, .clock = &clock},
                                 [&](const Context& ctx, std::size_t index) -> Result<int> {
                                   attempts.fetch_add(1);
                                   if (index == 2) return 42;
                                   const auto error = until_cancelled(ctx);
                                   cancelled.fetch_add(1);
                                   return error;
                                 });
    CHECK(answer.value() == 42);
    CHECK(cancelled.load() == 2);  // all joined
  });
  await([&] { return attempts.load() == 1 && clock.waiting() == 1; });
  clock.advance(49ms);
  CHECK(attempts.load() == 1);
  await([&] { return clock.waiting() == 1; });
  clock.advance(1ms);
  await([&] { return attempts.load() == 2 && clock.waiting() == 1; });
  clock.advance(50ms);
  CHECK(group.wait().has_value());
  CHECK(attempts.load() == 3);
  CHECK(stats.hedged.load() == 1);
  CHECK(stats.retried.load() == 0);
  CHECK(stats.rescued.load() == 1);
}

TEST_CASE("first_of: a failure makes the next attempt begin at once") {
  FirstOfStats stats;
  const auto answer = first_of(kForever, {.attempts = 3, .hedge_after = 24h, .stats = &stats},
                               [](const Context&, std::size_t index) -> Result<int> {
                                 if (index == 0) return fail(ErrorKind::io, "refused");
                                 if (index == 1) throw std::runtime_error("boom");
                                 return 7;
                               });
  CHECK(answer.value() == 7);
  CHECK(stats.retried.load() == 1);
  CHECK(stats.hedged.load() == 0);
}

TEST_CASE("first_of: when all fail the first error is returned, after as many attempts as allowed") {
  std::atomic<int> attempts{0};
  const auto answer =
      first_of(kForever, {.attempts = 4, .hedge_after = 24h}, [&](const Context&, std::size_t index) -> Result<int> {
        attempts.fetch_add(1);
        return fail(ErrorKind::io, "refused " + std::to_string(index));
      });
  CHECK(answer.error().message == "refused 0");
  CHECK(attempts.load() == 4);

  const auto thrown = first_of(kForever, {.attempts = 1, .name = "ask"},
                               [](const Context&, std::size_t) -> int { throw std::runtime_error("boom"); });
  CHECK(thrown.error().kind == ErrorKind::internal);
  CHECK(thrown.error().message == "ask: boom");
}

TEST_CASE("first_of: ends with the context's error, and all attempts with it") {
  const auto scope = with_cancel(kForever);
  std::atomic<int> began{0};
  std::atomic<int> ended{0};
  TaskGroup group(kForever);
  group.spawn("caller", [&] {
    const auto answer =
        first_of(scope.context, {.attempts = 2, .hedge_after = 0ns}, [&](const Context& ctx, std::size_t) {
          began.fetch_add(1);
          const auto error = until_cancelled(ctx);
          ended.fetch_add(1);
          return error;
        });
    CHECK(answer.error().message == "stop");
    CHECK(began.load() == ended.load());
  });
  await([&] { return began.load() == 2; });
  scope.cancel("stop");
  CHECK(group.wait().has_value());
  std::atomic<int> after{0};
  CHECK(first_of(scope.context, {}, [&](const Context&, std::size_t) { return after.fetch_add(1); }).error().kind ==
        ErrorKind::canceled);
  CHECK(after.load() == 0);
}

TEST_CASE("first_of: on an executor it creates no thread, and does not wait for an attempt that was never begun") {
  TaskGroup group(kForever);
  PoolExecutor executor(group, {.workers = 2, .name = "lookup"}, 4);
  std::latch release(1);
  std::latch began(1);
  CHECK(executor.try_run([&] {
    began.count_down();
    release.wait();
  }));
  began.wait();
  const std::size_t threads = testing::thread_count();
  ManualClock clock;
  std::atomic<int> attempts{0};
  std::latch go(1);
  TaskGroup callers(kForever);
  callers.spawn("caller", [&] {
    const auto answer = first_of(kForever, {.hedge_after = 1s, .executor = &executor, .clock = &clock},
                                 [&](const Context&, std::size_t) {
                                   attempts.fetch_add(1);
                                   go.wait();
                                   return testing::thread_count();
                                 });
    CHECK(answer.value() == threads + 1);  // the caller's
  });
  await([&] { return attempts.load() == 1 && clock.waiting() == 1; });
  clock.advance(1s);  // the second attempt waits in the executor: both threads are busy
  go.count_down();
  CHECK(callers.wait().has_value());
  release.count_down();
  group.cancel("done");
  static_cast<void>(group.wait());
  CHECK(attempts.load() == 1);
}

TEST_CASE("first_of: an executor that refuses, or drops what waits, is a failed attempt") {
  TaskGroup group(kForever);
  PoolExecutor executor(group, {.workers = 1}, 1);
  std::latch release(1);
  std::latch began(1);
  CHECK(executor.try_run([&] {
    began.count_down();
    release.wait();
  }));
  began.wait();
  const auto one = [](const Context&, std::size_t) { return 1; };
  TaskGroup callers(kForever);
  callers.spawn("dropped", [&] {
    const auto answer = first_of(kForever, {.attempts = 1, .executor = &executor}, one);
    CHECK(answer.error().message == "attempt: not begun");
  });
  group.cancel("stop");
  release.count_down();
  static_cast<void>(group.wait());
  CHECK(callers.wait().has_value());
  const auto refused = first_of(kForever, {.attempts = 3, .hedge_after = 24h, .executor = &executor}, one);
  CHECK(refused.error().message == "attempt: not begun");
}

// The model: the answer is one that an attempt gave; without one every attempt that was allowed has failed, or the
// context has ended; nothing runs afterwards.
TEST_CASE("first_of: random delays, failures and cancels, on threads and on an executor: all accounted for") {
  std::thread([] {}).join();  // a sanitizer starts a thread of its own with the first one
  const std::size_t threads = testing::thread_count();
  const std::size_t descriptors = testing::descriptor_count();
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    TaskGroup pool(kForever);
    PoolExecutor executor(pool, {.workers = 6, .min_workers = 1, .scaling = {.grow_after = 10us}}, 8);
    TaskGroup group(kForever);
    for (int i = 0; i < 8; ++i) {
      group.spawn("caller", [&, random = std::mt19937_64(random())]() mutable {
        for (int call = 0; call < 20; ++call) {
          const auto scope = with_cancel(kForever);
          if (random() % 8 == 0) scope.cancel("given up");
          const std::uint64_t draw = random();
          const std::size_t attempts = 1 + random() % 4;
          std::atomic<int> running{0};
          std::atomic<std::size_t> made{0};
          std::atomic<std::size_t> failed{0};
          const auto attempt = [&](const Context& ctx, std::size_t index) -> Result<std::uint64_t> {
            running.fetch_add(1);
            made.fetch_add(1);
            CHECK(index < attempts);
            for (std::uint64_t n = (draw >> index) % 64; n > 0 && !ctx.done(); --n) std::this_thread::yield();
            running.fetch_sub(1);
            if ((draw >> (3 * index)) % 3 != 0) {
              failed.fetch_add(1);
              return fail(ErrorKind::io, "refused");
            }
            return draw + index;
          };
          const auto answer = first_of(scope.context,
                                       {.attempts = attempts,
                                        .hedge_after = std::chrono::microseconds(random() % 50),
                                        .executor = random() % 3 == 0 ? nullptr : &executor},
                                       attempt);
          CHECK(running.load() == 0);
          CHECK(made.load() <= attempts);
          if (answer) {
            CHECK(*answer - draw < attempts);
            CHECK(failed.load() < made.load());
          } else if (!scope.context.done()) {
            CHECK(failed.load() == made.load());
            CHECK((answer.error().message == "refused" || answer.error().message == "attempt: not begun"));
          }
        }
      });
    }
    CHECK(group.wait().has_value());
  }
  await([&] { return testing::thread_count() == threads; });
  CHECK(testing::descriptor_count() == descriptors);
}
