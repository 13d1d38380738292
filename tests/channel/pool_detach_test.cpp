#include "channel/pool_detach.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "channel/worker_pool.hpp"

using namespace logpipe;

namespace {

const Context kForever = Context::background();

std::vector<int> iota(int count) {
  std::vector<int> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

/// Runs one pool over `inputs` until it has emitted `until` items, detaches it, and returns what it left.
std::vector<Receiver<int>> run_until(std::vector<Receiver<int>> inputs, const WorkerPoolOptions& options,
                                     std::vector<int>& emitted, std::size_t until) {
  TaskGroup group(kForever);
  PoolHooks<int> hooks;
  hooks.detach = std::make_shared<PoolDetach<int>>();
  Status ended = fail(ErrorKind::internal, "on_done was not called");
  const auto detach = hooks.detach;
  run_worker_pool(
      group, Merged<int>(std::move(inputs)), group.context(), options,
      [](std::size_t) { return [](int&& item) { return item; }; },
      [&emitted, until, detach](int&& item) {
        emitted.push_back(item);
        if (emitted.size() >= until) detach->request();
      },
      [&ended](Status status) { ended = std::move(status); }, hooks);
  CHECK(group.wait().has_value());
  CHECK(ended.has_value());
  return detach->take();
}

}  // namespace

TEST_CASE("pools that take over from each other emit everything once and in order") {
  for (const std::uint32_t seed : {1U, 2U, 3U, 4U}) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    constexpr int kItems = 5000;
    for (const bool scales : {false, true}) {
      TaskGroup feeder(kForever);
      auto [sender, receiver] = make_channel<int>(8);
      feeder.spawn("feed", [tx = std::move(sender)]() mutable {
        for (int i = 0; i < kItems; ++i) {
          if (tx.send(int{i}, kForever) != SendStatus::sent) return;
        }
      });
      std::vector<Receiver<int>> inputs;
      inputs.push_back(std::move(receiver));
      std::vector<int> emitted;
      std::size_t pools = 0;
      while (!inputs.empty()) {
        const std::size_t until = emitted.size() + 1 + random() % 200;
        const WorkerPoolOptions options{.workers = 3, .min_workers = scales ? 1U : 3U, .ahead = 4};
        inputs = run_until(std::move(inputs), options, emitted, until);
        ++pools;
        if (emitted.size() >= kItems) inputs.clear();
      }
      CHECK(emitted == iota(kItems));
      CHECK(pools > 10);
      CHECK(feeder.wait().has_value());
    }
  }
}

TEST_CASE("a pool detached while it waits for items ends at once and leaves its inputs open") {
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(1);
  PoolHooks<int> hooks;
  hooks.detach = std::make_shared<PoolDetach<int>>();
  std::latch emitted(1);
  run_worker_pool(
      group, std::move(receiver), group.context(), {.workers = 2},
      [](std::size_t) { return [](int&& item) { return item; }; }, [&emitted](int&&) { emitted.count_down(); },
      [](const Status&) noexcept {}, hooks);
  CHECK(sender.send(1, kForever) == SendStatus::sent);
  emitted.wait();
  hooks.detach->request();
  CHECK(group.wait().has_value());
  std::vector<Receiver<int>> left = hooks.detach->take();
  REQUIRE(left.size() == 1);
  CHECK(sender.try_send(2) == SendStatus::sent);
  CHECK(left[0].try_recv() == 2);
  CHECK(hooks.detach->take().empty());
}

TEST_CASE("a pool that fails closes its inputs, detachable or not") {
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(1);
  PoolHooks<int> hooks;
  hooks.detach = std::make_shared<PoolDetach<int>>();
  run_worker_pool(
      group, std::move(receiver), group.context(), {.workers = 1},
      [](std::size_t) { return [](int&& item) { return item; }; },
      [](int&&) -> Status { return fail(ErrorKind::io, "no room"); }, [](const Status&) noexcept {}, hooks);
  CHECK(sender.send(1, kForever) == SendStatus::sent);
  CHECK_FALSE(group.wait().has_value());
  CHECK(hooks.detach->take().empty());
  CHECK(sender.send(2, kForever) == SendStatus::closed);
}

TEST_CASE("a pool asked to detach before it began takes nothing") {
  TaskGroup group(kForever);
  auto [sender, receiver] = make_channel<int>(1);
  CHECK(sender.try_send(7) == SendStatus::sent);
  PoolHooks<int> hooks;
  hooks.detach = std::make_shared<PoolDetach<int>>();
  hooks.detach->request();
  std::atomic<int> emitted{0};
  run_worker_pool(
      group, std::move(receiver), group.context(), {.workers = 2},
      [](std::size_t) { return [](int&& item) { return item; }; }, [&emitted](int&&) { ++emitted; },
      [](const Status&) noexcept {}, hooks);
  CHECK(group.wait().has_value());
  std::vector<Receiver<int>> left = hooks.detach->take();
  REQUIRE(left.size() == 1);
  CHECK(left[0].try_recv() == 7);
  CHECK(emitted == 0);
}
