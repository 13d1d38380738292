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
