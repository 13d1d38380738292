#include "delivery/pool.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "channel/task_group.hpp"
#include "tests/channel/manual_clock.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using namespace logpipe::testing;
using namespace std::chrono_literals;

namespace {

const Context kBackground = Context::background();

struct Connection {
  int number;
  bool broken{false};
};
using ConnectionPtr = std::unique_ptr<Connection>;

/// A pool of numbered connections.
struct Bench {
  ManualClock clock;
  int made{0};
  bool refuse{false};
  Pool<ConnectionPtr> pool;
  explicit Bench(PoolOptions options = {.max = 2, .idle_timeout = 10s, .lifetime = 1min})
      : pool(
            options,
            [this](const Context&) -> Result<ConnectionPtr> {
              if (refuse) return fail(ErrorKind::io, "connection refused");
              return std::make_unique<Connection>(Connection{++made});
            },
            [](const ConnectionPtr& connection) { return !connection->broken; }, clock) {}
  int use() { return (*pool.acquire(kBackground).value())->number; }
};

}  // namespace

TEST_CASE("pool: gives out what came back last, and makes one only when there is none") {
  Bench bench;
  {
    auto first = bench.pool.acquire(kBackground).value();
    auto second = bench.pool.acquire(kBackground).value();
    CHECK((*first)->number == 1);
    CHECK((*second)->number == 2);
    CHECK(bench.pool.stats().in_use == 2);
    const Result<std::optional<Pool<ConnectionPtr>::Lease>> third = bench.pool.try_acquire(kBackground);
    CHECK_FALSE(third.value());
  }  // the second is destroyed first, so the first came back last
  CHECK(bench.use() == 1);
  CHECK(bench.use() == 1);
  CHECK(bench.pool.try_acquire(kBackground).value().value()->get()->number == 1);
  const LeaseStats stats = bench.pool.stats();
  CHECK(stats.made == 2);
  CHECK(stats.idle == 2);
  CHECK(stats.in_use == 0);
}

TEST_CASE("pool: what is discarded, unhealthy, idle or alive for too long is not used again") {
  Bench bench;
  {
    auto lease = bench.pool.acquire(kBackground).value();
    lease.discard();
    CHECK_FALSE(lease);
    lease.discard();
  }
  CHECK(bench.use() == 2);
  (*bench.pool.acquire(kBackground).value())->broken = true;
  CHECK(bench.use() == 3);
  bench.clock.advance(10s);
  CHECK(bench.use() == 4);
  for (int i = 0; i < 11; ++i) {
    bench.clock.advance(5s);
    CHECK(bench.use() == 4);
  }
  {
    auto lease = bench.pool.acquire(kBackground).value();
    bench.clock.advance(5s);
    CHECK((*lease)->number == 4);
  }
  CHECK(bench.pool.stats().idle == 0);  // too old to be kept
  CHECK(bench.use() == 5);
  bench.clock.advance(10s);
  bench.pool.sweep();
  const LeaseStats stats = bench.pool.stats();
  CHECK(stats.idle == 0);
  CHECK(stats.made == 5);
  CHECK(stats.discarded == 1);
  CHECK(stats.unhealthy == 1);
  CHECK(stats.expired == 3);
}

TEST_CASE("pool: the factory's error goes to the acquirer and leaves the place free") {
  Bench bench({.max = 1});
  bench.refuse = true;
  for (int i = 0; i < 3; ++i) {
    const auto lease = bench.pool.acquire(kBackground);
    REQUIRE_FALSE(lease);
    CHECK(lease.error().message == "connection refused");
  }
  bench.refuse = false;
  CHECK(bench.use() == 1);
  CHECK(bench.pool.stats().failed == 3);
}

TEST_CASE("pool: waits for one to come back, until the context ends") {
  Bench bench({.max = 1});
  std::optional lease = bench.pool.acquire(kBackground).value();
  const auto stop = with_cancel(kBackground);
  std::atomic<bool> served{false};
  TaskGroup group(kBackground);
  group.spawn("cancelled", [&] {
    const auto never = bench.pool.acquire(stop.context);
    CHECK(never.error().kind == ErrorKind::canceled);
  });
  await([&] { return bench.pool.stats().waiting == 1; });
  group.spawn("served", [&] {
    CHECK(bench.use() == 1);
    served = true;
  });
  await([&] { return bench.pool.stats().waiting == 2; });
  stop.cancel();
  await([&] { return bench.pool.stats().waiting == 1; });
  CHECK_FALSE(served);
  lease.reset();
  CHECK(group.wait());
  CHECK(served);
}

TEST_CASE("pool: closing lets those who wait go and destroys what comes back") {
  auto bench = std::make_unique<Bench>(PoolOptions{.max = 1});
  auto lease = bench->pool.acquire(kBackground).value();
  TaskGroup group(kBackground);
  for (int i = 0; i < 3; ++i) {
    group.spawn("waiting", [&] { CHECK(bench->pool.acquire(kBackground).error().kind == ErrorKind::closed); });
  }
  await([&] { return bench->pool.stats().waiting == 3; });
  bench->pool.close();
  CHECK(group.wait());
  CHECK(bench->pool.acquire(kBackground).error().kind == ErrorKind::closed);
  auto other = std::move(lease);
  CHECK((*other)->number == 1);
  other = std::move(lease);  // gives it back: to nobody
  CHECK(bench->pool.stats().idle == 0);
  CHECK(bench->pool.stats().in_use == 0);
}

TEST_CASE("pool: a lease may outlive the pool") {
  std::optional<Pool<int>> pool(std::in_place, PoolOptions{.max = 1}, [](const Context&) -> Result<int> { return 7; });
  auto lease = pool->acquire(kBackground).value();
  pool.reset();
  CHECK(*lease == 7);
}

TEST_CASE("pool: what a burst has made and nobody needs any more goes, though one of them is always in use") {
  Bench bench({.max = 8, .idle_timeout = 5s, .lifetime = 1h});
  {
    std::vector<Pool<ConnectionPtr>::Lease> burst;
    for (int i = 0; i < 8; ++i) burst.push_back(bench.pool.acquire(kBackground).value());
  }
  CHECK(bench.pool.stats().idle == 8);
  for (int i = 0; i < 6; ++i) {
    bench.clock.advance(1s);
    CHECK(bench.pool.acquire(kBackground).has_value());
  }
  CHECK(bench.pool.stats().idle == 1);
  CHECK(bench.pool.stats().expired == 7);
}

TEST_CASE("pool: does what a plain one does, in random schedules") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const std::size_t max = 1 + random() % 4;
    Bench bench({.max = max, .idle_timeout = 5s, .lifetime = 20s});
    struct Plain {
      int number;
      bool broken;
      SteadyTime made;
      SteadyTime used;
    };
    std::vector<Plain> idle;
    std::vector<std::pair<Pool<ConnectionPtr>::Lease, Plain>> out;
    int made = 0;
    for (int step = 0; step < 300; ++step) {
      const SteadyTime now = bench.clock.now();
      const auto expired = [now](const Plain& one) { return now - one.used >= 5s || now - one.made >= 20s; };
      switch (random() % 6) {
        case 0:
          bench.clock.advance(std::chrono::milliseconds(random() % 3000));
          break;
        case 1:
          bench.pool.sweep();
          std::erase_if(idle, expired);
          break;
        case 2:
        case 3: {
          auto lease = bench.pool.try_acquire(kBackground).value();
          REQUIRE(lease.has_value() == (out.size() < max));
          if (!lease) break;
          std::erase_if(idle, expired);
          while (!idle.empty() && idle.back().broken) idle.pop_back();
          Plain plain{0, false, now, now};
          if (idle.empty()) {
            plain.number = ++made;
          } else {
            plain = idle.back();
            idle.pop_back();
          }
          REQUIRE((**lease)->number == plain.number);
          out.emplace_back(std::move(*lease), plain);
          break;
        }
        default: {
          if (out.empty()) break;
          auto [lease, plain] = std::move(out.back());
          out.pop_back();
          plain.used = now;
          plain.broken = random() % 4 == 0;
          (*lease)->broken = plain.broken;
          const bool discard = random() % 5 == 0;
          if (discard) lease.discard();
          if (discard) break;
          std::erase_if(idle, expired);
          if (now - plain.made < 20s) idle.push_back(plain);
        }
      }
      const LeaseStats stats = bench.pool.stats();
      REQUIRE(stats.idle == idle.size());
      REQUIRE(stats.in_use == out.size());
      REQUIRE(stats.made == static_cast<std::uint64_t>(made));
    }
  }
}
