#include "channel/tee.hpp"

#include <doctest/doctest.h>

#include <latch>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "tests/channel/support.hpp"

using namespace logpipe;
using logpipe::testing::await;

namespace {

using Item = std::shared_ptr<const int>;
const Context kForever = Context::background();

Item item(int value) {
  return std::make_shared<const int>(value);
}

std::vector<int> drain(Receiver<Item>& receiver) {
  std::vector<int> values;
  while (auto value = receiver.try_recv()) values.push_back(**value);
  return values;
}

struct Output {
  Receiver<Item> receiver;
  std::vector<std::pair<int, Missed>> missed;
};

TeeOutput<Item> connect(Output& output, std::size_t capacity, WhenFull when_full) {
  auto [sender, receiver] = make_channel<Item>(capacity);
  output.receiver = std::move(receiver);
  return {std::move(sender), when_full,
          [&output](const Item& missed, Missed why) { output.missed.emplace_back(*missed, why); }};
}

template <class... Outputs>
std::vector<TeeOutput<Item>> all(Outputs&&... outputs) {
  std::vector<TeeOutput<Item>> list;
  (list.push_back(std::move(outputs)), ...);
  return list;
}

}  // namespace

TEST_CASE("tee: every output receives every item in order, shared and not copied") {
  Output a;
  Output b;
  Tee<Item> tee(all(connect(a, 4, WhenFull::block), connect(b, 4, WhenFull::block)));
  const Item first = item(1);
  CHECK(tee.send(first, kForever) == SendStatus::sent);
  CHECK(tee.send(item(2), kForever) == SendStatus::sent);
  CHECK(first.use_count() == 3);
  CHECK(drain(a.receiver) == std::vector{1, 2});
  CHECK(drain(b.receiver) == std::vector{1, 2});
}

TEST_CASE("tee: drop_newest misses what does not fit, counted, while the others get all") {
  Output full;
  Output wide;
  Tee<Item> tee(all(connect(full, 1, WhenFull::drop_newest), connect(wide, 8, WhenFull::block)));
  for (int i = 1; i <= 3; ++i) CHECK(tee.send(item(i), kForever) == SendStatus::sent);
  CHECK(drain(full.receiver) == std::vector{1});
  CHECK(drain(wide.receiver) == std::vector{1, 2, 3});
  CHECK(tee.missed(0) == 2);
  CHECK(tee.missed(1) == 0);
  CHECK(full.missed == std::vector<std::pair<int, Missed>>{{2, Missed::newest}, {3, Missed::newest}});
}

TEST_CASE("tee: drop_oldest keeps the latest items and counts those taken out again") {
  Output output;
  Tee<Item> tee(all(connect(output, 2, WhenFull::drop_oldest)));
  for (int i = 1; i <= 4; ++i) CHECK(tee.send(item(i), kForever) == SendStatus::sent);
  CHECK(drain(output.receiver) == std::vector{3, 4});
  CHECK(output.missed == std::vector<std::pair<int, Missed>>{{1, Missed::oldest}, {2, Missed::oldest}});
}

TEST_CASE("tee: disconnect closes a full output behind what it has, and says so once") {
  Output slow;
  Output wide;
  Tee<Item> tee(all(connect(slow, 1, WhenFull::disconnect), connect(wide, 8, WhenFull::block)));
  for (int i = 1; i <= 3; ++i) CHECK(tee.send(item(i), kForever) == SendStatus::sent);
  CHECK(tee.open_outputs() == 1);
  CHECK(slow.missed == std::vector<std::pair<int, Missed>>{{2, Missed::disconnected}, {3, Missed::closed}});
  CHECK(drain(slow.receiver) == std::vector{1});
  Item last;
  CHECK(slow.receiver.try_recv(last) == RecvStatus::closed);
  CHECK(drain(wide.receiver) == std::vector{1, 2, 3});
}

TEST_CASE("tee: an output that blocks does not hold up the others' copy of the same item") {
  Output blocked;
  Output free;
  Tee<Item> tee(all(connect(blocked, 1, WhenFull::block), connect(free, 8, WhenFull::block)));
  CHECK(tee.send(item(1), kForever) == SendStatus::sent);
  SendStatus status = SendStatus::full;
  std::thread sender([&] { status = tee.send(item(2), kForever); });
  await([&] { return free.receiver.stats()->items() == 2; });  // it came although output 0 is full
  CHECK(**blocked.receiver.recv(kForever) == 1);
  sender.join();
  CHECK(status == SendStatus::sent);
  CHECK(drain(blocked.receiver) == std::vector{2});
}

TEST_CASE("tee: an output that closes leaves, and what it misses from then on is counted") {
  Output leaving;
  Output staying;
  Tee<Item> tee(all(connect(leaving, 4, WhenFull::block), connect(staying, 4, WhenFull::block)));
  CHECK(tee.send(item(1), kForever) == SendStatus::sent);
  leaving.receiver = {};
  CHECK(tee.send(item(2), kForever) == SendStatus::sent);
  CHECK(tee.open_outputs() == 1);
  CHECK(tee.send(item(3), kForever) == SendStatus::sent);
  CHECK(leaving.missed == std::vector<std::pair<int, Missed>>{{2, Missed::closed}, {3, Missed::closed}});
  CHECK(drain(staying.receiver) == std::vector{1, 2, 3});
  staying.receiver = {};
  CHECK(tee.send(item(4), kForever) == SendStatus::closed);
  CHECK(tee.missed(0) == 3);
  CHECK(tee.missed(1) == 1);
}

TEST_CASE("tee: an output that closes while the tee is blocked on it leaves") {
  Output leaving;
  Output staying;
  Tee<Item> tee(all(connect(leaving, 1, WhenFull::block), connect(staying, 4, WhenFull::block)));
  CHECK(tee.send(item(1), kForever) == SendStatus::sent);
  const auto stats = leaving.receiver.stats();
  SendStatus status = SendStatus::full;
  std::thread sender([&] { status = tee.send(item(2), kForever); });
  await([&] { return stats->blocked_seconds() > 0; });
  leaving.receiver = {};
  sender.join();
  CHECK(status == SendStatus::sent);
  CHECK(tee.missed(0) == 1);
  CHECK(drain(staying.receiver) == std::vector{1, 2});
}

TEST_CASE("tee: an aborted send counts the item as missed exactly where it did not arrive") {
  Output blocked;
  Output free;
  Tee<Item> tee(all(connect(blocked, 1, WhenFull::block), connect(free, 4, WhenFull::block)));
  CHECK(tee.send(item(1), kForever) == SendStatus::sent);
  const auto scope = with_cancel(kForever);
  SendStatus status = SendStatus::full;
  std::thread sender([&] { status = tee.send(item(2), scope.context); });
  await([&] { return free.receiver.stats()->items() == 2; });
  scope.cancel();
  sender.join();
  CHECK(status == SendStatus::aborted);
  CHECK(blocked.missed == std::vector<std::pair<int, Missed>>{{2, Missed::aborted}});
  CHECK(free.missed.empty());
}

TEST_CASE("tee: the loop closes all outputs when its input ends") {
  Output a;
  Output b;
  auto [sender, receiver] = make_channel<Item>(4);
  for (int i = 0; i < 4; ++i) CHECK(sender.try_send(item(i)) == SendStatus::sent);
  sender = {};
  const Status status =
      tee(kForever, std::move(receiver), all(connect(a, 4, WhenFull::block), connect(b, 2, WhenFull::drop_newest)));
  CHECK(status.has_value());
  CHECK(drain(a.receiver) == std::vector{0, 1, 2, 3});
  CHECK(drain(b.receiver) == std::vector{0, 1});
  CHECK(b.missed.size() == 2);
  Item last;
  CHECK(a.receiver.try_recv(last) == RecvStatus::closed);
}

TEST_CASE("tee: the loop fails with closed when every output has gone, and with the cause when cancelled") {
  {
    Output gone;
    auto [sender, receiver] = make_channel<Item>(1);
    CHECK(sender.try_send(item(1)) == SendStatus::sent);
    auto outputs = all(connect(gone, 1, WhenFull::block));
    gone.receiver = {};
    const Status status = tee(kForever, std::move(receiver), std::move(outputs));
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().kind == ErrorKind::closed);
  }
  {
    Output output;
    auto [sender, receiver] = make_channel<Item>(1);
    const auto scope = with_cancel(kForever);
    scope.cancel("drain deadline");
    const Status status = tee(scope.context, std::move(receiver), all(connect(output, 1, WhenFull::block)));
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().kind == ErrorKind::canceled);
    CHECK(status.error().message == "drain deadline");
  }
}
