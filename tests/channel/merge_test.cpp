#include "channel/merge.hpp"

#include <doctest/doctest.h>

#include <memory>
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
