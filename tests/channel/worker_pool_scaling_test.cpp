#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "channel/worker_pool.hpp"
#include "tests/channel/manual_clock.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using logpipe::testing::await;
using logpipe::testing::ManualClock;
using namespace std::chrono_literals;

namespace {

const Context kForever = Context::background();

/// Lets time pass in steps until the pool has `workers`.
void advance_until(ManualClock& clock, const PoolStats& stats, std::size_t workers, std::chrono::nanoseconds step) {
  while (stats.snapshot().workers != workers) {
    if (clock.waiting() == 1) clock.advance(step);
    std::this_thread::yield();
  }
}

}  // namespace

TEST_CASE("worker pool: grows while items wait, shrinks when they are gone, and keeps the order throughout") {
  ManualClock clock;
  const auto stats = std::make_shared<PoolStats>(clock);
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(16);
  std::atomic<bool> held{true};
  std::atomic<int> alive{0};  // scratch memory
  std::vector<int> emitted;
  std::atomic<int> count{0};
  run_worker_pool(
      group, std::move(receiver), group.context(),
      {.workers = 4, .min_workers = 1, .ahead = 8, .stats = stats, .clock = &clock},
      [&](std::size_t) {
        alive.fetch_add(1);
        return [&, scratch = std::shared_ptr<void>(nullptr, [&](void*) { alive.fetch_sub(1); })](int item) {
          await([&] { return !held.load(); });
          return item;
        };
      },
      [&](int item) {
        emitted.push_back(item);
        count.fetch_add(1);
      });
  const std::size_t threads = testing::thread_count();
  int sent = 0;
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    held = true;
    for (int i = 0; i < 12; ++i) CHECK(sender.send(sent++, kForever) == SendStatus::sent);
    advance_until(clock, *stats, 4, 100ms);
    await([&] { return alive.load() == 4; });
    CHECK(testing::thread_count() >= threads + 3);
    held = false;
    await([&] { return count.load() == sent; });
    advance_until(clock, *stats, 1, 10s);
    await([&] { return alive.load() == 1; });
    while (clock.waiting() != 0) clock.advance(10s);  // until nothing is left to be looked at
  }
  const PoolStats::Snapshot end = stats->snapshot();
  CHECK(end.min == 1);
  CHECK(end.max == 4);
  CHECK(end.grown == 9);
  CHECK(end.shrunk == 9);
  sender = {};
  CHECK(group.wait().has_value());
  CHECK(alive.load() == 0);
  for (int i = 0; i < sent; ++i) REQUIRE(emitted[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("worker pool: grows while every worker is stuck, and the stuck ones hold up nobody without order") {
  ManualClock clock;
  const auto stats = std::make_shared<PoolStats>(clock);
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(16);
  std::latch release(1);
  std::atomic<int> count{0};
  run_worker_pool(
      group, std::move(receiver), group.context(),
      {.workers = 3, .min_workers = 1, .order = Order::none, .stats = stats, .clock = &clock},
      [&](std::size_t) {
        return [&](int item) {
          if (item < 2) release.wait();
          return item;
        };
      },
      [&](int) { count.fetch_add(1); });
  for (int i = 0; i < 8; ++i) CHECK(sender.send(int{i}, kForever) == SendStatus::sent);
  while (count.load() != 6) {
    if (clock.waiting() == 1) clock.advance(100ms);
    std::this_thread::yield();
  }
  release.count_down();
  sender = {};
  CHECK(group.wait().has_value());
  CHECK(count.load() == 8);
}

TEST_CASE("worker pool: workers that wait for the emission to go on are no reason to grow") {
  ManualClock clock;
  const auto stats = std::make_shared<PoolStats>(clock);
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(64);
  std::latch release(1);
  std::atomic<int> worked{0};
  int count = 0;
  for (int i = 0; i < 30; ++i) CHECK(sender.try_send(int{i}) == SendStatus::sent);
  run_worker_pool(
      group, std::move(receiver), group.context(),
      {.workers = 4, .min_workers = 2, .ahead = 4, .stats = stats, .clock = &clock},
      [&](std::size_t) {
        return [&](int item) {
          worked.fetch_add(1);
          return item;
        };
      },
      [&](int) {
        if (count++ == 0) release.wait();
      });
  await([&] { return worked.load() == 4; });  // the window is full
  for (int i = 0; i < 5; ++i) clock.advance(100ms);
  await([&] { return clock.waiting() == 0; });
  CHECK(stats->snapshot().grown == 0);
  release.count_down();
  sender = {};
  CHECK(group.wait().has_value());
  CHECK(count == 30);
}

TEST_CASE("worker pool: where the group has no room for more workers it goes on with those it has") {
  ManualClock clock;
  const auto stats = std::make_shared<PoolStats>(clock);
  TaskGroup group(kForever, 2);  // one worker and the scaler
  auto [sender, receiver] = make_channel<int>(16);
  std::latch release(1);
  int count = 0;
  for (int i = 0; i < 10; ++i) CHECK(sender.try_send(int{i}) == SendStatus::sent);
  run_worker_pool(
      group, std::move(receiver), group.context(), {.workers = 4, .min_workers = 1, .stats = stats, .clock = &clock},
      [&](std::size_t) {
        return [&](int item) {
          release.wait();
          return item;
        };
      },
      [&](int item) { CHECK(item == count++); });
  await([&] { return stats->snapshot().workers == 1; });
  while (stats->snapshot().spawn_errors < 3) {
    if (clock.waiting() == 1) clock.advance(100ms);
    std::this_thread::yield();
  }
  CHECK(stats->snapshot().workers == 1);
  release.count_down();
  sender = {};
  CHECK(group.wait().has_value());
  CHECK(count == 10);
}

TEST_CASE("worker pool: a scaling pool ends at a cancel, a failure, an exception and a close, at rest and at work") {
  const std::size_t threads = testing::thread_count();
  for (int round = 0; round < 60; ++round) {
    CAPTURE(round);
    TaskGroup group(kForever);
    const auto run = with_cancel(group.context());
    auto [sender, receiver] = make_channel<int>(8);
    std::atomic<int> done{0};
    run_worker_pool(
        group, std::move(receiver), run.context,
        {.workers = 4, .min_workers = 1, .scaling = {.grow_after = 0ns, .shrink_after = 0ns}},
        [](std::size_t) {
          return [](int item) -> int {
            if (item == -1) throw std::runtime_error("boom");
            return item;
          };
        },
        [](int item) -> Status {
          if (item == -2) return fail(ErrorKind::io, "disk full");
          return {};
        },
        [&](const Status&) { done.fetch_add(1); });
    for (int i = 0; i < round; ++i) {
      if (sender.send(int{i}, run.context) != SendStatus::sent) break;
    }
    switch (round % 4) {
      case 0:
        run.cancel("stop");
        CHECK_FALSE(group.wait().has_value());
        break;
      case 1:
        CHECK(sender.send(-2, run.context) == SendStatus::sent);
        CHECK(group.wait().error().message == "disk full");
        break;
      case 2:
        CHECK(sender.send(-1, run.context) == SendStatus::sent);
        CHECK(group.wait().error().message.ends_with("boom"));
        break;
      default:
        sender = {};
        CHECK(group.wait().has_value());
    }
    CHECK(done.load() == 1);
  }
  await([&] { return testing::thread_count() == threads; });
}

TEST_CASE("pool stats: tell what each worker has in hand, for how long, and what it has done") {
  ManualClock clock;
  const auto stats = std::make_shared<PoolStats>(clock);
  CHECK(stats->snapshot().each.empty());
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(4);
  std::latch release(1);
  run_worker_pool(
      group, std::move(receiver), group.context(), {.workers = 2, .stats = stats},
      [&](std::size_t) {
        return [&](int item) {
          if (item == 7) release.wait();
          return item;
        };
      },
      [](int) {}, PoolHooks<int>{.label = [](const int& item) { return "block " + std::to_string(item); }});
  CHECK(sender.send(7, kForever) == SendStatus::sent);
  const auto in_hand = [&] {
    std::vector<PoolStats::InProgress> items;
    for (const auto& worker : stats->snapshot().each) {
      if (worker.in_progress) items.push_back(*worker.in_progress);
    }
    return items;
  };
  await([&] { return in_hand().size() == 1; });
  clock.advance(3s);
  CHECK(in_hand()[0].label == "block 7");
  CHECK(in_hand()[0].age_seconds == doctest::Approx(3));
  await([&] { return stats->snapshot().workers == 2; });
  release.count_down();
  sender = {};
  CHECK(group.wait().has_value());
  const PoolStats::Snapshot end = stats->snapshot();
  CHECK(end.workers == 0);
  CHECK(end.min == 2);
  CHECK(end.max == 2);
  REQUIRE(end.each.size() == 2);
  CHECK(end.each[0].items + end.each[1].items == 1);
  CHECK(end.each[0].busy_seconds + end.each[1].busy_seconds == doctest::Approx(3));
  CHECK(in_hand().empty());
}
