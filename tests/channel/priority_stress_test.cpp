#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "channel/priority_channel.hpp"
#include "channel/select.hpp"
#include "channel/task_group.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;

namespace {

#if defined(LOGPIPE_TSAN)
constexpr int kItems = 8000;
#else
constexpr int kItems = 40000;
#endif
constexpr std::size_t kLanes = 4;

struct Task {
  std::size_t lane{0};
  int producer{0};
  int number{0};
  std::unique_ptr<int> owned{};
};
std::size_t priority_of(const Task& task) {
  return task.lane;
}

}  // namespace

TEST_CASE("stress: through a priority channel everything arrives once and in order within a sender's lane") {
  std::thread([] {}).join();  // a sanitizer's own thread comes with the first one
  const std::size_t threads_before = testing::thread_count();
  for (const auto& [producers, consumers] : {std::pair{1, 1}, {4, 4}, {16, 1}, {64, 64}}) {
    CAPTURE(producers);
    CAPTURE(consumers);
    const int items = kItems / producers;
    std::vector<std::atomic<int>> seen(static_cast<std::size_t>(producers * items));
    {
      TaskGroup group(Context::background());
      auto [sender, receiver] = make_priority_channel<Task>({.items = 13}, {.lanes = kLanes, .max_overtakes = 20});
      for (int p = 0; p < producers; ++p) {
        group.spawn("producer", [&, p, ctx = group.context(), tx = sender.clone()]() mutable -> Status {
          std::mt19937_64 random(static_cast<std::uint64_t>(p));
          for (int i = 0; i < items; ++i) {
            Task task{random() % kLanes, p, i, std::make_unique<int>(i)};
            const auto drop = [&](Task&& old) {
              seen[static_cast<std::size_t>(old.producer * items + old.number)].fetch_add(1);
            };
            SendStatus status = SendStatus::full;
            if (i % 7 == 0) status = tx.send_displacing(std::move(task), drop);
            if (status == SendStatus::full && i % 3 == 0) {
              status =
                  select(ctx, on_send(tx, task)).status == SelectStatus::sent ? SendStatus::sent : SendStatus::aborted;
            }
            if (status == SendStatus::full) status = tx.send(std::move(task), ctx);
            if (status != SendStatus::sent) return fail(ErrorKind::internal, "not sent");
          }
          return {};
        });
      }
      for (int c = 0; c < consumers; ++c) {
        group.spawn("consumer", [&, c, rx = receiver.clone(), ctx = group.context()]() mutable -> Status {
          std::vector<std::array<int, kLanes>> last(static_cast<std::size_t>(producers), {-1, -1, -1, -1});
          for (;;) {
            Task task;
            const bool received = c % 2 == 0 ? rx.recv(task, ctx) == RecvStatus::received
                                             : select(ctx, on_recv(rx, task)).status == SelectStatus::received;
            if (!received) return {};
            if (!task.owned) return fail(ErrorKind::internal, "hollow");
            int& before = last[static_cast<std::size_t>(task.producer)][task.lane];
            if (before >= task.number) return fail(ErrorKind::internal, "out of order");
            before = task.number;
            seen[static_cast<std::size_t>(task.producer * items + task.number)].fetch_add(1);
          }
        });
      }
      sender = {};
      receiver = {};
      const Status status = group.wait();
      CHECK_MESSAGE(status.has_value(), (status ? "" : status.error().message));
    }
    for (const auto& count : seen) REQUIRE(count.load() == 1);
  }
  testing::await([&] { return testing::thread_count() <= threads_before; });
}
