#include "channel/keyed_rate_limiter.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <list>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/channel/manual_clock.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using namespace std::chrono_literals;
using logpipe::testing::await;
using logpipe::testing::ManualClock;

namespace {

const Context kForever = Context::background();

KeyedRateLimiterOptions options(RateLimit limit, std::size_t max_keys, std::size_t shards = 1) {
  return {.limit = limit, .max_keys = max_keys, .shards = shards};
}

}  // namespace

TEST_CASE("keyed rate limiter: every key has a bucket of its own") {
  ManualClock clock;
  KeyedRateLimiter limiter(options({1, 1s, 2}, 100, 16), clock);
  CHECK(limiter.allow("a", 2));
  CHECK_FALSE(limiter.allow("a"));
  CHECK(limiter.allow("b"));
  CHECK(limiter.allow(std::string_view("\0x", 2)));
  CHECK(limiter.allow(""));
  CHECK_FALSE(limiter.allow("c", 3));
  CHECK(limiter.allow("a", 0));
  clock.advance(1s);
  CHECK(limiter.allow("a"));
  CHECK_FALSE(limiter.allow("a"));
  CHECK(limiter.stats().keys == 4);  // what can never be allowed is not remembered
}

TEST_CASE("keyed rate limiter: a reservation is paid for over time, and so is one above the burst") {
  ManualClock clock;
  KeyedRateLimiter limiter(options({10, 1s, 5}, 10), clock);
  CHECK(limiter.reserve("a", 5) <= clock.now());
  CHECK(limiter.reserve("a", 20) == clock.now() + 2s);
  CHECK(limiter.reserve("b", 7) == clock.now() + 200ms);
}

TEST_CASE("keyed rate limiter: an idle key goes first, then the least recently used, and both are counted") {
  ManualClock clock;
  KeyedRateLimiter limiter(options({1, 1s, 2}, 3), clock);
  CHECK(limiter.allow("busy", 2));
  CHECK(limiter.allow("idle", 1));
  CHECK(limiter.allow("late", 2));
  clock.advance(1s);  // idle is full again, the others are not
  CHECK(limiter.allow("new", 2));
  CHECK(limiter.stats().evicted_full == 1);
  CHECK(limiter.stats().evicted_in_use == 0);
  CHECK_FALSE(limiter.allow("busy", 2));  // still known, and used now
  CHECK(limiter.allow("other", 2));       // nobody is full: late was used the longest ago
  CHECK(limiter.stats().evicted_in_use == 1);
  CHECK(limiter.allow("busy", 1));
  CHECK_FALSE(limiter.allow("new", 1));
  CHECK(limiter.stats().keys == 3);
}

TEST_CASE("keyed rate limiter: the number of keys is bounded, spread over any number of shards") {
  ManualClock clock;
  for (const std::size_t shards : {1U, 3U, 16U, 200U}) {
    KeyedRateLimiter limiter(options({1, 1s, 1}, 100, shards), clock);
    for (int i = 0; i < 5000; ++i) CHECK(limiter.allow("key" + std::to_string(i)));
    const auto stats = limiter.stats();
    CHECK(stats.keys <= 100);
    CHECK(stats.keys + stats.evicted_full + stats.evicted_in_use == 5000);
  }
}

TEST_CASE("keyed rate limiter: a new rate holds for all keys") {
  ManualClock clock;
  KeyedRateLimiter limiter(options({1, 1s, 4}, 100, 4), clock);
  CHECK(limiter.allow("a", 4));
  CHECK(limiter.allow("b", 1));
  limiter.set_rate({10, 1s, 2});
  CHECK_FALSE(limiter.allow("a"));
  CHECK(limiter.allow("b", 2));
  clock.advance(100ms);
  CHECK(limiter.allow("a"));
}

TEST_CASE("keyed rate limiter: waiting ends at its moment, at the deadline, or with the context") {
  ManualClock clock;
  KeyedRateLimiter limiter(options({1, 1s, 1}, 10), clock);
  CHECK(limiter.wait(kForever, "a"));
  CHECK(limiter.wait(kForever, "a", 1, clock.now() + 500ms).error().kind == ErrorKind::deadline_exceeded);
  std::jthread waiter([&] { CHECK(limiter.wait(kForever, "a", 2)); });
  await([&] { return clock.waiting() == 1; });
  clock.advance(2s);
  waiter.join();

  auto [ctx, cancel] = with_cancel(kForever);
  Status ended;
  std::jthread another([&, ctx = ctx] { ended = limiter.wait(ctx, "a", 60); });
  await([&] { return clock.waiting() == 1; });
  cancel("enough");
  another.join();
  REQUIRE_FALSE(ended);
  CHECK(ended.error().kind == ErrorKind::canceled);
  CHECK(limiter.reserve("a") == clock.now() + 1s);  // the sixty were given back
  CHECK(limiter.wait(ctx, "b").error().kind == ErrorKind::canceled);
}

TEST_CASE("keyed rate limiter: behaves like a map of buckets under random calls") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const auto below = [&](std::uint64_t n) { return random() % n; };
    const std::size_t max_keys = 1 + below(12);
    const auto burst = static_cast<std::int64_t>(1 + below(5));
    ManualClock clock;
    KeyedRateLimiter limiter(options({1, 1ms, static_cast<std::uint64_t>(burst)}, max_keys), clock);
    struct Bucket {
      std::int64_t level;
    };
    std::map<std::string, Bucket> buckets;
    std::list<std::string> by_use;  // the oldest first
    std::uint64_t full = 0;
    std::uint64_t in_use = 0;
    for (int step = 0; step < 500; ++step) {
      if (below(5) == 0) {
        const auto passed = static_cast<std::int64_t>(below(4));
        clock.advance(std::chrono::milliseconds(passed));
        for (auto& [name, bucket] : buckets) bucket.level = std::min(bucket.level + passed, burst);
        continue;
      }
      const std::string key = "k" + std::to_string(below(2 * max_keys));
      const auto n = static_cast<std::int64_t>(1 + below(3));
      const bool reserves = below(3) == 0;
      if (!reserves && n > burst) {
        CHECK_FALSE(limiter.allow(key, static_cast<std::uint64_t>(n)));
        continue;
      }
      if (!buckets.contains(key)) {
        if (buckets.size() == max_keys) {
          auto victim = std::find_if(by_use.begin(), by_use.end(),
                                     [&](const std::string& name) { return buckets.at(name).level == burst; });
          ++(victim != by_use.end() ? full : in_use);
          if (victim == by_use.end()) victim = by_use.begin();
          buckets.erase(*victim);
          by_use.erase(victim);
        }
        buckets[key] = {burst};
      } else {
        by_use.remove(key);
      }
      by_use.push_back(key);
      std::int64_t& level = buckets.at(key).level;
      if (reserves) {
        level -= n;
        const SteadyTime due = limiter.reserve(key, static_cast<std::uint64_t>(n));
        CHECK(std::max(due, clock.now()) == clock.now() + std::chrono::milliseconds(std::max<std::int64_t>(-level, 0)));
      } else {
        CHECK(limiter.allow(key, static_cast<std::uint64_t>(n)) == (level >= n));
        if (level >= n) level -= n;
      }
      CHECK(limiter.stats().keys == buckets.size());
      CHECK(limiter.stats().evicted_full == full);
      CHECK(limiter.stats().evicted_in_use == in_use);
    }
  }
}
