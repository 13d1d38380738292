#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "channel/priority_channel.hpp"
#include "channel/select.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using logpipe::testing::await;

namespace priority_test {

/// Knows its lane; counts as bytes, too.
struct Job {
  std::size_t lane{0};
  int number{0};
  std::size_t bytes{0};
  std::unique_ptr<int> tag{};
};
std::size_t priority_of(const Job& job) {
  return job.lane;
}
std::size_t byte_size(const Job& job) {
  return job.bytes;
}

}  // namespace priority_test
using priority_test::Job;

namespace {

const Context kForever = Context::background();

std::vector<int> drain(Receiver<Job>& receiver) {
  std::vector<int> numbers;
  while (std::optional<Job> job = receiver.try_recv()) numbers.push_back(job->number);
  return numbers;
}

}  // namespace

TEST_CASE("priority: the highest lane first, in order within a lane, and lanes beyond the last are the last") {
  auto [tx, rx] = make_priority_channel<Job>({.items = 10}, {.lanes = 3});
  for (const auto& [lane, number] : {std::pair<std::size_t, int>{2, 1}, {1, 2}, {0, 3}, {9, 4}, {1, 5}, {0, 6}}) {
    CHECK(tx.try_send(Job{lane, number}) == SendStatus::sent);
  }
  CHECK(drain(rx) == std::vector{3, 6, 2, 5, 1, 4});
}

TEST_CASE("priority: capacity in items and bytes, closing and keeping the value are those of every channel") {
  auto [tx, rx] = make_priority_channel<Job>({.items = 3, .bytes = 100}, {});
  CHECK(tx.try_send(Job{1, 1, 60}) == SendStatus::sent);
  Job big{0, 2, 41, std::make_unique<int>(1)};
  CHECK(tx.try_send(std::move(big)) == SendStatus::full);
  CHECK(big.tag != nullptr);
  CHECK(tx.try_send(Job{0, 3, 40}) == SendStatus::sent);
  CHECK(tx.try_send(Job{0, 4, 0}) == SendStatus::sent);
  CHECK(tx.try_send(Job{0, 5, 0}) == SendStatus::full);
  CHECK(rx.stats()->items() == 3);
  CHECK(rx.stats()->bytes() == 100);
  CHECK(rx.recv(kForever)->number == 3);
  CHECK(rx.stats()->bytes() == 60);
  tx = {};
  CHECK(drain(rx) == std::vector{4, 1});
  Job job;
  CHECK(rx.try_recv(job) == RecvStatus::closed);
  CHECK(rx.recv(job, kForever) == RecvStatus::closed);
}

TEST_CASE("priority: send_displacing takes out the oldest of the lowest lane") {
  auto [tx, rx] = make_priority_channel<Job>({.items = 4}, {.lanes = 3});
  int number = 0;
  for (const std::size_t lane : {1U, 0U, 1U, 0U}) CHECK(tx.try_send(Job{lane, number++}) == SendStatus::sent);
  std::vector<int> displaced;
  const auto note = [&](Job&& job) { displaced.push_back(job.number); };
  CHECK(tx.send_displacing(Job{2, number++}, note) == SendStatus::sent);
  CHECK(tx.send_displacing(Job{0, number++}, note) == SendStatus::sent);
  CHECK(tx.send_displacing(Job{0, number++}, note) == SendStatus::sent);
  CHECK(displaced == std::vector{0, 4, 2});
  CHECK(drain(rx) == std::vector{1, 3, 5, 6});
}

TEST_CASE("priority: a blocked receiver, a blocked sender and a select are woken as in every channel") {
  auto [tx, rx] = make_priority_channel<Job>({.items = 1}, {});
  Job got;
  {
    std::thread receiver([&, &in = rx] { CHECK(select(kForever, on_recv(in, got)).index == 0); });
    await([&, &out = tx] { return out.receiver_waiting(); });
    CHECK(tx.try_send(Job{1, 7}) == SendStatus::sent);
    receiver.join();
    CHECK(got.number == 7);
  }
  CHECK(tx.try_send(Job{1, 8}) == SendStatus::sent);
  const auto stats = rx.stats();
  std::thread sender([&, &out = tx] { CHECK(out.send(Job{0, 9}, kForever) == SendStatus::sent); });
  await([&] { return stats->blocked_seconds() > 0; });
  CHECK(rx.recv(kForever)->number == 8);
  CHECK(rx.recv(kForever)->number == 9);
  sender.join();
}

TEST_CASE("priority: after max_overtakes the oldest come first until there is no gap, then overtaking begins anew") {
  auto [tx, rx] = make_priority_channel<Job>({.items = 100}, {.lanes = 2, .max_overtakes = 3});
  int number = 0;
  const auto send = [&, &out = tx](std::size_t lane, int count) {
    for (int i = 0; i < count; ++i) CHECK(out.try_send(Job{lane, number++}) == SendStatus::sent);
  };
  send(1, 3);  // 0 1 2
  send(0, 5);  // 3 4 5 6 7
  // Three overtakes, then strictly in order up to the newest handed out (5); 6 is next without any gap.
  CHECK(drain(rx) == std::vector{3, 4, 5, 0, 1, 2, 6, 7});
  send(1, 2);  // 8 9
  send(0, 1);  // 10
  CHECK(drain(rx) == std::vector{10, 8, 9});
  auto [fifo_tx, fifo_rx] = make_priority_channel<Job>({.items = 100}, {.lanes = 2, .max_overtakes = 0});
  for (int i = 0; i < 6; ++i) CHECK(fifo_tx.try_send(Job{i % 2 == 0 ? 1U : 0U, i}) == SendStatus::sent);
  CHECK(drain(fifo_rx) == std::vector{0, 1, 2, 3, 4, 5});
}

TEST_CASE("priority: under a flood of the highest lane the lowest is served, and moments without gaps keep coming") {
  constexpr std::size_t kCapacity = 16;
  constexpr std::size_t kOvertakes = 10;
  auto [tx, rx] = make_priority_channel<Job>({.items = kCapacity}, {.lanes = 2, .max_overtakes = kOvertakes});
  for (int i = 0; i < 4; ++i) CHECK(tx.try_send(Job{1, i}) == SendStatus::sent);
  std::set<int> handed_out;
  int contiguous = 0;  // everything below has been handed out
  int gapless_at = 0;  // how many had been handed out then
  int number = 4;
  for (int taken = 1; taken <= 2000; ++taken) {
    while (tx.try_send(Job{0, number}) == SendStatus::sent) ++number;
    handed_out.insert(rx.try_recv()->number);
    while (handed_out.contains(contiguous)) ++contiguous;
    if (static_cast<int>(handed_out.size()) == contiguous) gapless_at = taken;
    REQUIRE(taken - gapless_at <= static_cast<int>(kOvertakes + kCapacity));
    if (taken == 2 * static_cast<int>(kOvertakes + kCapacity)) REQUIRE(contiguous >= 4);
  }
}

TEST_CASE("priority: under random schedules it does what a plain list would do") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const std::size_t lanes = 1 + random() % 5;
    const std::size_t capacity = 1 + random() % 12;
    const std::size_t max_overtakes = random() % 6;
    auto [tx, rx] = make_priority_channel<Job>({.items = capacity}, {.lanes = lanes, .max_overtakes = max_overtakes});

    std::map<int, std::size_t> inside;  // number, which is the age, to lane
    std::size_t overtakes = 0;
    int newest = -1;
    int next = 0;
    const auto settle = [&] {
      if (inside.empty() || inside.begin()->first > newest) overtakes = 0;
    };
    for (int step = 0; step < 500; ++step) {
      const std::size_t lane = random() % lanes;
      switch (random() % 4) {
        case 0:
        case 1: {
          const SendStatus status = tx.try_send(Job{lane, next});
          REQUIRE(status == (inside.size() < capacity ? SendStatus::sent : SendStatus::full));
          if (status == SendStatus::sent) inside.emplace(next++, lane);
          break;
        }
        case 2: {
          const std::optional<Job> job = rx.try_recv();
          REQUIRE(job.has_value() == !inside.empty());
          if (!job) break;
          auto expected = inside.begin();
          if (overtakes < max_overtakes) {
            expected = std::min_element(inside.begin(), inside.end(),
                                        [](const auto& a, const auto& b) { return a.second < b.second; });
          }
          REQUIRE(job->number == expected->first);
          if (expected != inside.begin()) ++overtakes;
          newest = std::max(newest, expected->first);
          inside.erase(expected);
          settle();
          break;
        }
        default: {
          std::vector<int> displaced;
          REQUIRE(tx.send_displacing(Job{lane, next}, [&](Job&& job) { displaced.push_back(job.number); }) ==
                  SendStatus::sent);
          if (inside.size() == capacity) {
            auto expected = inside.begin();
            for (auto it = inside.begin(); it != inside.end(); ++it) {
              if (it->second > expected->second) expected = it;
            }
            REQUIRE(displaced == std::vector{expected->first});
            inside.erase(expected);
            settle();
          } else {
            REQUIRE(displaced.empty());
          }
          inside.emplace(next++, lane);
        }
      }
      REQUIRE(rx.stats()->items() == inside.size());
    }
  }
}
