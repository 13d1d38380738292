#include "channel/task_group.hpp"

#include <doctest/doctest.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <latch>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include "channel/channel.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;

namespace {

void wait_until_done(const Context& ctx) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait(lock, ctx.token(), [] { return false; });
}

}  // namespace

TEST_CASE("task group: wait returns success when every task succeeds") {
  TaskGroup group(Context::background());
  std::atomic<int> ran{0};
  for (int i = 0; i < 8; ++i) group.spawn("task", [&] { ran.fetch_add(1); });
  group.spawn("status", []() -> Status { return {}; });
  CHECK(group.wait().has_value());
  CHECK(ran.load() == 8);
  CHECK_FALSE(group.context().done());
}

TEST_CASE("task group: the first failure cancels the context with its message and is what wait returns") {
  TaskGroup group(Context::background());
  std::string seen;
  group.spawn("waiter", [&, ctx = group.context()]() -> Status {
    wait_until_done(ctx);
    seen = ctx.cause();
    return fail(ErrorKind::canceled, "second");
  });
  group.spawn("failing", []() -> Status { return fail(ErrorKind::io, "disk full"); });
  const Status status = group.wait();
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().kind == ErrorKind::io);
  CHECK(status.error().message == "disk full");
  CHECK(seen == "disk full");
}

TEST_CASE("task group: an exception becomes an internal error that names the task") {
  TaskGroup group(Context::background());
  group.spawn("parse", [] { throw std::runtime_error("boom"); });
  const Status status = group.wait();
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().kind == ErrorKind::internal);
  CHECK(status.error().message == "task parse: boom");

  TaskGroup odd(Context::background());
  odd.spawn("odd", [] { throw 7; });
  CHECK(odd.wait().error().message == "task odd: unknown exception");
}

TEST_CASE("task group: a task's channel ends are gone when wait returns") {
  TaskGroup group(Context::background());
  auto [sender, receiver] = make_channel<std::unique_ptr<int>>(1);
  group.spawn("sender",
              [tx = std::move(sender)]() mutable { static_cast<void>(tx.try_send(std::make_unique<int>(3))); });
  CHECK(group.wait().has_value());
  CHECK(**receiver.recv(Context::background()) == 3);
  std::unique_ptr<int> nothing;
  CHECK(receiver.try_recv(nothing) == RecvStatus::closed);
}

TEST_CASE("task group: a cancelled parent cancels the group") {
  const auto parent = with_cancel(Context::background());
  TaskGroup group(parent.context);
  group.spawn("waiter", [ctx = group.context()] { wait_until_done(ctx); });
  parent.cancel("stop");
  CHECK(group.wait().has_value());
  CHECK(group.context().cause() == "stop");
}

TEST_CASE("task group: the destructor cancels and joins") {
  std::atomic<bool> ended{false};
  {
    TaskGroup group(Context::background());
    group.spawn("waiter", [&, ctx = group.context()] {
      wait_until_done(ctx);
      ended.store(true);
    });
  }
  CHECK(ended.load());
}

TEST_CASE("task group: threads carry the first fifteen bytes of the task's name") {
  TaskGroup group(Context::background());
  std::string name;
  group.spawn("a-rather-long-task-name", [&] {
    char buffer[32]{};
    pthread_getname_np(pthread_self(), buffer, sizeof buffer);
    name = buffer;
  });
  CHECK(group.wait().has_value());
  CHECK(name == "a-rather-long-t");
}

TEST_CASE("task group: no more tasks than the limit run at once") {
  constexpr int kLimit = 3;
  TaskGroup group(Context::background(), kLimit);
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  std::latch full(kLimit);
  for (int i = 0; i < 30; ++i) {
    group.spawn("limited", [&, i] {
      const int now = running.fetch_add(1) + 1;
      int before = most.load();
      while (now > before && !most.compare_exchange_weak(before, now)) {
      }
      if (i < kLimit) full.arrive_and_wait();  // that many do run at once
      running.fetch_sub(1);
    });
  }
  CHECK(group.wait().has_value());
  CHECK(most.load() == kLimit);
}

TEST_CASE("task group: a group that spawns again and again does not collect dead threads") {
  const std::size_t before = testing::thread_count();
  TaskGroup group(Context::background(), 1);
  for (int i = 0; i < 200; ++i) group.spawn("short", [] {});
  CHECK(group.wait().has_value());
  testing::await([&] { return testing::thread_count() == before; });  // a joined thread may show for an instant longer
}

TEST_CASE("task group: a task may spawn another, and wait covers it") {
  TaskGroup group(Context::background());
  std::atomic<bool> ran{false};
  group.spawn("outer", [&] { group.spawn("inner", [&] { ran.store(true); }); });
  CHECK(group.wait().has_value());
  CHECK(ran.load());
}

TEST_CASE("task group: wait_or_throw lets the first exception go on as it was thrown") {
  struct Odd {
    int number;
  };
  TaskGroup group(Context::background());
  CHECK(group.first_exception() == nullptr);
  group.spawn("odd", [] { throw Odd{7}; });
  int seen = 0;
  try {
    static_cast<void>(group.wait_or_throw());
  } catch (const Odd& odd) {
    seen = odd.number;
  }
  CHECK(seen == 7);
  CHECK(group.first_exception() != nullptr);
  CHECK(group.wait().error().message == "task odd: unknown exception");

  TaskGroup fine(Context::background());
  fine.spawn("failing", []() -> Status { return fail(ErrorKind::io, "disk full"); });
  CHECK(fine.wait_or_throw().error().message == "disk full");
}

TEST_CASE("task group: an exception after a failure is kept, although the failure is what wait returns") {
  TaskGroup group(Context::background());
  group.spawn("failing", []() -> Status { return fail(ErrorKind::io, "disk full"); });
  group.spawn("throwing", [ctx = group.context()] {
    wait_until_done(ctx);
    throw std::runtime_error("boom");
  });
  CHECK(group.wait().error().message == "disk full");
  CHECK_THROWS_WITH_AS(static_cast<void>(group.wait_or_throw()), "boom", std::runtime_error);
}

TEST_CASE("task group: try_spawn is refused at the limit and leaves the task alone") {
  TaskGroup group(Context::background(), 1);
  std::latch release(1);
  auto first = [&release, token = std::make_unique<int>(1)] { release.wait(); };
  CHECK(group.try_spawn("first", std::move(first)));
  int ran = 0;
  auto second = [&ran, token = std::make_unique<int>(2)] { ran = *token; };
  CHECK_FALSE(group.try_spawn("second", std::move(second)));
  release.count_down();
  CHECK(group.wait().has_value());
  CHECK(group.try_spawn("second", std::move(second)));
  CHECK(group.wait().has_value());
  CHECK(ran == 2);
}

TEST_CASE("task group: tells how many tasks run, and which") {
  TaskGroup group(Context::background());
  CHECK(group.running() == 0);
  std::latch release(1);
  group.spawn("source of app", [&] { release.wait(); });
  group.spawn("sink archive of app", [&] { release.wait(); });
  CHECK(group.running() == 2);
  CHECK(group.running_names() == std::vector<std::string>{"source of app", "sink archive of app"});
  release.count_down();
  CHECK(group.wait().has_value());
  CHECK(group.running() == 0);
  CHECK(group.running_names().empty());
}

TEST_CASE("task group: of sixty-four failures and exceptions at once one is returned, and all threads are gone") {
  const std::size_t before = testing::thread_count();
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> ended{0};
    TaskGroup group(Context::background());
    std::latch together(64);
    for (int i = 0; i < 64; ++i) {
      group.spawn("task", [&, i]() -> Status {
        together.arrive_and_wait();
        ended.fetch_add(1);
        if (i % 2 == 0) throw std::runtime_error("boom");
        return fail(ErrorKind::io, "disk full");
      });
    }
    const Status status = group.wait();
    REQUIRE_FALSE(status.has_value());
    CHECK(group.context().cause() == status.error().message);
    CHECK(ended.load() == 64);
    CHECK(group.first_exception() != nullptr);
  }
  testing::await([&] { return testing::thread_count() == before; });
}
