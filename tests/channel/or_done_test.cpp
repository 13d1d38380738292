#include "channel/or_done.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <ranges>
#include <thread>

#include "tests/channel/support.hpp"

using namespace logpipe;

static_assert(std::ranges::input_range<OrDone<std::unique_ptr<int>>>);
static_assert(std::same_as<std::ranges::range_reference_t<OrDone<int>>, int&&>);

TEST_CASE("or_done: yields everything and ends closed when the channel is closed and drained") {
  auto [sender, receiver] = make_channel<std::unique_ptr<int>>(3);
  for (int i = 0; i < 3; ++i) CHECK(sender.try_send(std::make_unique<int>(i)) == SendStatus::sent);
  sender = {};
  auto items = or_done(receiver, Context::background());
  int expected = 0;
  for (std::unique_ptr<int> item : items) CHECK(*item == expected++);
  CHECK(expected == 3);
  CHECK(items.status() == RecvStatus::closed);
}

TEST_CASE("or_done: ends at once when the context is cancelled in the middle, though items are left") {
  const auto scope = with_cancel(Context::background());
  auto [sender, receiver] = make_channel<int>(3);
  for (int i = 0; i < 3; ++i) CHECK(sender.try_send(int{i}) == SendStatus::sent);
  auto items = or_done(receiver, scope.context);
  int seen = 0;
  for (const int& item : items) {
    CHECK(item == 0);
    ++seen;
    scope.cancel();
  }
  CHECK(seen == 1);
  CHECK(items.status() == RecvStatus::aborted);
  CHECK(receiver.stats()->items() == 2);
}

TEST_CASE("or_done: a cancel wakes a loop that waits for the next item") {
  const auto scope = with_cancel(Context::background());
  auto [sender, receiver] = make_channel<int>(1);
  int seen = 0;
  std::thread loop([&, rx = std::move(receiver)]() mutable {
    for (const int& item : or_done(rx, scope.context)) seen += item;
  });
  testing::await([&, &tx = sender] { return tx.receiver_waiting(); });
  scope.cancel();
  loop.join();
  CHECK(seen == 0);
}
