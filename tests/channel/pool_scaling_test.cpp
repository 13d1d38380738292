#include "channel/pool_scaling.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>

#include "channel/channel.hpp"
#include "channel/task_group.hpp"
#include "tests/channel/manual_clock.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using detail::PoolScaler;
using logpipe::testing::await;
using logpipe::testing::ManualClock;
using namespace std::chrono_literals;

namespace {

constexpr PoolScaling kScaling{.grow_after = 100ms, .shrink_after = 10s};

/// A scaler at work on a thread of its own; workers and clock are the test's.
struct Harness {
  Harness(std::size_t min, std::size_t max) : scaler(min, max, kScaling, clock), group(Context::background()) {
    auto [sender, receiver] = make_channel<PoolScaler::Decision>(100);
    decisions = std::move(receiver);
    group.spawn("scaler", [this, tx = std::move(sender)]() mutable {
      for (;;) {
        PoolScaler::Decision decision = scaler.next([this] { return depth.load(); });
        if (decision.step == PoolScaler::Step::end) return;
        CHECK(tx.try_send(std::move(decision)) == SendStatus::sent);
      }
    });
  }
  ~Harness() {
    scaler.end();
    CHECK(group.wait().has_value());
  }

  /// `count` workers with an item in hand each, that did not wait for it.
  void busy(int count) {
    for (int i = 0; i < count; ++i) {
      scaler.arrived();
      scaler.took(false, depth.load());
    }
  }
  void advance(std::chrono::nanoseconds time) {
    await([&] { return clock.waiting() == 1; });
    clock.advance(time);
  }
  /// What it decided, once it sleeps again.
  std::optional<PoolScaler::Decision> decided() { return decisions.try_recv(); }
  PoolScaler::Decision decision() { return decisions.recv(Context::background()).value(); }

  ManualClock clock;
  std::atomic<std::size_t> depth{0};
  PoolScaler scaler;
  Receiver<PoolScaler::Decision> decisions;
  TaskGroup group;
};

}  // namespace

TEST_CASE("pool scaling: grows when items have waited and nobody was idle for the whole time, by doubling") {
  Harness pool(1, 8);
  pool.depth = 20;
  pool.busy(1);
  pool.advance(99ms);
  await([&] { return pool.clock.waiting() == 1; });
  CHECK_FALSE(pool.decided());
  pool.advance(1ms);
  CHECK(pool.decision().workers == 1);
  CHECK(pool.scaler.take_seat() == 1);
  pool.busy(1);
  pool.advance(100ms);
  CHECK(pool.decision().workers == 2);
  CHECK(pool.scaler.take_seat() == 2);
  CHECK(pool.scaler.take_seat() == 3);
  pool.depth = 1;
  pool.advance(100ms);
  CHECK(pool.decision().workers == 1);  // no more than there are items
  CHECK(pool.scaler.take_seat() == 4);
  pool.depth = 20;
  pool.advance(100ms);
  CHECK(pool.decision().workers == 3);  // up to max
  for (std::size_t seat = 5; seat < 8; ++seat) CHECK(pool.scaler.take_seat() == seat);
  CHECK_FALSE(pool.scaler.take_seat());
}

TEST_CASE("pool scaling: does not grow while all are busy and nothing waits") {
  Harness pool(1, 8);
  pool.busy(1);
  for (int i = 0; i < 5; ++i) pool.advance(100ms);
  await([&] { return pool.clock.waiting() == 1; });
  CHECK_FALSE(pool.decided());
  pool.depth = 1;
  pool.advance(100ms);
  CHECK(pool.decision().step == PoolScaler::Step::grow);
  CHECK(pool.scaler.take_seat());
}

TEST_CASE("pool scaling: a worker that had to wait for an item puts growing off") {
  Harness pool(1, 8);
  pool.depth = 5;
  pool.busy(1);
  pool.advance(60ms);
  pool.scaler.arrived();
  pool.scaler.waits();
  pool.scaler.took(true, 5);
  pool.advance(60ms);
  await([&] { return pool.clock.waiting() == 1; });
  CHECK_FALSE(pool.decided());
  pool.advance(40ms);
  CHECK(pool.decision().workers == 1);
  CHECK(pool.scaler.take_seat());
}

TEST_CASE("pool scaling: sleeps without a clock while a worker waits and there are no more than min") {
  Harness pool(2, 8);
  pool.busy(2);
  await([&] { return pool.clock.waiting() == 1; });
  pool.scaler.arrived();
  pool.scaler.waits();
  pool.clock.advance(100ms);  // it was going to look again
  await([&] { return pool.clock.waiting() == 0; });
  pool.depth = 3;
  pool.scaler.took(true, 3);
  pool.advance(100ms);
  CHECK(pool.decision().workers == 2);
}

TEST_CASE("pool scaling: half of those that were spare all the time go home, down to min") {
  Harness pool(1, 8);
  pool.depth = 8;
  pool.busy(1);
  std::size_t workers = 1;
  while (workers < 8) {
    pool.advance(100ms);
    for (std::size_t i = pool.decision().workers; i > 0; --i, ++workers) {
      CHECK(pool.scaler.take_seat() == workers);
      pool.busy(1);
    }
  }
  pool.depth = 0;
  for (int i = 0; i < 8; ++i) pool.scaler.arrived();
  pool.scaler.waits();
  std::size_t present = 8;
  // The first window began with all of them busy.
  pool.advance(10s);
  await([&] { return pool.clock.waiting() == 1; });
  CHECK_FALSE(pool.decided());
  for (const std::size_t expected : {4U, 2U, 1U}) {
    pool.advance(10s);
    const PoolScaler::Decision decision = pool.decision();
    CHECK(decision.step == PoolScaler::Step::shrink);
    CHECK(decision.workers == expected);
    for (std::size_t i = 0; i < expected; ++i) {
      CHECK(pool.scaler.sent_home());
      pool.scaler.leave_seat(--present);
    }
    CHECK_FALSE(pool.scaler.sent_home());
    pool.scaler.waits();
  }
  CHECK(present == 1);
  CHECK(pool.scaler.take_seat() == 1);  // the lowest seats are taken again first
  pool.scaler.not_grown();
}

TEST_CASE("pool scaling: nobody goes home when all were needed for a moment of the window") {
  Harness pool(1, 2);
  pool.depth = 2;
  pool.busy(1);
  pool.advance(100ms);
  CHECK(pool.decision().workers == 1);
  CHECK(pool.scaler.take_seat());
  pool.busy(1);
  pool.depth = 0;
  for (int window = 0; window < 3; ++window) {
    pool.scaler.arrived();
    pool.scaler.arrived();
    pool.scaler.waits();
    pool.advance(5s);
    pool.scaler.took(true, 0);
    pool.scaler.took(false, 0);  // both had one at the same time
    pool.scaler.arrived();
    pool.scaler.waits();
    pool.advance(5s);
    pool.scaler.took(true, 0);
  }
  await([&] { return pool.clock.waiting() == 1; });
  CHECK_FALSE(pool.decided());
}

TEST_CASE("pool scaling: those that were to go home stay when they are needed after all") {
  Harness pool(1, 2);
  pool.depth = 2;
  pool.busy(1);
  pool.advance(100ms);
  CHECK(pool.decision().workers == 1);
  CHECK(pool.scaler.take_seat());
  pool.busy(1);
  pool.depth = 0;
  pool.scaler.arrived();
  pool.scaler.arrived();
  pool.scaler.waits();
  pool.advance(10s);
  pool.advance(10s);
  CHECK(pool.decision().step == PoolScaler::Step::shrink);
  pool.scaler.took(true, 7);
  CHECK_FALSE(pool.scaler.sent_home());
}

TEST_CASE("pool scaling: random loads keep the number between min and max and every seat once") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const std::size_t min = 1 + random() % 3;
    const std::size_t max = min + 1 + random() % 6;
    Harness pool(min, max);
    std::vector<bool> seats(max, false);
    for (std::size_t i = 0; i < min; ++i) seats[i] = true;
    std::size_t workers = min;
    std::size_t idle = 0;
    bool waiting = false;
    for (int step = 0; step < 300; ++step) {
      CAPTURE(step);
      switch (random() % 4) {
        case 0:  // one takes
          if (idle == 0) break;
          pool.scaler.took(waiting, pool.depth.load());
          waiting = false;
          --idle;
          break;
        case 1:  // one comes for more
          if (idle >= workers) break;
          pool.scaler.arrived();
          ++idle;
          if (pool.scaler.sent_home()) {
            --idle;
            --workers;
            waiting = false;
            std::size_t seat = random() % max;
            while (!seats[seat]) seat = (seat + 1) % max;
            seats[seat] = false;
            pool.scaler.leave_seat(seat);
          } else if (pool.depth == 0 && !waiting) {
            pool.scaler.waits();
            waiting = true;
          }
          break;
        case 2:
          pool.depth = random() % 3 == 0 ? 0 : random() % 9;
          break;
        default:
          pool.clock.advance(random() % 2 == 0 ? 100ms : 10s);
      }
      while (const auto decision = pool.decided()) {
        REQUIRE(decision->workers >= 1);
        if (decision->step == PoolScaler::Step::shrink) continue;  // sent_home() says who goes
        for (std::size_t i = 0; i < decision->workers; ++i) {
          const auto seat = pool.scaler.take_seat();
          if (!seat) break;
          REQUIRE_FALSE(seats[*seat]);
          seats[*seat] = true;
          ++workers;
        }
      }
      REQUIRE(workers >= min);
      REQUIRE(workers <= max);
    }
  }
}
