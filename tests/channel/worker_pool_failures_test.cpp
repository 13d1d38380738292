#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "channel/worker_pool.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;

namespace {

const Context kForever = Context::background();

Receiver<int> numbers(int count) {
  auto [sender, receiver] = make_channel<int>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) CHECK(sender.try_send(int{i}) == SendStatus::sent);
  return std::move(receiver);
}

}  // namespace

TEST_CASE("worker pool: a failed Result stops the pool with its error, by default") {
  TaskGroup group(kForever);
  Status outcome;
  run_worker_pool(
      group, numbers(100), group.context(), {.workers = 4},
      [](std::size_t) {
        return [](int item) -> Result<std::string> {
          if (item == 20) return fail(ErrorKind::invalid, "no such key");
          return std::to_string(item);
        };
      },
      [](const std::string&) {}, [&](Status status) noexcept { outcome = std::move(status); });
  const Status status = group.wait();
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().kind == ErrorKind::invalid);
  CHECK(status.error().message == "no such key");
  REQUIRE_FALSE(outcome.has_value());
  CHECK(outcome.error().message == "no such key");
}

TEST_CASE("worker pool: with keep_going failed items and exceptions are handed over in their turn, and counted") {
  for (const Order order : {Order::source, Order::none, Order::key}) {
    TaskGroup group(kForever);
    const auto stats = std::make_shared<PoolStats>();
    std::vector<int> seen;
    std::vector<std::string> errors;
    std::atomic<int> inside{0};
    run_worker_pool(
        group, numbers(300), group.context(),
        {.workers = 4, .order = order, .name = "lookup", .on_failure = OnFailure::keep_going, .stats = stats},
        [](std::size_t) {
          return [](int item) -> Result<int> {
            if (item % 10 == 3) return fail(ErrorKind::io, "timed out");
            if (item % 10 == 7) throw std::runtime_error("boom");
            return item;
          };
        },
        [&](int item) {
          CHECK(inside.fetch_add(1) == 0);
          seen.push_back(item);
          inside.fetch_sub(1);
        },
        PoolHooks<int>{.key = [](const int& item) { return static_cast<std::uint64_t>(item % 3); },
                       .on_failed =
                           [&](int item, const Error& error) {
                             CHECK(inside.fetch_add(1) == 0);
                             seen.push_back(item);
                             errors.push_back(error.message);
                             inside.fetch_sub(1);
                           }});
    CHECK(group.wait().has_value());
    CHECK(stats->snapshot().failed == 60);
    CHECK(errors.size() == 60);
    CHECK(std::count(errors.begin(), errors.end(), "timed out") == 30);
    CHECK(std::count(errors.begin(), errors.end(), "lookup: boom") == 30);
    CHECK(seen.size() == 300);
    if (order == Order::source) CHECK(std::is_sorted(seen.begin(), seen.end()));
    for (int key = 0; order == Order::key && key < 3; ++key) {
      std::vector<int> of_key;
      std::copy_if(seen.begin(), seen.end(), std::back_inserter(of_key), [&](int item) { return item % 3 == key; });
      CHECK(of_key.size() == 100);
      CHECK(std::is_sorted(of_key.begin(), of_key.end()));
    }
    std::sort(seen.begin(), seen.end());
    for (int i = 0; i < 300; ++i) REQUIRE(seen[static_cast<std::size_t>(i)] == i);
  }
}

TEST_CASE("worker pool: on_failed gets the item whole where the worker did not move from it") {
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<std::unique_ptr<int>>(2);
  CHECK(sender.try_send(std::make_unique<int>(5)) == SendStatus::sent);
  sender = {};
  int got = 0;
  run_worker_pool(
      group, std::move(receiver), group.context(), {.on_failure = OnFailure::keep_going},
      [](std::size_t) {
        return [](std::unique_ptr<int>&& item) -> Result<std::unique_ptr<int>> {
          if (*item == 5) return fail(ErrorKind::io, "refused");
          return std::move(item);
        };
      },
      [](const std::unique_ptr<int>&) {},
      {.on_failed = [&](std::unique_ptr<int>&& item, const Error&) { got = *item; }});
  CHECK(group.wait().has_value());
  CHECK(got == 5);
}

TEST_CASE("worker pool: a failed emit ends the pool with keep_going, too") {
  TaskGroup group(kForever);
  run_worker_pool(
      group, numbers(100), group.context(), {.workers = 2, .on_failure = OnFailure::keep_going},
      [](std::size_t) { return [](int item) { return item; }; },
      [](int item) -> Status {
        if (item == 9) return fail(ErrorKind::io, "disk full");
        return {};
      });
  CHECK(group.wait().error().message == "disk full");
}

TEST_CASE("worker pool: by key, an item that takes long holds up its own key only") {
  TaskGroup group(kForever);
  std::latch others(1);
  std::vector<int> emitted;
  run_worker_pool(
      group, numbers(12), group.context(), {.workers = 2, .order = Order::key, .ahead = 12},
      [&](std::size_t) {
        return [&](int item) {
          if (item == 0) others.wait();
          return item;
        };
      },
      [&](int item) {
        emitted.push_back(item);
        if (emitted.size() == 6) others.count_down();
      },
      PoolHooks<int>{.key = [](const int& item) { return static_cast<std::uint64_t>(item % 2); }});
  CHECK(group.wait().has_value());
  CHECK(emitted == std::vector<int>{1, 3, 5, 7, 9, 11, 0, 2, 4, 6, 8, 10});
}

TEST_CASE("worker pool: the composed form takes a Result apart") {
  TaskGroup group(kForever);
  std::atomic<int> failed{0};
  auto results = worker_pool(group, group.context(), numbers(100), {.workers = 3, .on_failure = OnFailure::keep_going},
                             [](int item) -> Result<int> {
                               if (item % 4 == 0) return fail(ErrorKind::invalid, "divisible by four");
                               return item;
                             },
                             {.items = 4}, {.on_failed = [&](int, const Error&) { failed.fetch_add(1); }});
  int count = 0;
  for (const int& item : results) {
    CHECK(item % 4 != 0);
    ++count;
  }
  CHECK(count == 75);
  CHECK(group.wait().has_value());
  CHECK(failed.load() == 25);
}
