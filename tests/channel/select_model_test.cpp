// Random schedules from fixed seeds: `select` against plain queues on one thread.
#include <doctest/doctest.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <vector>

#include "channel/select.hpp"

using namespace logpipe;

namespace {

struct Modelled {
  std::optional<Sender<int>> sender;
  std::optional<Receiver<int>> receiver;
  std::size_t capacity{0};
  std::deque<int> inside{};

  bool can_receive() const { return receiver && (!inside.empty() || !sender); }
  bool can_send() const { return sender && (!receiver || inside.size() < capacity); }
};

void run(std::uint64_t seed, SelectOrder order) {
  std::mt19937_64 random(seed);
  const Context ctx = Context::background();
  std::vector<Modelled> channels(1 + random() % 5);
  for (Modelled& each : channels) {
    each.capacity = random() % 4;
    auto [sender, receiver] = make_channel<int>(each.capacity);
    each.sender = std::move(sender);
    each.receiver = std::move(receiver);
  }
  Sender<int> no_sender;
  Receiver<int> no_receiver;
  int next = 1;
  for (int step = 0; step < 400; ++step) {
    if (random() % 100 == 0) {
      Modelled& each = channels[random() % channels.size()];
      random() % 2 == 0 ? each.sender.reset() : each.receiver.reset();
      if (!each.receiver) each.inside.clear();
    }
    // Two receiving and two sending cases, each over any channel.
    Modelled* chosen[4];
    for (Modelled*& each : chosen) each = &channels[random() % channels.size()];
    int got[2] = {0, 0};
    int value[2] = {next, next + 1};
    next += 2;
    const auto receiver = [&](Modelled& each) -> Receiver<int>& {
      return each.receiver ? *each.receiver : no_receiver;
    };
    const auto sender = [&](Modelled& each) -> Sender<int>& { return each.sender ? *each.sender : no_sender; };
    const Selected selected =
        select(ctx, order, on_recv(receiver(*chosen[0]), got[0]), on_send(sender(*chosen[1]), value[0]),
               on_recv(receiver(*chosen[2]), got[1]), on_send(sender(*chosen[3]), value[1]), otherwise());

    const bool ready[4] = {chosen[0]->can_receive(), chosen[1]->can_send(), chosen[2]->can_receive(),
                           chosen[3]->can_send()};
    std::size_t first = 0;
    while (first < 4 && !ready[first]) ++first;
    REQUIRE(selected.index <= 4);
    if (first == 4) {
      REQUIRE(selected.status == SelectStatus::otherwise);
      REQUIRE(selected.index == 4);
      continue;
    }
    REQUIRE(selected.index < 4);
    REQUIRE(ready[selected.index]);
    if (order == SelectOrder::priority) REQUIRE(selected.index == first);
    Modelled& won = *chosen[selected.index];
    const std::size_t which = selected.index / 2;
    if (selected.index % 2 == 0) {
      REQUIRE(selected.status == (won.inside.empty() ? SelectStatus::closed : SelectStatus::received));
      if (won.inside.empty()) continue;
      REQUIRE(got[which] == won.inside.front());
      won.inside.pop_front();
    } else {
      REQUIRE(selected.status == (won.receiver ? SelectStatus::sent : SelectStatus::closed));
      if (won.receiver) won.inside.push_back(value[which]);
    }
  }
  for (Modelled& each : channels) {
    if (each.receiver) REQUIRE(each.receiver->stats()->items() == each.inside.size());
  }
}

}  // namespace

TEST_CASE("select: under random schedules it does what plain queues would do") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    run(seed, SelectOrder::random);
    run(seed, SelectOrder::priority);
  }
}
