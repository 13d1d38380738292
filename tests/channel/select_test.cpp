#include "channel/select.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/channel/support.hpp"

using namespace logpipe;
using namespace std::chrono_literals;
using logpipe::testing::await;

namespace {

const Context kForever = Context::background();
SteadyTime past() {
  return std::chrono::steady_clock::now() - 1s;
}

}  // namespace

TEST_CASE("select: takes the one case that is ready and leaves the others alone") {
  auto [tx, rx] = make_channel<int>(1);
  auto [full_tx, full_rx] = make_channel<std::unique_ptr<int>>(1);
  CHECK(full_tx.try_send(std::make_unique<int>(1)) == SendStatus::sent);
  auto kept = std::make_unique<int>(2);
  int got = 0;
  CHECK(tx.try_send(7) == SendStatus::sent);
  const Selected first = select(kForever, on_send(full_tx, kept), on_recv(rx, got));
  CHECK(first.index == 1);
  CHECK(first.status == SelectStatus::received);
  CHECK(got == 7);
  REQUIRE(kept != nullptr);

  CHECK(**full_rx.try_recv() == 1);
  const Selected second = select(kForever, on_send(full_tx, kept), on_recv(rx, got));
  CHECK(second.index == 0);
  CHECK(second.status == SelectStatus::sent);
  CHECK(kept == nullptr);
}

TEST_CASE("select: otherwise makes it non-blocking, and until ends the wait, each with its own index") {
  auto [tx, rx] = make_channel<int>(1);
  int got = 0;
  const Selected nothing = select(kForever, on_recv(rx, got), otherwise());
  CHECK(nothing.index == 1);
  CHECK(nothing.status == SelectStatus::otherwise);
  const Selected late = select(kForever, until(std::chrono::steady_clock::now() + 1ms), on_recv(rx, got));
  CHECK(late.index == 0);
  CHECK(late.status == SelectStatus::timeout);
  CHECK(tx.try_send(3) == SendStatus::sent);
  CHECK(select(kForever, until(past()), on_recv(rx, got)).index == 1);  // a deadline in the past only tries
  const auto soon = std::chrono::steady_clock::now() + 1ms;
  CHECK(select(kForever, on_recv(rx, got), until(soon + 1h), until(soon)).index == 2);  // the earliest counts
}

TEST_CASE("select: a context that has ended wins over data, and one that ends wakes the wait") {
  auto [tx, rx] = make_channel<int>(1);
  CHECK(tx.try_send(1) == SendStatus::sent);
  int got = 0;
  {
    const auto scope = with_cancel(kForever);
    scope.cancel();
    const Selected selected = select(scope.context, on_recv(rx, got), otherwise());
    CHECK(selected.index == Selected::kAborted);
    CHECK(selected.status == SelectStatus::aborted);
    CHECK(got == 0);
  }
  CHECK(rx.try_recv() == 1);
  const auto scope = with_cancel(kForever);
  Selected selected{0, SelectStatus::received};
  std::thread waiting([&, &in = rx] { selected = select(scope.context, on_recv(in, got)); });
  await([&, &out = tx] { return out.receiver_waiting(); });
  scope.cancel();
  waiting.join();
  CHECK(selected.status == SelectStatus::aborted);
  const auto timed = with_timeout(kForever, 1ms);
  CHECK(select(timed.context, on_recv(rx, got)).status == SelectStatus::aborted);
}

TEST_CASE("select: a closed channel is a ready case, and an empty end never is") {
  auto [tx, rx] = make_channel<int>(1);
  auto [other_tx, other_rx] = make_channel<int>(1);
  CHECK(tx.try_send(1) == SendStatus::sent);
  tx = {};
  std::optional<int> got;
  CHECK(select(kForever, on_recv(rx, got), on_recv(other_rx, got)).status == SelectStatus::received);  // data first
  const Selected closed = select(kForever, on_recv(rx, got), on_recv(other_rx, got));
  CHECK(closed.index == 0);
  CHECK(closed.status == SelectStatus::closed);
  rx = {};
  CHECK(other_tx.try_send(5) == SendStatus::sent);
  CHECK(select(kForever, on_recv(rx, got), on_recv(other_rx, got)).index == 1);
  CHECK(got == 5);
  CHECK(select(kForever, on_recv(rx, got), otherwise()).status == SelectStatus::otherwise);
  other_rx = {};
  int value = 1;
  CHECK(select(kForever, on_send(other_tx, value)).status == SelectStatus::closed);
  other_tx = {};
  CHECK(select(kForever, on_send(other_tx, value), otherwise()).index == 1);
}

TEST_CASE("select: the last end going wakes a waiting select with closed") {
  auto [tx, rx] = make_channel<int>(1);
  auto [meet_tx, meet_rx] = make_channel<int>(0);
  auto [full_tx, full_rx] = make_channel<int>(1);
  CHECK(full_tx.try_send(0) == SendStatus::sent);
  int got = 0;
  int value = 1;
  Selected selected;
  const auto run = [&, &in = rx, &meet = meet_rx, &full = full_tx] {
    selected = select(kForever, on_recv(in, got), on_recv(meet, got), on_send(full, value));
  };
  const auto wait_and = [&, &out = tx](auto&& act) {
    std::thread waiting(run);
    await([&] { return out.receiver_waiting(); });
    act();
    waiting.join();
    CHECK(selected.status == SelectStatus::closed);
  };
  wait_and([&, &full = full_rx] { full = {}; });
  CHECK(selected.index == 2);
  full_tx = {};
  wait_and([&, &meet = meet_tx] { meet = {}; });
  CHECK(selected.index == 1);
}

TEST_CASE("select: priority takes the first that is ready in the order of the arguments") {
  auto [low_tx, low_rx] = make_channel<int>(8);
  auto [high_tx, high_rx] = make_channel<int>(8);
  for (int i = 0; i < 8; ++i) CHECK(low_tx.try_send(1) == SendStatus::sent);
  for (int i = 0; i < 8; ++i) CHECK(high_tx.try_send(2) == SendStatus::sent);
  int got = 0;
  for (int i = 0; i < 8; ++i) {
    CHECK(select(kForever, SelectOrder::priority, on_recv(high_rx, got), on_recv(low_rx, got)).index == 0);
  }
  CHECK(select(kForever, SelectOrder::priority, on_recv(high_rx, got), on_recv(low_rx, got)).index == 1);
}

TEST_CASE("select: of several cases that are always ready each is taken about as often") {
  constexpr int kRounds = 9000;
  auto [a_tx, a_rx] = make_channel<int>(1);
  auto [b_tx, b_rx] = make_channel<int>(1);
  auto [c_tx, c_rx] = make_channel<int>(kRounds);
  std::array<int, 4> taken{};
  int got = 0;
  int value = 0;
  Receiver<int> never;  // an unready case among them must not favour its neighbour
  for (int i = 0; i < kRounds; ++i) {
    static_cast<void>(a_tx.try_send(1));
    static_cast<void>(b_tx.try_send(1));
    const Selected selected =
        select(kForever, on_recv(a_rx, got), on_recv(b_rx, got), on_send(c_tx, value), on_recv(never, got));
    ++taken.at(selected.index);
  }
  for (int i = 0; i < 3; ++i) CHECK(taken.at(static_cast<std::size_t>(i)) > kRounds / 4);  // 50 standard deviations
  CHECK(taken[3] == 0);
}

TEST_CASE("select: wakes for an item, for room, and for a byte bound") {
  auto [in_tx, in_rx] = make_channel<std::string>(1);
  auto [out_tx, out_rx] = make_channel<int>(1);
  CHECK(out_tx.try_send(1) == SendStatus::sent);
  std::string got;
  int value = 2;
  Selected selected;
  const auto waiting = [&, &in = in_rx, &out = out_tx] {
    selected = select(kForever, on_recv(in, got), on_send(out, value));
  };
  {
    std::thread thread(waiting);
    await([&, &tx = in_tx] { return tx.receiver_waiting(); });
    CHECK(in_tx.try_send("item") == SendStatus::sent);
    thread.join();
    CHECK(selected.index == 0);
    CHECK(got == "item");
  }
  std::thread thread(waiting);
  await([&, &tx = in_tx] { return tx.receiver_waiting(); });
  CHECK(out_rx.try_recv() == 1);
  thread.join();
  CHECK(selected.index == 1);
  CHECK(out_rx.try_recv() == 2);
}

TEST_CASE("select: what wakes a select that takes another case is handed on to the next waiter") {
  // Both items may wake the select; it takes one of them, and the plain receivers must get the rest.
  for (int round = 0; round < 200; ++round) {
    auto [a_tx, a_rx] = make_channel<int>(4);
    auto [b_tx, b_rx] = make_channel<int>(4);
    std::thread selecting([&, a = a_rx.clone(), b = b_rx.clone()]() mutable {
      int got = 0;
      static_cast<void>(select(kForever, on_recv(a, got), on_recv(b, got)));
    });
    std::thread plain_a([rx = a_rx.clone()]() mutable { static_cast<void>(rx.recv(kForever)); });
    std::thread plain_b([rx = b_rx.clone()]() mutable { static_cast<void>(rx.recv(kForever)); });
    for (int i = 0; i < 2; ++i) CHECK(a_tx.try_send(int{i}) == SendStatus::sent);
    for (int i = 0; i < 2; ++i) CHECK(b_tx.try_send(int{i}) == SendStatus::sent);
    selecting.join();
    plain_a.join();
    plain_b.join();
    CHECK(a_rx.stats()->items() + b_rx.stats()->items() == 1);
  }
}

TEST_CASE("select: at a rendezvous it meets a blocked send, a blocked recv, and another select") {
  auto [tx, rx] = make_channel<int>(0);
  auto [other_tx, other_rx] = make_channel<int>(0);
  int got = 0;
  CHECK(select(kForever, on_recv(rx, got), on_recv(other_rx, got), otherwise()).index == 2);
  {
    std::thread sender([&, &out = tx] { CHECK(out.send(5, kForever) == SendStatus::sent); });
    CHECK(select(kForever, on_recv(rx, got), on_recv(other_rx, got)).index == 0);
    CHECK(got == 5);
    sender.join();
  }
  int value = 6;
  {
    std::optional<int> received;
    std::thread receiver([&, &in = rx] { received = in.recv(kForever); });
    CHECK(select(kForever, on_send(tx, value), on_recv(other_rx, got)).index == 0);
    receiver.join();
    CHECK(received == 6);
  }
  int answer = 0;
  std::thread selecting([&, &in = rx, &out = other_tx] {
    int unused = 1;
    const Selected selected = select(kForever, on_recv(in, answer), on_send(out, unused));
    CHECK(selected.status != SelectStatus::closed);
  });
  value = 7;
  const Selected selected = select(kForever, on_send(tx, value), on_recv(other_rx, got));
  selecting.join();
  CHECK((selected.index == 0 ? answer == 7 : got == 1));
}

TEST_CASE("select: never meets itself") {
  auto [tx, rx] = make_channel<int>(0);
  int value = 1;
  int got = 0;
  CHECK(select(kForever, on_send(tx, value), on_recv(rx, got), otherwise()).status == SelectStatus::otherwise);
  const SteadyTime soon = std::chrono::steady_clock::now() + 2ms;
  CHECK(select(kForever, on_send(tx, value), on_recv(rx, got), until(soon)).status == SelectStatus::timeout);
  CHECK(value == 1);
}

TEST_CASE("select: select_among takes any number of channels") {
  std::vector<Sender<int>> senders;
  std::vector<Receiver<int>> receivers;
  for (int i = 0; i < 20; ++i) {
    auto [tx, rx] = make_channel<int>(1);
    senders.push_back(std::move(tx));
    receivers.push_back(std::move(rx));
  }
  int got = 0;
  std::vector<OnRecv<int, int>> cases;
  for (Receiver<int>& receiver : receivers) cases.push_back(on_recv(receiver, got));
  CHECK(select_among(kForever, std::span(cases), SelectOrder::random, past()).status == SelectStatus::timeout);
  for (const std::size_t i : {13U, 4U}) CHECK(senders[i].try_send(static_cast<int>(i)) == SendStatus::sent);
  for (const std::size_t i : {4U, 13U}) {
    CHECK(select_among(kForever, std::span(cases), SelectOrder::priority).index == i);
    CHECK(got == static_cast<int>(i));
  }
  std::thread waiting([&] { CHECK(select_among(kForever, std::span(cases)).index == 19); });
  await([&] { return senders[19].receiver_waiting(); });
  CHECK(senders[19].try_send(19) == SendStatus::sent);
  waiting.join();
}
