#include "channel/key_turns.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

using logpipe::detail::KeyTurns;

TEST_CASE("key turns: items of a key leave in the order they entered, others do not wait for them") {
  KeyTurns turns(4);
  const std::size_t a1 = turns.enter(1);
  const std::size_t a2 = turns.enter(1);
  const std::size_t b1 = turns.enter(2);
  turns.ready(a2);
  CHECK(turns.next() == std::nullopt);
  turns.ready(b1);
  CHECK(turns.next() == b1);
  CHECK(turns.next() == std::nullopt);
  turns.ready(a1);
  CHECK(turns.next() == a1);
  CHECK(turns.next() == a2);
  CHECK(turns.next() == std::nullopt);
}

TEST_CASE("key turns: random schedules agree with a list of what entered") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    struct Item {
      std::size_t slot;
      std::uint64_t key;
      bool ready;
    };
    const std::size_t slots = 1 + random() % 12;
    const std::uint64_t keys = 1 + random() % 5;
    KeyTurns turns(slots);
    std::vector<Item> inside;  // in the order of entering
    for (int step = 0; step < 2000; ++step) {
      if (random() % 2 == 0 && inside.size() < slots) {
        const std::uint64_t key = random() % keys;
        const std::size_t slot = turns.enter(key);
        REQUIRE(slot < slots);
        REQUIRE(std::none_of(inside.begin(), inside.end(), [&](const Item& item) { return item.slot == slot; }));
        inside.push_back({slot, key, false});
      } else if (!inside.empty() && random() % 2 == 0) {
        Item& item = inside[random() % inside.size()];
        if (item.ready) continue;
        item.ready = true;
        turns.ready(item.slot);
      } else {
        const auto may_leave = [&](const Item& item) {
          const auto first =
              std::find_if(inside.begin(), inside.end(), [&](const Item& i) { return i.key == item.key; });
          return item.ready && first->slot == item.slot;
        };
        const auto next = turns.next();
        REQUIRE(next.has_value() == std::any_of(inside.begin(), inside.end(), may_leave));
        if (!next) continue;
        const auto left = std::find_if(inside.begin(), inside.end(), [&](const Item& i) { return i.slot == *next; });
        REQUIRE(left != inside.end());
        REQUIRE(may_leave(*left));
        inside.erase(left);
      }
    }
  }
}
