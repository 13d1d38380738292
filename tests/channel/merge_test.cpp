#include "channel/merge.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "tests/channel/support.hpp"

using namespace logpipe;

namespace {
using Item = std::unique_ptr<std::pair<int, int>>;  // input, number
}

TEST_CASE("merge: ends when all inputs have, with everything once and each input in order") {
  constexpr int kInputs = 5;
  constexpr int kItems = 200;
  TaskGroup group(Context::background());
  std::vector<Receiver<Item>> inputs;
  for (int input = 0; input < kInputs; ++input) {
    auto [sender, receiver] = make_channel<Item>(2);
    inputs.push_back(std::move(receiver));
    group.spawn("source", [input, ctx = group.context(), tx = std::move(sender)]() mutable -> Status {
      for (int i = 0; i < kItems; ++i) {
        Item item = std::make_unique<std::pair<int, int>>(input, i);
        if (tx.send(std::move(item), ctx) != SendStatus::sent) return fail(ErrorKind::internal, "not sent");
      }
      return {};
    });
  }
  Receiver<Item> merged = merge(group, group.context(), std::move(inputs));
  std::vector<int> next(kInputs, 0);
  for (const Item& item : merged) CHECK(item->second == next[static_cast<std::size_t>(item->first)]++);
  for (const int count : next) CHECK(count == kItems);
  CHECK(group.wait().has_value());
}

TEST_CASE("merge: of nothing ends at once") {
  TaskGroup group(Context::background());
  Receiver<Item> merged = merge(group, group.context(), std::vector<Receiver<Item>>());
  CHECK_FALSE(merged.recv(Context::background()).has_value());
}

TEST_CASE("merge: fails with closed when nobody receives, with the cause when cancelled") {
  {
    TaskGroup group(Context::background());
    auto [sender, receiver] = make_channel<Item>(1);
    std::vector<Receiver<Item>> inputs;
    inputs.push_back(std::move(receiver));
    { const auto dropped = merge(group, group.context(), std::move(inputs)); }
    static_cast<void>(sender.try_send(std::make_unique<std::pair<int, int>>()));
    const Status status = group.wait();
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().kind == ErrorKind::closed);
  }
  {
    TaskGroup group(Context::background());
    auto [sender, receiver] = make_channel<Item>(1);
    std::vector<Receiver<Item>> inputs;
    inputs.push_back(std::move(receiver));
    const auto merged = merge(group, group.context(), std::move(inputs));
    group.cancel("enough");
    const Status status = group.wait();
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().kind == ErrorKind::canceled);
    CHECK(status.error().message == "enough");
  }
}

TEST_CASE("merged: yields everything of all inputs, each in its order, and closes with the last of them") {
  std::vector<Receiver<int>> inputs;
  std::vector<std::thread> senders;
  constexpr int kInputs = 5;
  constexpr int kItems = 2000;
  for (int i = 0; i < kInputs; ++i) {
    auto [sender, receiver] = make_channel<int>(3);
    inputs.push_back(std::move(receiver));
    senders.emplace_back([i, tx = std::move(sender)]() mutable {
      // The first is empty, the others differ in length, so that they close one after the other.
      for (int n = 0; n < i * kItems; ++n) {
        if (tx.send(n * kInputs + i, Context::background()) != SendStatus::sent) return;
      }
    });
  }
  Merged<int> merged(std::move(inputs));
  std::vector<int> next(kInputs, 0);
  std::optional<int> item;
  while (merged.recv(item, Context::background()) == RecvStatus::received) {
    const auto input = static_cast<std::size_t>(*item % kInputs);
    REQUIRE(*item / kInputs == next[input]);
    ++next[input];
  }
  for (int i = 0; i < kInputs; ++i) CHECK(next[static_cast<std::size_t>(i)] == i * kItems);
  CHECK(merged.recv(item, Context::background()) == RecvStatus::closed);
  for (std::thread& sender : senders) sender.join();
}

TEST_CASE("merged: waits with its context, says when time is up, and whoever sends sees that somebody waits") {
  auto first = make_channel<int>(1);
  auto second = make_channel<int>(1);
  std::vector<Receiver<int>> inputs;
  inputs.push_back(std::move(first.receiver));
  inputs.push_back(std::move(second.receiver));
  Merged<int> merged(std::move(inputs));
  std::optional<int> item;
  CHECK_FALSE(merged.try_recv().has_value());
  CHECK(merged.recv(item, Context::background(), std::chrono::steady_clock::now()) == RecvStatus::timeout);
  auto [ctx, cancel] = with_cancel(Context::background());
  std::thread receiving([&, ctx = ctx] { CHECK(merged.recv(item, ctx) == RecvStatus::aborted); });
  while (!first.sender.receiver_waiting() || !second.sender.receiver_waiting()) std::this_thread::yield();
  cancel("enough");
  receiving.join();
  CHECK_FALSE(first.sender.receiver_waiting());
  CHECK(second.sender.send(7, Context::background()) == SendStatus::sent);
  REQUIRE(merged.stats().size() == 2);
  CHECK(merged.stats()[1]->items() == 1);
  CHECK(merged.try_recv() == 7);
}

TEST_CASE("merged: a busy input does not keep another one waiting") {
  auto busy = make_channel<int>(1000);
  auto quiet = make_channel<int>(1);
  for (int i = 0; i < 1000; ++i) REQUIRE(busy.sender.send(1, Context::background()) == SendStatus::sent);
  REQUIRE(quiet.sender.send(2, Context::background()) == SendStatus::sent);
  std::vector<Receiver<int>> inputs;
  inputs.push_back(std::move(busy.receiver));
  inputs.push_back(std::move(quiet.receiver));
  Merged<int> merged(std::move(inputs));
  int before = 0;
  std::optional<int> item;
  while (merged.recv(item, Context::background()) == RecvStatus::received && *item == 1) ++before;
  CHECK(*item == 2);
  CHECK(before < 64);  // once in 2^64 it would be that unlucky
}
