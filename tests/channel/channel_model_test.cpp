// Random schedules from fixed seeds: channels against plain queues. A failure prints its seed.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "channel/channel.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;

namespace channel_model {

struct Cargo {
  int number{0};
  std::size_t bytes{0};
  std::size_t items{1};
  std::unique_ptr<int> owned{};
};
std::size_t byte_size(const Cargo& load) {
  return load.bytes;
}
std::size_t item_count(const Cargo& load) {
  return load.items;
}

}  // namespace channel_model
using channel_model::Cargo;

namespace {

const Context kForever = Context::background();
SteadyTime past() {
  return SteadyTime{} + std::chrono::seconds(1);
}

/// What a bounded queue with several ends does, on one thread.
struct Model {
  Capacity capacity;
  std::deque<std::pair<int, Cargo>> inside{};  // sender, item
  std::size_t items{0};
  std::size_t bytes{0};

  bool fits(const Cargo& load) const {
    const std::size_t counted = std::max<std::size_t>(1, load.items);
    return items == 0 || (items + counted <= capacity.items && bytes + load.bytes <= capacity.bytes);
  }
  void push(int sender, const Cargo& load) {
    items += std::max<std::size_t>(1, load.items);
    bytes += load.bytes;
    inside.emplace_back(sender, Cargo{load.number, load.bytes, load.items, nullptr});
  }
  /// Order holds per sender only: any sender's oldest may come out.
  bool pop(int number) {
    std::vector<int> seen;
    for (auto each = inside.begin(); each != inside.end(); ++each) {
      if (std::find(seen.begin(), seen.end(), each->first) != seen.end()) continue;
      seen.push_back(each->first);
      if (each->second.number != number) continue;
      items -= std::max<std::size_t>(1, each->second.items);
      bytes -= each->second.bytes;
      inside.erase(each);
      return true;
    }
    return false;
  }
};

void run(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Model model{{.items = 1 + random() % 12, .bytes = 20 + random() % 100}};
  const auto ended = with_cancel(kForever);
  ended.cancel();
  auto [first, only] = make_channel<Cargo>(model.capacity);
  std::vector<std::pair<int, Sender<Cargo>>> senders;
  senders.emplace_back(0, std::move(first));
  std::vector<Receiver<Cargo>> receivers;
  receivers.push_back(std::move(only));
  const auto stats = receivers.front().stats();
  int next_sender = 1;
  for (int step = 0; step < 600; ++step) {
    Cargo load{step, random() % 60, random() % 4, std::make_unique<int>(step)};
    const std::uint64_t dice = random() % 100;
    if (dice < 45 && !senders.empty()) {
      auto& [who, sender] = senders[random() % senders.size()];
      SendStatus expected = receivers.empty() ? SendStatus::closed : SendStatus::sent;
      const bool full = !receivers.empty() && !model.fits(load);
      const std::uint64_t form = random() % 3;
      const Cargo copy{load.number, load.bytes, load.items, nullptr};
      SendStatus status = SendStatus::full;
      if (form == 0) {
        if (full) expected = SendStatus::full;
        status = sender.try_send(std::move(load));
      } else if (form == 1) {
        if (full) expected = SendStatus::timeout;
        status = sender.send(std::move(load), kForever, past());
      } else {
        expected = SendStatus::aborted;
        status = sender.send(std::move(load), ended.context);
      }
      REQUIRE(status == expected);
      REQUIRE((load.owned == nullptr) == (status == SendStatus::sent));
      if (status == SendStatus::sent) model.push(who, copy);
    } else if (dice < 85 && !receivers.empty()) {
      Receiver<Cargo>& receiver = receivers[random() % receivers.size()];
      Cargo got;
      const std::uint64_t form = random() % 3;
      RecvStatus status = RecvStatus::empty;
      if (form == 0) status = receiver.try_recv(got);
      if (form == 1) status = receiver.recv(got, kForever, past());
      if (form == 2) status = receiver.recv(got, ended.context);
      if (form == 2) {
        REQUIRE(status == RecvStatus::aborted);
      } else if (!model.inside.empty()) {
        REQUIRE(status == RecvStatus::received);
        REQUIRE(*got.owned == got.number);
        REQUIRE(model.pop(got.number));
      } else if (senders.empty()) {
        REQUIRE(status == RecvStatus::closed);
      } else {
        REQUIRE(status == (form == 0 ? RecvStatus::empty : RecvStatus::timeout));
      }
    } else if (dice < 92 && !senders.empty() && !receivers.empty()) {
      auto& [who, sender] = senders[random() % senders.size()];
      const Cargo copy{load.number, load.bytes, load.items, nullptr};
      bool known = true;
      REQUIRE(sender.send_displacing(std::move(load), [&](Cargo&& old) { known = known && model.pop(old.number); }) ==
              SendStatus::sent);
      REQUIRE(known);
      REQUIRE(model.fits(copy));
      model.push(who, copy);
    } else if (dice < 95 && !senders.empty() && senders.size() < 4) {
      senders.emplace_back(next_sender++, senders[random() % senders.size()].second.clone());
    } else if (dice < 97 && !receivers.empty() && receivers.size() < 4) {
      receivers.push_back(receivers[random() % receivers.size()].clone());
    } else if (dice == 98 && !senders.empty() && step > 300) {
      senders.erase(senders.begin() + static_cast<std::ptrdiff_t>(random() % senders.size()));
    } else if (dice == 99 && !receivers.empty() && step > 400) {
      receivers.erase(receivers.begin() + static_cast<std::ptrdiff_t>(random() % receivers.size()));
    }
    REQUIRE(stats->items() == model.items);
    REQUIRE(stats->bytes() == model.bytes);
  }
}

}  // namespace

TEST_CASE("channel: under random schedules it does what a plain bounded queue would do") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    run(seed);
  }
}

TEST_CASE("rendezvous: a random order of meetings delivers what was sent, in order, and leaves nothing inside") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    auto [tx, rx] = make_channel<int>(0);
    const auto stats = rx.stats();
    std::vector<int> sent;
    std::thread peer([&, out = std::move(tx), script = std::mt19937_64(seed + 1000)]() mutable {
      for (int i = 0; i < 60; ++i) {
        SendStatus status = SendStatus::full;
        switch (script() % 3) {
          case 0:
            status = out.try_send(int{i});
            break;
          case 1:
            status = out.send(int{i}, kForever, past());
            break;
          default:
            status = out.send(int{i}, kForever);
        }
        if (status == SendStatus::sent) sent.push_back(i);
      }
    });
    std::vector<int> received;
    for (RecvStatus status = RecvStatus::empty; status != RecvStatus::closed;) {
      int got = -1;
      status = random() % 2 == 0 ? rx.try_recv(got) : rx.recv(got, kForever);
      if (status == RecvStatus::received) received.push_back(got);
    }
    peer.join();
    REQUIRE(received == sent);
    REQUIRE(stats->items() == 0);
  }
}
