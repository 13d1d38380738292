#include "channel/executor.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <optional>

#include "tests/channel/support.hpp"

using namespace logpipe;

namespace {

const Context kForever = Context::background();

}  // namespace

TEST_CASE("executor: runs what it accepts, refuses what would have to wait too long, and finishes at its end") {
  TaskGroup group(kForever);
  std::latch release(1);
  std::atomic<int> ran{0};
  {
    PoolExecutor executor(group, {.workers = 1, .name = "lookup"}, 2);
    std::latch began(1);
    CHECK(executor.try_run([&] {
      began.count_down();
      release.wait();
      ran.fetch_add(1);
    }));
    began.wait();
    CHECK(executor.try_run([&] { ran.fetch_add(1); }));
    CHECK(executor.try_run([&] { ran.fetch_add(1); }));
    CHECK_FALSE(executor.try_run([&] { ran.fetch_add(100); }));
  }
  release.count_down();
  CHECK(group.wait().has_value());
  CHECK(ran.load() == 3);
}

TEST_CASE("executor: refuses once its group has ended, and drops what it has not begun") {
  std::optional<TaskGroup> group(std::in_place, kForever);
  PoolExecutor executor(*group, {.workers = 1}, 2);
  std::latch began(1);
  std::latch release(1);
  const auto token = std::make_shared<int>(0);
  CHECK(executor.try_run([&] {
    began.count_down();
    release.wait();
  }));
  began.wait();
  CHECK(executor.try_run([token] { FAIL("was cancelled before its turn"); }));
  group->cancel("stop");
  release.count_down();
  group.reset();
  CHECK(token.use_count() == 1);
  CHECK_FALSE(executor.try_run([] {}));
}
