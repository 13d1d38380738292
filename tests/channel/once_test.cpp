#include "channel/once.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <latch>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

#include "channel/task_group.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using logpipe::testing::await;

namespace {

const Context kForever = Context::background();

}  // namespace

TEST_CASE("once: loads at the first call and shares the value from then on") {
  Once<std::string> once;
  CHECK(once.peek() == nullptr);
  int loads = 0;
  const auto load = [&](const Context&) {
    ++loads;
    return std::string("table");
  };
  const auto first = once.get(kForever, load).value();
  CHECK(*first == "table");
  CHECK(once.get(kForever, load).value() == first);
  CHECK(once.peek() == first);
  CHECK(loads == 1);
  once.reset();
  CHECK(once.peek() == nullptr);
  CHECK(*once.get(kForever, load).value() == "table");
  CHECK(loads == 2);
  CHECK(*first == "table");  // who holds the old one keeps it
}

TEST_CASE("once: a failure, or an exception, is not kept") {
  Once<int> once;
  CHECK(once.get(kForever, [](const Context&) -> Result<int> { return fail(ErrorKind::io, "no route"); })
            .error()
            .message == "no route");
  const auto thrown = once.get(kForever, [](const Context&) -> int { throw std::runtime_error("boom"); });
  CHECK(thrown.error().kind == ErrorKind::internal);
  CHECK(thrown.error().message == "load: boom");
  CHECK(**once.get(kForever, [](const Context&) { return 7; }) == 7);
}

TEST_CASE("once: sixty-four callers share one load, its failure too, and the next one tries again") {
  Once<int> once;
  for (const bool fails : {true, false}) {
    std::atomic<int> loads{0};
    std::atomic<int> calls{0};
    std::atomic<int> failures{0};
    TaskGroup group(kForever);
    for (int i = 0; i < 64; ++i) {
      group.spawn("get", [&] {
        calls.fetch_add(1);
        const auto value = once.get(kForever, [&](const Context&) -> Result<int> {
          loads.fetch_add(1);
          await([&] { return calls.load() == 64; });
          if (fails) return fail(ErrorKind::io, "no route");
          return 7;
        });
        if (!value) {
          CHECK(value.error().message == "no route");
          failures.fetch_add(1);
        } else {
          CHECK(**value == 7);
        }
      });
    }
    CHECK(group.wait().has_value());
    // All had called before the first load ended, but who had not yet got to waiting came after it.
    if (!fails) CHECK(loads.load() == 1);
    CHECK(failures.load() == (fails ? 64 : 0));
  }
}

TEST_CASE("once: a caller who gives up waiting leaves the load alone") {
  Once<int> once;
  std::latch release(1);
  std::latch loading(1);
  TaskGroup group(kForever);
  group.spawn("load", [&] {
    CHECK(**once.get(kForever, [&](const Context&) {
      loading.count_down();
      release.wait();
      return 7;
    }) == 7);
  });
  loading.wait();
  const auto nobody = [](const Context&) -> int { throw std::runtime_error("loaded twice"); };
  CHECK(once.get(kForever, nobody, SteadyTime{}).error().kind == ErrorKind::deadline_exceeded);
  const auto impatient = with_cancel(kForever);
  {
    TaskGroup waiting(kForever);
    waiting.spawn("impatient", [&] {
      const auto given_up = once.get(impatient.context, nobody);
      REQUIRE_FALSE(given_up.has_value());
      CHECK(given_up.error().message == "stop");
    });
    impatient.cancel("stop");
    CHECK(waiting.wait().has_value());  // before the load ends: what is there is given to everybody
  }
  group.spawn("patient", [&] { CHECK(**once.get(kForever, nobody) == 7); });
  release.count_down();
  CHECK(group.wait().has_value());
}

TEST_CASE("once: when the loader's own context ends, one of those who wait loads instead") {
  Once<int> once;
  const auto first = with_cancel(kForever);
  std::latch loading(1);
  std::atomic<int> second_loads{0};
  TaskGroup group(kForever);
  group.spawn("first", [&] {
    const auto value = once.get(first.context, [&](const Context& ctx) -> Result<int> {
      loading.count_down();
      await([&] { return ctx.done(); });
      return fail(error_of(ctx));
    });
    CHECK(value.error().kind == ErrorKind::canceled);
  });
  loading.wait();
  for (int i = 0; i < 8; ++i) {
    group.spawn("waiting", [&] {
      CHECK(**once.get(kForever, [&](const Context&) {
        second_loads.fetch_add(1);
        return 8;
      }) == 8);
    });
  }
  first.cancel();
  CHECK(group.wait().has_value());
  CHECK(second_loads.load() == 1);
}

TEST_CASE("once: a reset during a load answers those who wait with it and loads anew for those who come") {
  Once<int> once;
  std::latch loading(1);
  std::latch release(1);
  TaskGroup group(kForever);
  group.spawn("old", [&] {
    CHECK(**once.get(kForever, [&](const Context&) {
      loading.count_down();
      release.wait();
      return 1;
    }) == 1);
  });
  loading.wait();
  once.reset();
  CHECK(**once.get(kForever, [](const Context&) { return 2; }) == 2);
  release.count_down();
  CHECK(group.wait().has_value());
  CHECK(*once.peek() == 2);
}

// The model: at any moment at most one load runs that no reset has cut off; every success returns a value that was
// loaded, every failure is the loader's own or the caller's own.
TEST_CASE("once: random callers, failures, cancels and resets: at most one load at a time, nobody hangs") {
  std::thread([] {}).join();  // a sanitizer starts a thread of its own with the first one
  const std::size_t threads = testing::thread_count();
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    Once<std::uint64_t> once;
    const bool resets = random() % 2 == 0;
    std::atomic<int> loading{0};
    std::atomic<std::uint64_t> loads{0};
    std::atomic<int> answered{0};
    TaskGroup group(kForever);
    for (int i = 0; i < 16; ++i) {
      group.spawn("get", [&, random = std::mt19937_64(random())]() mutable {
        for (int call = 0; call < 50; ++call) {
          const auto scope = with_cancel(kForever);
          if (random() % 5 == 0) scope.cancel("given up");
          const std::uint64_t draw = random();
          const auto value = once.get(scope.context, [&](const Context& ctx) -> Result<std::uint64_t> {
            const int now = loading.fetch_add(1);
            if (!resets) CHECK(now == 0);
            for (std::uint64_t n = draw % 7; n > 0; --n) std::this_thread::yield();
            loading.fetch_sub(1);
            if (ctx.done()) return fail(error_of(ctx));
            if (draw % 3 != 0) return fail(ErrorKind::io, "no route");
            return loads.fetch_add(1) + 1;
          });
          if (value) {
            CHECK(**value <= loads.load());
          } else {
            CHECK((value.error().message == "no route" || scope.context.done()));
          }
          answered.fetch_add(1);
          if (resets && random() % 4 == 0) once.reset();
        }
      });
    }
    CHECK(group.wait().has_value());
    CHECK(answered.load() == 16 * 50);
    if (!resets) CHECK(loads.load() <= 1);
  }
  await([&] { return testing::thread_count() == threads; });
}
