#include "channel/broadcast.hpp"

#include <doctest/doctest.h>

#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <type_traits>
#include <vector>

#include "channel/select.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using logpipe::testing::await;
using End = logpipe::OutputState::End;

namespace {

const Context kForever = Context::background();
using Item = std::shared_ptr<const int>;
Item item(int value) {
  return std::make_shared<const int>(value);
}
std::vector<int> drain(Receiver<Item>& receiver) {
  std::vector<int> values;
  while (const auto each = receiver.try_recv()) values.push_back(**each);
  return values;
}
static_assert(!std::is_copy_constructible_v<BroadcastInput<Item>>);
static_assert(std::is_copy_constructible_v<Broadcast<Item>>);

}  // namespace

TEST_CASE("broadcast: an output gets what is sent while it is there, and all share one item") {
  BroadcastInput<Item> input;
  const Broadcast<Item> hub = input.broadcast();
  CHECK(input.send(item(1), kForever) == SendStatus::sent);  // to nobody
  auto first = hub.join();
  CHECK(input.send(item(2), kForever) == SendStatus::sent);
  auto second = hub.join();
  const Item third = item(3);
  CHECK(input.send(third, kForever) == SendStatus::sent);
  CHECK(third.use_count() == 3);
  CHECK(hub.outputs() == 2);
  CHECK(drain(first.receiver) == std::vector{2, 3});
  CHECK(drain(second.receiver) == std::vector{3});
}

TEST_CASE("broadcast: dropping the input closes all outputs behind what they have, and who joins later too") {
  std::optional<BroadcastInput<Item>> input(std::in_place);
  const Broadcast<Item> hub = input->broadcast();
  auto output = hub.join();
  CHECK(input->send(item(1), kForever) == SendStatus::sent);
  input.reset();
  CHECK(output.state->end() == End::input_closed);
  CHECK(**output.receiver.recv(kForever) == 1);
  Item last;
  CHECK(output.receiver.recv(last, kForever) == RecvStatus::closed);
  auto late = hub.join();
  CHECK(late.receiver.recv(last, kForever) == RecvStatus::closed);
  CHECK(late.state->end() == End::input_closed);
  CHECK(hub.outputs() == 0);
}

TEST_CASE("broadcast: each output has its policy, and what it misses is counted") {
  BroadcastInput<Item> input;
  const Broadcast<Item> hub = input.broadcast();
  auto oldest = hub.join({.capacity = {.items = 2}, .when_full = WhenFull::drop_oldest});
  auto newest = hub.join({.capacity = {.items = 2}, .when_full = WhenFull::drop_newest});
  auto fragile = hub.join({.capacity = {.items = 2}, .when_full = WhenFull::disconnect});
  for (int i = 1; i <= 5; ++i) CHECK(input.send(item(i), kForever) == SendStatus::sent);
  CHECK(drain(oldest.receiver) == std::vector{4, 5});
  CHECK(drain(newest.receiver) == std::vector{1, 2});
  CHECK(drain(fragile.receiver) == std::vector{1, 2});
  CHECK(oldest.state->missed() == 3);
  CHECK(newest.state->missed() == 3);
  CHECK(fragile.state->missed() == 1);  // the one that found it full; then it was no output any more
  CHECK(fragile.state->end() == End::disconnected);
  Item last;
  CHECK(fragile.receiver.try_recv(last) == RecvStatus::closed);
  CHECK(oldest.state->end() == End::open);
  CHECK(hub.outputs() == 2);
}

TEST_CASE("broadcast: an output that blocks holds up the next item only, and others may join and leave meanwhile") {
  BroadcastInput<Item> input;
  const Broadcast<Item> hub = input.broadcast();
  auto blocking = hub.join({.capacity = {.items = 1}});
  auto wide = hub.join();
  CHECK(input.send(item(1), kForever) == SendStatus::sent);
  SendStatus status = SendStatus::full;
  std::thread sender([&] { status = input.send(item(2), kForever); });
  await([&] { return wide.receiver.stats()->items() == 2; });
  auto late = hub.join();
  wide.receiver = {};
  CHECK(hub.outputs() == 2);
  CHECK(wide.state->end() == End::left);
  CHECK(drain(late.receiver).empty());
  CHECK(**blocking.receiver.recv(kForever) == 1);
  sender.join();
  CHECK(status == SendStatus::sent);
}

TEST_CASE("broadcast: an output that leaves while the input waits for it ends that wait") {
  BroadcastInput<Item> input;
  auto leaving = input.broadcast().join({.capacity = {.items = 1}});
  CHECK(input.send(item(1), kForever) == SendStatus::sent);
  const auto stats = leaving.receiver.stats();
  SendStatus status = SendStatus::full;
  std::thread sender([&] { status = input.send(item(2), kForever); });
  await([&] { return stats->blocked_seconds() > 0; });
  leaving.receiver = {};
  sender.join();
  CHECK(status == SendStatus::sent);
  CHECK(leaving.state->end() == End::left);
  CHECK(input.broadcast().outputs() == 0);
}

TEST_CASE("broadcast: a cancelled send counts the item as missed exactly where it did not arrive") {
  BroadcastInput<Item> input;
  auto full = input.broadcast().join({.capacity = {.items = 1}});
  auto wide = input.broadcast().join();
  CHECK(input.send(item(1), kForever) == SendStatus::sent);
  const auto scope = with_cancel(kForever);
  SendStatus status = SendStatus::full;
  std::thread sender([&] { status = input.send(item(2), scope.context); });
  await([&] { return wide.receiver.stats()->items() == 2; });
  scope.cancel();
  sender.join();
  CHECK(status == SendStatus::aborted);
  CHECK(full.state->missed() == 1);
  CHECK(wide.state->missed() == 0);
}

TEST_CASE("broadcast: outputs that come and go while nothing is sent leave nothing behind") {
  BroadcastInput<Item> input;
  const Broadcast<Item> hub = input.broadcast();
  const std::size_t descriptors = testing::descriptor_count();
  std::vector<std::weak_ptr<const ChannelStats>> channels;
  for (int i = 0; i < 1000; ++i) channels.push_back(hub.join().receiver.stats());
  CHECK(hub.outputs() == 0);
  for (const auto& channel : channels) CHECK(channel.expired());
  CHECK(testing::descriptor_count() == descriptors);
}

TEST_CASE("broadcast: an output can stand in a select, and the loop closes it with its input") {
  auto [sender, receiver] = make_channel<Item>(4);
  BroadcastInput<Item> input;
  auto output = input.broadcast().join();
  for (int i = 0; i < 3; ++i) CHECK(sender.try_send(item(i)) == SendStatus::sent);
  sender = {};
  CHECK(broadcast(kForever, std::move(receiver), std::move(input)).has_value());
  Item got;
  for (int i = 0; i < 3; ++i) {
    CHECK(select(kForever, on_recv(output.receiver, got)).status == SelectStatus::received);
    CHECK(*got == i);
  }
  CHECK(select(kForever, on_recv(output.receiver, got)).status == SelectStatus::closed);
  CHECK(output.state->end() == End::input_closed);

  auto [more, rest] = make_channel<Item>(1);
  const auto scope = with_cancel(kForever);
  scope.cancel("drain deadline");
  const Status status = broadcast(scope.context, std::move(rest), BroadcastInput<Item>());
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().message == "drain deadline");
}

TEST_CASE("broadcast: under random schedules every output does what a plain list would do") {
  struct Modelled {
    BroadcastOutput<Item> output;
    WhenFull when_full;
    std::size_t capacity;
    std::deque<int> inside{};
    std::uint64_t missed{0};
    bool open{true};
  };
  const auto scope = with_cancel(kForever);
  scope.cancel();  // an output that blocks gives up at once: one thread cannot wait for itself
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    BroadcastInput<Item> input;
    std::vector<Modelled> outputs;
    for (int step = 0; step < 300; ++step) {
      const std::uint64_t dice = random() % 10;
      if (dice == 0 && outputs.size() < 8) {
        const auto when_full = static_cast<WhenFull>(random() % 4);
        const std::size_t capacity = 1 + random() % 4;
        outputs.push_back({input.broadcast().join({{.items = capacity}, when_full}), when_full, capacity});
      } else if (dice == 1 && !outputs.empty()) {
        outputs.erase(outputs.begin() + static_cast<std::ptrdiff_t>(random() % outputs.size()));
      } else if (dice < 6) {
        bool aborted = false;
        for (Modelled& each : outputs) {
          if (!each.open) continue;
          if (each.inside.size() < each.capacity) {
            each.inside.push_back(step);
            continue;
          }
          ++each.missed;
          aborted = aborted || each.when_full == WhenFull::block;
          each.open = each.when_full != WhenFull::disconnect;
          if (each.when_full != WhenFull::drop_oldest) continue;
          each.inside.pop_front();
          each.inside.push_back(step);
        }
        REQUIRE(input.send(item(step), scope.context) == (aborted ? SendStatus::aborted : SendStatus::sent));
      } else if (!outputs.empty()) {
        Modelled& each = outputs[random() % outputs.size()];
        Item got;
        const RecvStatus status = each.output.receiver.try_recv(got);
        if (each.inside.empty()) {
          REQUIRE(status == (each.open ? RecvStatus::empty : RecvStatus::closed));
        } else {
          REQUIRE(status == RecvStatus::received);
          REQUIRE(*got == each.inside.front());
          each.inside.pop_front();
        }
      }
      std::size_t open = 0;
      for (const Modelled& each : outputs) {
        REQUIRE(each.output.state->missed() == each.missed);
        open += each.open ? 1 : 0;
      }
      if (step % 10 == 0) REQUIRE(input.broadcast().outputs() == open);
    }
  }
}
