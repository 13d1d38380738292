#include "channel/worker_pool.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <latch>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/channel/support.hpp"

using namespace logpipe;
using logpipe::testing::await;

namespace {

const Context kForever = Context::background();

/// Keeps a thread busy for a while that differs from item to item.
std::uint64_t spin(std::uint64_t seed) {
  volatile std::uint64_t state = seed * 0x9E3779B97F4A7C15U + 1;
  const std::uint64_t rounds = (state >> 33) % 3000;
  for (std::uint64_t i = 0; i < rounds; ++i) state = state ^ (state << 7) ^ (state >> 9);
  return state;
}

void feed(TaskGroup& group, Sender<int> sender, int count) {
  group.spawn("feed", [count, ctx = group.context(), tx = std::move(sender)]() mutable {
    for (int i = 0; i < count; ++i) {
      if (tx.send(int{i}, ctx) != SendStatus::sent) return;
    }
  });
}

std::vector<int> iota(int count) {
  std::vector<int> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

}  // namespace

TEST_CASE("worker pool: emits in the order of the input, one at a time, under uneven work") {
  for (const std::size_t workers : {1U, 2U, 4U, 8U}) {
    for (const std::size_t ahead : {1U, 3U, 8U}) {
      TaskGroup group(kForever);
      auto [sender, receiver] = make_channel<int>(4);
      feed(group, std::move(sender), 2000);
      std::vector<int> emitted;
      std::atomic<int> emitting{0};
      run_worker_pool(
          group, std::move(receiver), group.context(), {.workers = workers, .ahead = ahead},
          [](std::size_t) {
            return [](int item) {
              spin(static_cast<std::uint64_t>(item));
              return item;
            };
          },
          [&](int item) {
            CHECK(emitting.fetch_add(1) == 0);
            emitted.push_back(item);
            emitting.fetch_sub(1);
          });
      CHECK(group.wait().has_value());
      CHECK(emitted == iota(2000));
    }
  }
}

TEST_CASE("worker pool: without order everything is emitted once, as it comes") {
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(4);
  std::latch second_done(1);
  std::vector<int> emitted;
  for (int i = 0; i < 2; ++i) CHECK(sender.try_send(int{i}) == SendStatus::sent);
  run_worker_pool(
      group, std::move(receiver), group.context(), {.workers = 2, .order = Order::none},
      [&](std::size_t) {
        return [&](int item) {
          if (item == 0) second_done.wait();
          return item;
        };
      },
      [&](int item) {
        emitted.push_back(item);
        if (item == 1) second_done.count_down();
      });
  for (int i = 2; i < 500; ++i) CHECK(sender.send(int{i}, kForever) == SendStatus::sent);
  sender = {};
  CHECK(group.wait().has_value());
  CHECK(emitted.front() == 1);  // the first item could only finish after that
  std::sort(emitted.begin(), emitted.end());
  CHECK(emitted == iota(500));
}

TEST_CASE("worker pool: takes no more than `ahead` items past the emitted ones") {
  constexpr std::size_t kAhead = 5;
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(100);
  for (int i = 0; i < 50; ++i) CHECK(sender.try_send(int{i}) == SendStatus::sent);
  sender = {};
  const auto stats = receiver.stats();
  std::latch release(1);
  std::atomic<int> worked{0};
  std::vector<int> emitted;
  run_worker_pool(
      group, std::move(receiver), group.context(), {.workers = 3, .ahead = kAhead},
      [&](std::size_t) {
        return [&](int item) {
          if (item == 0) release.wait();  // nothing can be emitted before this one
          worked.fetch_add(1);
          return item;
        };
      },
      [&](int item) { emitted.push_back(item); });
  await([&] { return worked.load() == static_cast<int>(kAhead) - 1; });
  CHECK(stats->items() == 50 - kAhead);
  CHECK(emitted.empty());
  release.count_down();
  CHECK(group.wait().has_value());
  CHECK(emitted == iota(50));
}

TEST_CASE("worker pool: a slow emit holds up the others only through the window") {
  constexpr std::size_t kAhead = 4;
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(100);
  for (int i = 0; i < 20; ++i) CHECK(sender.try_send(int{i}) == SendStatus::sent);
  sender = {};
  std::atomic<int> worked{0};
  int emitted = 0;
  run_worker_pool(
      group, std::move(receiver), group.context(), {.workers = 2, .ahead = kAhead},
      [&](std::size_t) {
        return [&](int item) {
          worked.fetch_add(1);
          return item;
        };
      },
      [&](int item) {
        if (item == 0) await([&] { return worked.load() == static_cast<int>(kAhead); });
        ++emitted;
      });
  CHECK(group.wait().has_value());
  CHECK(emitted == 20);
}

TEST_CASE("worker pool: each worker is made on its own thread and keeps its scratch") {
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(4);
  feed(group, std::move(sender), 300);
  std::mutex mutex;
  std::set<std::thread::id> makers;
  std::set<std::size_t> indices;
  int total = 0;
  run_worker_pool(
      group, std::move(receiver), group.context(), {.workers = 3},
      [&](std::size_t index) {
        std::lock_guard lock(mutex);
        makers.insert(std::this_thread::get_id());
        indices.insert(index);
        return [home = std::this_thread::get_id(), scratch = std::make_unique<int>(0)](int) {
          CHECK(home == std::this_thread::get_id());
          ++*scratch;
          return 1;
        };
      },
      [&](int one) { total += one; });
  CHECK(group.wait().has_value());
  CHECK(total == 300);
  CHECK(makers.size() == 3);
  CHECK(indices == std::set<std::size_t>{0, 1, 2});
}

TEST_CASE("worker pool: on_done comes last and once, then everything emit owns is gone") {
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(4);
  auto [out, results] = make_channel<int>(1000);
  feed(group, std::move(sender), 100);
  std::atomic<int> done{0};
  int emitted = 0;
  run_worker_pool(
      group, std::move(receiver), group.context(), {.workers = 4},
      [](std::size_t) { return [](int item) { return item; }; },
      [&emitted, tx = std::move(out)](int item) mutable {
        ++emitted;
        CHECK(tx.try_send(std::move(item)) == SendStatus::sent);
      },
      [&, &rx = results](const Status& status) {
        CHECK(status.has_value());
        CHECK(emitted == 100);
        CHECK(rx.stats()->items() == 100);
        done.fetch_add(1);
      });
  CHECK(group.wait().has_value());
  CHECK(done.load() == 1);
  int count = 0;
  for (const int& item : results) CHECK(item == count++);  // ends only because the pool's sender has gone
  CHECK(count == 100);
}

TEST_CASE("worker pool: a failed emit ends the pool with that failure, and nothing is emitted after it") {
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(4);
  feed(group, std::move(sender), 100000);
  std::vector<int> emitted;
  Status outcome;
  run_worker_pool(
      group, std::move(receiver), group.context(), {.workers = 4},
      [](std::size_t) { return [](int item) { return item; }; },
      [&](int item) -> Status {
        emitted.push_back(item);
        if (item == 20) return fail(ErrorKind::io, "disk full");
        return {};
      },
      [&](Status status) noexcept { outcome = std::move(status); });
  const Status status = group.wait();
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().message == "disk full");
  REQUIRE_FALSE(outcome.has_value());
  CHECK(outcome.error().message == "disk full");
  CHECK(emitted == iota(21));
}

TEST_CASE("worker pool: a worker that throws ends the pool and is named by the group") {
  for (const Order order : {Order::source, Order::none}) {
    TaskGroup group(kForever);
    auto [sender, receiver] = make_channel<int>(4);
    // The run context is not the group's here: the pool must end by itself.
    const auto run = with_cancel(kForever);
    feed(group, std::move(sender), 100000);
    Status outcome;
    run_worker_pool(
        group, std::move(receiver), run.context, {.workers = 4, .order = order, .name = "enrich"},
        [](std::size_t) {
          return [](int item) {
            if (item == 50) throw std::runtime_error("bad table");
            return item;
          };
        },
        [](int) {}, [&](const Status& status) noexcept { outcome = status; });
    const Status status = group.wait();
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().kind == ErrorKind::internal);
    CHECK(status.error().message.starts_with("task enrich-"));
    CHECK(status.error().message.ends_with(": bad table"));
    CHECK_FALSE(outcome.has_value());
    CHECK_FALSE(run.context.done());
  }
}

TEST_CASE("worker pool: a throwing emit or a throwing make_worker ends the pool, too") {
  {
    TaskGroup group(kForever);
    auto [sender, receiver] = make_channel<int>(4);
    feed(group, std::move(sender), 100000);
    run_worker_pool(
        group, std::move(receiver), kForever, {.workers = 3}, [](std::size_t) { return [](int item) { return item; }; },
        [](int item) {
          if (item == 9) throw std::runtime_error("emit");
        });
    CHECK_FALSE(group.wait().has_value());
  }
  {
    TaskGroup group(kForever);
    auto [sender, receiver] = make_channel<int>(4);
    run_worker_pool(
        group, std::move(receiver), kForever, {.workers = 3},
        [](std::size_t index) {
          if (index == 1) throw std::runtime_error("make");
          return [](int item) { return item; };
        },
        [](int) {});
    const Status status = group.wait();
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().message == "task worker-1: make");
  }
}

TEST_CASE("worker pool: an abort in the middle ends at once with the context's cause and destroys what is left") {
  TaskGroup group(kForever);
  const auto run = with_cancel(group.context());
  auto token = std::make_shared<int>(0);
  auto [sender, receiver] = make_channel<std::shared_ptr<int>>(8);
  for (int i = 0; i < 8; ++i) CHECK(sender.try_send(std::shared_ptr<int>(token)) == SendStatus::sent);
  std::latch emitting(1);
  std::latch cancelled(1);
  int emitted = 0;
  run_worker_pool(
      group, std::move(receiver), run.context, {.workers = 2},
      [](std::size_t) { return [](std::shared_ptr<int> item) { return item; }; },
      [&](const std::shared_ptr<int>&) {
        ++emitted;
        emitting.count_down();
        cancelled.wait();
      });
  emitting.wait();
  run.cancel("drain deadline");
  cancelled.count_down();
  const Status status = group.wait();
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().kind == ErrorKind::canceled);
  CHECK(status.error().message == "drain deadline");
  CHECK(emitted == 1);
  sender = {};
  CHECK(token.use_count() == 1);
}

TEST_CASE("worker pool: an abort wakes workers that wait for input") {
  TaskGroup group(kForever);
  const auto run = with_cancel(group.context());
  auto [sender, receiver] = make_channel<int>(1);
  run_worker_pool(
      group, std::move(receiver), run.context, {.workers = 4},
      [](std::size_t) { return [](int item) { return item; }; }, [](int) {});
  await([&, &tx = sender] { return tx.receiver_waiting(); });
  run.cancel("stop");
  CHECK(group.wait().error().message == "stop");
}

TEST_CASE("worker pool: a closed and drained input is a success even if the context ends right after") {
  TaskGroup group(kForever);
  const auto run = with_cancel(group.context());
  auto [sender, receiver] = make_channel<int>(1);
  CHECK(sender.try_send(1) == SendStatus::sent);
  sender = {};
  run_worker_pool(
      group, std::move(receiver), run.context, {.workers = 1},
      [](std::size_t) { return [](int item) { return item; }; }, [](int) {},
      [&](const Status& status) noexcept {
        CHECK(status.has_value());
        run.cancel("afterwards");
      });
  CHECK(group.wait().has_value());
}

TEST_CASE("worker pool: the composed form keeps order and closes behind the last result") {
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(4);
  feed(group, std::move(sender), 1000);
  auto doubled = worker_pool(group, group.context(), std::move(receiver), {.workers = 4},
                             [](int item) { return std::make_unique<int>(2 * item); });
  int count = 0;
  for (const auto& item : doubled) CHECK(*item == 2 * count++);
  CHECK(count == 1000);
  CHECK(group.wait().has_value());
}

TEST_CASE("worker pool: the composed form fails with closed when nobody receives") {
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(4);
  feed(group, std::move(sender), 100000);
  {
    auto results =
        worker_pool(group, group.context(), std::move(receiver), {.workers = 2}, [](int item) { return item; });
    CHECK(results.recv(kForever) == 0);
  }
  const Status status = group.wait();
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().kind == ErrorKind::closed);
}

TEST_CASE("worker pool: two hundred starts and stops leave no thread and no descriptor behind") {
  const std::size_t threads = testing::thread_count();
  const std::size_t descriptors = testing::descriptor_count();
  for (int round = 0; round < 200; ++round) {
    TaskGroup group(kForever);
    const auto run = with_timeout(group.context(), std::chrono::hours(1));
    const auto token = run.context.token();
    auto [sender, receiver] = make_channel<int>(2);
    feed(group, std::move(sender), 20);
    auto results = worker_pool(group, run.context, std::move(receiver), {.workers = 3}, [](int item) { return item; });
    if (round % 2 == 0) {
      int count = 0;
      for (const int& item : results) CHECK(item == count++);
      CHECK(count == 20);
      CHECK(group.wait().has_value());
    } else {
      run.cancel("half-way");
      static_cast<void>(group.wait());
    }
  }
  await([&] { return testing::thread_count() == threads; });  // a joined thread may show for an instant longer
  CHECK(testing::descriptor_count() == descriptors);
}
