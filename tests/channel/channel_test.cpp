#include "channel/channel.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <latch>
#include <memory>
#include <ranges>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "tests/channel/support.hpp"

using namespace logpipe;
using namespace std::chrono_literals;
using logpipe::testing::await;

static_assert(!std::is_copy_constructible_v<Sender<int>> && !std::is_copy_assignable_v<Sender<int>>);
static_assert(!std::is_copy_constructible_v<Receiver<int>> && !std::is_copy_assignable_v<Receiver<int>>);
static_assert(std::is_nothrow_move_constructible_v<Sender<int>> && std::is_nothrow_move_assignable_v<Sender<int>>);
static_assert(std::is_nothrow_move_constructible_v<Receiver<int>> && std::is_nothrow_move_assignable_v<Receiver<int>>);
static_assert(!std::is_copy_constructible_v<Channel<int>>);
static_assert(std::ranges::input_range<Receiver<std::unique_ptr<int>>>);

namespace count_test {
/// Counts as several items.
struct Crate {
  std::size_t things;
};
std::size_t item_count(const Crate& crate) {
  return crate.things;
}
}  // namespace count_test
using count_test::Crate;

namespace bytes_test {
struct Blob {
  std::size_t size{0};
  std::unique_ptr<int> tag{};
};
std::size_t byte_size(const Blob& blob) {
  return blob.size;
}
}  // namespace bytes_test
using bytes_test::Blob;

namespace {

const Context kForever = Context::background();
std::unique_ptr<int> boxed(int value) {
  return std::make_unique<int>(value);
}

}  // namespace

TEST_CASE("channel: a stalled receiver lets exactly capacity sends complete") {
  for (const std::size_t capacity : {1U, 3U, 64U, 1000U}) {
    auto [sender, receiver] = make_channel<int>(capacity);
    std::size_t sent = 0;
    while (sender.try_send(7) == SendStatus::sent) ++sent;
    CHECK(sent == capacity);
    CHECK(receiver.stats()->items() == capacity);
    CHECK(receiver.recv(kForever) == 7);
    CHECK(sender.try_send(7) == SendStatus::sent);
    CHECK(sender.try_send(7) == SendStatus::full);
  }
}

TEST_CASE("channel: a value is moved from only when it was sent") {
  auto [sender, receiver] = make_channel<std::unique_ptr<int>>(1);
  auto first = boxed(1);
  CHECK(sender.try_send(std::move(first)) == SendStatus::sent);
  CHECK(first == nullptr);

  auto kept = boxed(2);
  CHECK(sender.try_send(std::move(kept)) == SendStatus::full);
  REQUIRE(kept != nullptr);
  CHECK(sender.send(std::move(kept), kForever, std::chrono::steady_clock::now()) == SendStatus::timeout);
  REQUIRE(kept != nullptr);
  const auto scope = with_cancel(kForever);
  scope.cancel();
  CHECK(sender.send(std::move(kept), scope.context) == SendStatus::aborted);
  REQUIRE(kept != nullptr);
  receiver = Receiver<std::unique_ptr<int>>();
  CHECK(sender.send(std::move(kept), kForever) == SendStatus::closed);
  CHECK(sender.try_send(std::move(kept)) == SendStatus::closed);
  REQUIRE(kept != nullptr);
  CHECK(*kept == 2);
}

TEST_CASE("channel: recv yields all that was sent, then nothing, for ever, when the last sender has gone") {
  auto [sender, receiver] = make_channel<int>(8);
  {
    auto second = sender.clone();
    CHECK(second.try_send(1) == SendStatus::sent);
  }
  CHECK(sender.try_send(2) == SendStatus::sent);
  sender = Sender<int>();
  int value = 0;
  CHECK(receiver.recv(value, kForever) == RecvStatus::received);
  CHECK(receiver.recv(value, kForever) == RecvStatus::received);
  CHECK(receiver.recv(value, kForever) == RecvStatus::closed);
  CHECK(receiver.try_recv(value) == RecvStatus::closed);
  CHECK_FALSE(receiver.recv(kForever).has_value());
}

TEST_CASE("channel: an aborted recv yields nothing although items are there; they die with the channel") {
  auto item = std::make_shared<int>(5);
  const std::weak_ptr<int> watch = item;
  {
    auto [sender, receiver] = make_channel<std::shared_ptr<int>>(1);
    CHECK(sender.try_send(std::move(item)) == SendStatus::sent);
    const auto scope = with_cancel(kForever);
    scope.cancel();
    std::shared_ptr<int> into;
    CHECK(receiver.recv(into, scope.context) == RecvStatus::aborted);
    CHECK(into == nullptr);
    receiver = Receiver<std::shared_ptr<int>>();
    CHECK_FALSE(watch.expired());
  }
  CHECK(watch.expired());
}

TEST_CASE("channel: an aborted recv on a closed empty channel says aborted") {
  auto [sender, receiver] = make_channel<int>(1);
  sender = Sender<int>();
  const auto scope = with_cancel(kForever);
  scope.cancel();
  int value = 0;
  CHECK(receiver.recv(value, scope.context) == RecvStatus::aborted);
}

TEST_CASE("channel: the last receiver gone wakes every blocked sender with closed") {
  auto [sender, receiver] = make_channel<int>(1);
  CHECK(sender.try_send(0) == SendStatus::sent);
  auto extra = receiver.clone();
  const auto stats = sender.stats();
  SendStatus first = SendStatus::sent;
  SendStatus second = SendStatus::sent;
  std::thread one([&, tx = sender.clone()]() mutable { first = tx.send(1, kForever); });
  std::thread two([&, tx = sender.clone()]() mutable { second = tx.send(2, kForever); });
  await([&] { return stats->blocked_seconds() > 0; });
  receiver = Receiver<int>();
  CHECK(sender.try_send(3) == SendStatus::full);  // one receiver is left
  extra = Receiver<int>();
  one.join();
  two.join();
  CHECK(first == SendStatus::closed);
  CHECK(second == SendStatus::closed);
}

TEST_CASE("channel: a blocked sender goes on as soon as there is room, and its waiting is counted") {
  auto [sender, receiver] = make_channel<int>(1);
  const auto stats = receiver.stats();
  CHECK(stats->blocked_seconds() == 0);
  CHECK(sender.try_send(1) == SendStatus::sent);
  SendStatus status = SendStatus::full;
  std::thread blocked([&, tx = std::move(sender)]() mutable { status = tx.send(2, kForever); });
  await([&] { return stats->blocked_seconds() > 0; });
  CHECK(receiver.recv(kForever) == 1);
  blocked.join();
  CHECK(status == SendStatus::sent);
  CHECK(receiver.recv(kForever) == 2);
  const double blocked_seconds = stats->blocked_seconds();
  CHECK(blocked_seconds > 0);
  CHECK(stats->blocked_seconds() == blocked_seconds);  // stands still while nobody is blocked
}

TEST_CASE("channel: a cancelled context wakes a blocked sender, which keeps its value") {
  auto [sender, receiver] = make_channel<std::unique_ptr<int>>(1);
  CHECK(sender.try_send(boxed(1)) == SendStatus::sent);
  const auto scope = with_cancel(kForever);
  const auto stats = receiver.stats();
  auto value = boxed(2);
  SendStatus status = SendStatus::sent;
  std::thread blocked([&, tx = std::move(sender)]() mutable { status = tx.send(std::move(value), scope.context); });
  await([&] { return stats->blocked_seconds() > 0; });
  scope.cancel();
  blocked.join();
  CHECK(status == SendStatus::aborted);
  REQUIRE(value != nullptr);
  CHECK(*value == 2);
  CHECK(**receiver.recv(kForever) == 1);
  CHECK_FALSE(receiver.recv(kForever).has_value());
}

TEST_CASE("channel: deadlines end waits with timeout, and one in the past only tries") {
  auto [sender, receiver] = make_channel<int>(1);
  int value = 0;
  const auto past = std::chrono::steady_clock::now() - 1s;
  CHECK(receiver.recv(value, kForever, past) == RecvStatus::timeout);
  CHECK(receiver.recv(value, kForever, std::chrono::steady_clock::now() + 2ms) == RecvStatus::timeout);
  CHECK(sender.send(1, kForever, past) == SendStatus::sent);
  CHECK(sender.send(2, kForever, past) == SendStatus::timeout);
  CHECK(sender.send(2, kForever, std::chrono::steady_clock::now() + 2ms) == SendStatus::timeout);
  CHECK(receiver.recv(value, kForever, past) == RecvStatus::received);
  CHECK(value == 1);
}

TEST_CASE("channel: try_recv says empty while a sender lives") {
  auto [sender, receiver] = make_channel<int>(1);
  int value = 9;
  CHECK(receiver.try_recv(value) == RecvStatus::empty);
  CHECK(value == 9);
  CHECK_FALSE(receiver.try_recv().has_value());
  CHECK(sender.try_send(4) == SendStatus::sent);
  CHECK(receiver.try_recv() == 4);
}

TEST_CASE("channel: receiver_waiting is true exactly while a receiver is blocked and nothing is queued") {
  auto [sender, receiver] = make_channel<int>(2);
  CHECK_FALSE(sender.receiver_waiting());
  std::latch received(1);
  std::latch leave(1);
  std::thread consumer([&, rx = std::move(receiver)]() mutable {
    CHECK(rx.recv(kForever) == 1);
    received.count_down();
    leave.wait();
  });
  await([&, &tx = sender] { return tx.receiver_waiting(); });
  CHECK(sender.try_send(1) == SendStatus::sent);
  received.wait();
  CHECK_FALSE(sender.receiver_waiting());
  leave.count_down();
  consumer.join();
}

TEST_CASE("channel: each sender's order holds, also when the sender moves between threads") {
  struct Item {
    int producer;
    int number;
  };
  constexpr int kProducers = 4;
  constexpr int kItems = 2000;
  auto [sender, receiver] = make_channel<Item>(16);
  std::vector<std::thread> threads;
  for (int p = 0; p < kProducers; ++p) {
    threads.emplace_back([p, tx = sender.clone()]() mutable {
      for (int i = 0; i < kItems / 2; ++i) CHECK(tx.send({p, i}, kForever) == SendStatus::sent);
      std::thread second_half([p, moved = std::move(tx)]() mutable {
        for (int i = kItems / 2; i < kItems; ++i) CHECK(moved.send({p, i}, kForever) == SendStatus::sent);
      });
      second_half.join();
    });
  }
  sender = Sender<Item>();
  std::vector<int> next(kProducers, 0);
  for (const Item& item : receiver) {
    REQUIRE(item.number == next[static_cast<std::size_t>(item.producer)]++);
  }
  for (const int count : next) CHECK(count == kItems);
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("channel: range-for drains to the close and moves the items out") {
  auto [sender, receiver] = make_channel<std::unique_ptr<int>>(3);
  for (int i = 0; i < 3; ++i) CHECK(sender.try_send(boxed(i)) == SendStatus::sent);
  sender = Sender<std::unique_ptr<int>>();
  int expected = 0;
  for (std::unique_ptr<int> item : receiver) CHECK(*item == expected++);
  CHECK(expected == 3);
}

TEST_CASE("channel: a byte bound holds beside the item bound") {
  auto [sender, receiver] = make_channel<Blob>(Capacity{.items = 10, .bytes = 100});
  CHECK(sender.try_send(Blob{60}) == SendStatus::sent);
  CHECK(sender.try_send(Blob{41}) == SendStatus::full);
  CHECK(sender.try_send(Blob{40}) == SendStatus::sent);
  CHECK(sender.try_send(Blob{1}) == SendStatus::full);
  CHECK(sender.try_send(Blob{0}) == SendStatus::sent);
  const auto stats = sender.stats();
  CHECK(stats->items() == 3);
  CHECK(stats->bytes() == 100);
  Blob blob;
  CHECK(receiver.try_recv(blob) == RecvStatus::received);
  CHECK(blob.size == 60);
  CHECK(stats->bytes() == 40);
  int small = 0;
  while (sender.try_send(Blob{1}) == SendStatus::sent) ++small;
  CHECK(small == 8);  // the item bound, this time
}

TEST_CASE("channel: a value counts as the items it says, at least one, and alone it may be larger than the bound") {
  auto [sender, receiver] = make_channel<Crate>(Capacity{.items = 10});
  CHECK(sender.try_send(Crate{6}) == SendStatus::sent);
  CHECK(sender.try_send(Crate{5}) == SendStatus::full);
  CHECK(sender.try_send(Crate{3}) == SendStatus::sent);
  CHECK(sender.try_send(Crate{0}) == SendStatus::sent);
  CHECK(sender.stats()->items() == 10);
  CHECK(sender.try_send(Crate{0}) == SendStatus::full);
  for (const std::size_t things : {6, 3, 0}) CHECK(receiver.try_recv()->things == things);
  CHECK(sender.try_send(Crate{1000}) == SendStatus::sent);
  CHECK(sender.try_send(Crate{1}) == SendStatus::full);
  CHECK(receiver.try_recv()->things == 1000);
  CHECK(sender.stats()->items() == 0);
}

TEST_CASE("channel: an item larger than the byte bound is admitted when the channel is empty, and only then") {
  auto [sender, receiver] = make_channel<Blob>(Capacity{.items = 10, .bytes = 100});
  CHECK(sender.try_send(Blob{5000}) == SendStatus::sent);
  CHECK(sender.try_send(Blob{0}) == SendStatus::full);
  Blob blob;
  CHECK(receiver.try_recv(blob) == RecvStatus::received);
  CHECK(sender.try_send(Blob{1}) == SendStatus::sent);
  Blob huge{5000, std::make_unique<int>(1)};
  CHECK(sender.try_send(std::move(huge)) == SendStatus::full);
  CHECK(huge.tag != nullptr);
  SendStatus status = SendStatus::full;
  const auto stats = receiver.stats();
  std::thread blocked([&, tx = std::move(sender)]() mutable { status = tx.send(std::move(huge), kForever); });
  await([&] { return stats->blocked_seconds() > 0; });
  CHECK(receiver.recv(blob, kForever) == RecvStatus::received);
  CHECK(blob.size == 1);
  CHECK(receiver.recv(blob, kForever) == RecvStatus::received);
  CHECK(blob.size == 5000);
  blocked.join();
  CHECK(status == SendStatus::sent);
  CHECK(stats->bytes() == 0);
  CHECK(stats->items() == 0);
}

TEST_CASE("channel: with a byte bound every blocked sender that fits goes on") {
  auto [sender, receiver] = make_channel<Blob>(Capacity{.items = 100, .bytes = 100});
  CHECK(sender.try_send(Blob{100}) == SendStatus::sent);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([tx = sender.clone()]() mutable { CHECK(tx.send(Blob{25}, kForever) == SendStatus::sent); });
  }
  const auto stats = receiver.stats();
  Blob blob;
  CHECK(receiver.recv(blob, kForever) == RecvStatus::received);
  for (std::thread& thread : threads) thread.join();  // one removal made room for all four
  CHECK(stats->bytes() == 100);
  CHECK(stats->items() == 4);
}

TEST_CASE("channel: send_displacing makes room by taking out the oldest") {
  auto [sender, receiver] = make_channel<int>(2);
  std::vector<int> displaced;
  const auto note = [&](int&& oldest) { displaced.push_back(oldest); };
  for (int i = 0; i < 5; ++i) CHECK(sender.send_displacing(int{i}, note) == SendStatus::sent);
  CHECK(displaced == std::vector<int>{0, 1, 2});
  CHECK(receiver.try_recv() == 3);
  CHECK(receiver.try_recv() == 4);
  receiver = Receiver<int>();
  CHECK(sender.send_displacing(9, note) == SendStatus::closed);
}

TEST_CASE("channel: send_displacing takes out as many as the bytes need") {
  auto [sender, receiver] = make_channel<Blob>(Capacity{.items = 10, .bytes = 100});
  for (int i = 0; i < 4; ++i) CHECK(sender.try_send(Blob{25}) == SendStatus::sent);
  int displaced = 0;
  CHECK(sender.send_displacing(Blob{60}, [&](Blob&&) { ++displaced; }) == SendStatus::sent);
  CHECK(displaced == 3);
  CHECK(receiver.stats()->bytes() == 85);
}

TEST_CASE("rendezvous: try_send finds room only while a receiver waits, and nothing is ever queued") {
  auto [sender, receiver] = make_channel<int>(0);
  CHECK(sender.try_send(1) == SendStatus::full);
  std::optional<int> got;
  std::thread consumer([&, &rx = receiver] { got = rx.recv(kForever); });
  await([&, &tx = sender] { return tx.receiver_waiting(); });
  CHECK(sender.try_send(2) == SendStatus::sent);
  consumer.join();
  CHECK(got == 2);
  CHECK(sender.try_send(3) == SendStatus::full);
}

TEST_CASE("rendezvous: send_displacing takes nothing away from a receiver that is being served") {
  auto [sender, receiver] = make_channel<int>(0);
  for (int round = 0; round < 200; ++round) {
    std::optional<int> got;
    std::thread consumer([&, &rx = receiver] { got = rx.recv(kForever); });
    await([&, &tx = sender] { return tx.receiver_waiting(); });
    const auto never = [](int&&) { FAIL("displaced"); };
    CHECK(sender.send_displacing(1, never) == SendStatus::sent);
    CHECK(sender.send_displacing(2, never) == SendStatus::full);
    consumer.join();
    CHECK(got == 1);
  }
}

TEST_CASE("rendezvous: send returns once a receiver has come") {
  auto [sender, receiver] = make_channel<int>(0);
  SendStatus status = SendStatus::full;
  const auto stats = receiver.stats();
  std::thread producer([&, tx = std::move(sender)]() mutable { status = tx.send(5, kForever); });
  await([&] { return stats->blocked_seconds() > 0; });
  CHECK(receiver.recv(kForever) == 5);
  producer.join();
  CHECK(status == SendStatus::sent);
  CHECK_FALSE(receiver.recv(kForever).has_value());
}

TEST_CASE("rendezvous: try_recv takes over from a blocked sender and says empty without one") {
  auto [sender, receiver] = make_channel<int>(0);
  CHECK_FALSE(receiver.try_recv().has_value());
  std::thread producer([tx = sender.clone()]() mutable { CHECK(tx.send(5, kForever) == SendStatus::sent); });
  std::optional<int> got;
  await([&, &rx = receiver] { return (got = rx.try_recv()).has_value(); });
  CHECK(got == 5);
  producer.join();
  sender = Sender<int>();
  int value = 0;
  CHECK(receiver.try_recv(value) == RecvStatus::closed);
}

TEST_CASE("rendezvous: a receiver that gives up leaves no demand behind") {
  auto [sender, receiver] = make_channel<int>(0);
  int value = 0;
  CHECK(receiver.recv(value, kForever, std::chrono::steady_clock::now() + 1ms) == RecvStatus::timeout);
  const auto scope = with_timeout(kForever, 1ms);
  CHECK(receiver.recv(value, scope.context) == RecvStatus::aborted);
  CHECK(sender.try_send(1) == SendStatus::full);
  CHECK(sender.send(1, kForever, std::chrono::steady_clock::now() + 1ms) == SendStatus::timeout);
  CHECK(receiver.try_recv(value) == RecvStatus::empty);
}

TEST_CASE("rendezvous: with impatient parties on both sides every sent item is received") {
  constexpr int kRounds = 3000;
  auto [sender, receiver] = make_channel<int>(0);
  std::int64_t sent = 0;
  std::int64_t received = 0;
  std::thread producer([&, tx = std::move(sender)]() mutable {
    for (int i = 1; i <= kRounds; ++i) {
      const auto patience = std::chrono::steady_clock::now() + std::chrono::microseconds(i % 20);
      if (tx.send(int{i}, kForever, patience) == SendStatus::sent) sent += i;
    }
  });
  for (int i = 0;; ++i) {
    int value = 0;
    const auto patience = std::chrono::steady_clock::now() + std::chrono::microseconds(i % 17);
    const RecvStatus status = i % 3 == 0 ? receiver.try_recv(value) : receiver.recv(value, kForever, patience);
    if (status == RecvStatus::received) received += value;
    if (status == RecvStatus::closed) break;
  }
  producer.join();
  CHECK(sent == received);
}

TEST_CASE("channel: the stats outlive the channel") {
  std::shared_ptr<const ChannelStats> stats;
  {
    auto [sender, receiver] = make_channel<int>(2);
    CHECK(sender.try_send(1) == SendStatus::sent);
    stats = receiver.stats();
  }
  CHECK(stats->capacity().items == 2);
  CHECK(stats->items() == 1);  // what was inside when it died
}
