#include "channel/cache.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <list>
#include <map>
#include <random>
#include <stdexcept>
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

struct Sized {
  std::size_t bytes;
  friend std::size_t byte_size(const Sized& value) { return value.bytes; }
};

const Context kForever = Context::background();
using Texts = Cache<std::string, std::string>;
using Loaded = Result<std::optional<std::string>>;

std::string text_of(const Texts::Value& value) {
  return value ? *value : "-";
}
std::string text_of(const Result<Texts::Value>& value) {
  return value ? text_of(*value) : "error: " + value.error().message;
}
auto loads(std::string text) {
  return [text](const std::string&, const Context&) -> Loaded { return text; };
}
auto finds_nothing() {
  return [](const std::string&, const Context&) -> Loaded { return std::nullopt; };
}
auto fails() {
  return [](const std::string&, const Context&) -> Loaded { return fail(ErrorKind::io, "no answer"); };
}
auto must_not_load() {
  return [](const std::string&, const Context&) -> Loaded {
    FAIL("loaded");
    return std::nullopt;
  };
}

}  // namespace

TEST_CASE("cache: what was put is there until its time is over") {
  ManualClock clock;
  Texts cache({.ttl = 10s}, clock);
  CHECK(text_of(cache.get("a")) == "-");
  cache.put("a", "one");
  cache.put(std::string_view("b"), "two", 1s);
  CHECK(text_of(cache.get(std::string_view("a"))) == "one");
  CHECK(text_of(cache.get(std::string("b"))) == "two");
  clock.advance(1s);
  CHECK(text_of(cache.get("b")) == "-");
  clock.advance(9s - 1ns);
  CHECK(text_of(cache.get("a")) == "one");
  cache.put("a", "new");
  clock.advance(1ns);
  CHECK(text_of(cache.get("a")) == "new");
  CHECK(cache.erase("a"));
  CHECK_FALSE(cache.erase("a"));
  CHECK(text_of(cache.get("a")) == "-");
  const CacheStats stats = cache.stats();
  CHECK(stats.hits == 4);
  CHECK(stats.misses == 3);
  CHECK(stats.entries == 1);
}

TEST_CASE("cache: without a ttl nothing grows old") {
  ManualClock clock;
  Cache<int, int> cache({}, clock);
  cache.put(1, 2);
  clock.advance(1000h);
  CHECK(*cache.get(1) == 2);
}

TEST_CASE("cache: the least recently used goes first when there are too many") {
  ManualClock clock;
  Cache<int, int> cache({.max_entries = 3, .shards = 1}, clock);
  for (int i = 0; i < 3; ++i) cache.put(i, i);
  CHECK(cache.get(0) != nullptr);
  cache.put(1, 10);
  cache.put(3, 3);
  CHECK(cache.get(2) == nullptr);
  CHECK(cache.get(0) != nullptr);
  CHECK(*cache.get(1) == 10);
  CHECK(cache.stats().evictions == 1);
  CHECK(cache.stats().entries == 3);
}

TEST_CASE("cache: bytes are bounded too, keys included, and what is too large is not stored") {
  ManualClock clock;
  Cache<std::string, Sized> cache({.max_bytes = 1000, .shards = 1}, clock);
  cache.put("a", Sized{399});
  cache.put("b", Sized{399});
  CHECK(cache.stats().bytes == 800);
  cache.put("c", Sized{399});
  CHECK(cache.get("a") == nullptr);
  cache.put("d", Sized{999});
  CHECK(cache.stats().entries == 1);
  CHECK(cache.stats().evictions == 3);
  cache.put("d", Sized{1000});
  CHECK(cache.stats().too_large == 1);
  CHECK(cache.stats().entries == 0);
  CHECK(cache.stats().bytes == 0);
}

TEST_CASE("cache: a value that was handed out lives on when its entry goes") {
  Texts cache({.max_entries = 1});
  cache.put("a", "one");
  const Texts::Value held = cache.get("a");
  cache.put("b", "two");
  CHECK(*held == "one");
}

TEST_CASE("cache: insert_if_absent is true once in its time") {
  ManualClock clock;
  struct Nothing {};
  Cache<std::string, Nothing> cache({.max_entries = 2, .ttl = 10s, .shards = 1}, clock);
  CHECK(cache.insert_if_absent("a"));
  CHECK_FALSE(cache.insert_if_absent("a"));
  clock.advance(10s - 1ns);
  CHECK_FALSE(cache.insert_if_absent("a"));
  clock.advance(1ns);  // from the first, not from the last
  CHECK(cache.insert_if_absent("a"));
  CHECK(cache.insert_if_absent("b"));
  CHECK_FALSE(cache.insert_if_absent("a"));
  CHECK(cache.insert_if_absent("c"));
  CHECK(cache.insert_if_absent("b"));
  CHECK(cache.stats().evictions == 2);
}

TEST_CASE("cache: a miss is loaded, remembered, and loaded again when it is old") {
  ManualClock clock;
  Texts cache({.ttl = 10s}, clock);
  CHECK(text_of(cache.get_or_load(kForever, "a", loads("one"))) == "one");
  CHECK(text_of(cache.get_or_load(kForever, "a", must_not_load())) == "one");
  clock.advance(10s);
  CHECK(text_of(cache.get_or_load(kForever, "a", loads("two"))) == "two");
  CHECK(cache.stats().loads == 2);
}

TEST_CASE("cache: absence is remembered for as long as asked, errors are not") {
  ManualClock clock;
  Texts cache({.ttl = 10s, .negative_ttl = 2s}, clock);
  CHECK(text_of(cache.get_or_load(kForever, "a", finds_nothing())) == "-");
  CHECK(text_of(cache.get_or_load(kForever, "a", must_not_load())) == "-");
  clock.advance(2s);
  CHECK(text_of(cache.get_or_load(kForever, "a", fails())) == "error: no answer");
  CHECK(text_of(cache.get_or_load(kForever, "a", loads("one"))) == "one");
  CHECK(cache.stats().load_failures == 1);
  Texts forgetful({.ttl = 10s, .stale = 10s}, clock);
  CHECK(text_of(forgetful.get_or_load(kForever, "a", finds_nothing())) == "-");
  CHECK(text_of(forgetful.get_or_load(kForever, "a", loads("one"))) == "one");
  clock.advance(10s);
  CHECK(text_of(forgetful.get_or_load(kForever, "a", finds_nothing())) == "-");  // no stale value of what is gone
  CHECK(forgetful.stats().entries == 0);
}

TEST_CASE("cache: an old value is served when loading a new one fails, and the next try waits") {
  ManualClock clock;
  Texts cache({.ttl = 10s, .stale = 60s, .retry_after = 5s}, clock);
  CHECK(text_of(cache.get_or_load(kForever, "a", loads("one"))) == "one");
  clock.advance(10s);
  CHECK(cache.get("a") == nullptr);
  CHECK(text_of(cache.get_or_load(kForever, "a", fails())) == "one");
  CHECK(text_of(cache.get_or_load(kForever, "a", must_not_load())) == "one");
  clock.advance(5s);
  CHECK(text_of(cache.get_or_load(kForever, "a", fails())) == "one");
  CHECK(cache.stats().stale_served == 3);
  clock.advance(55s);
  CHECK(text_of(cache.get_or_load(kForever, "a", fails())) == "error: no answer");
  CHECK(text_of(cache.get_or_load(kForever, "a", loads("two"))) == "two");
}

TEST_CASE("cache: one loads, all others wait for it and share what comes") {
  Texts cache({});
  std::atomic<int> loading{0};
  std::latch release(1);
  std::vector<std::jthread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      const auto value = cache.get_or_load(kForever, "a", [&](const std::string& key, const Context&) -> Loaded {
        ++loading;
        release.wait();
        return key + "!";
      });
      if (text_of(value) == "a!") ++good;
    });
  }
  await([&] { return cache.stats().coalesced == 7; });
  release.count_down();
  threads.clear();
  CHECK(loading == 1);
  CHECK(good == 8);
  CHECK(cache.stats().loads == 1);
}

TEST_CASE("cache: a failure is handed to all who wait, and so is an exception as an error") {
  Texts cache({});
  for (const bool throws : {false, true}) {
    const std::uint64_t before = cache.stats().coalesced;
    std::latch inside(1);
    std::latch release(1);
    std::jthread leader([&] {
      const auto load = [&](const std::string&, const Context&) -> Loaded {
        inside.count_down();
        release.wait();
        if (throws) throw std::runtime_error("broken");
        return fail(ErrorKind::io, "no answer");
      };
      if (throws) {
        CHECK_THROWS_AS((void)cache.get_or_load(kForever, "a", load), std::runtime_error);
      } else {
        CHECK(text_of(cache.get_or_load(kForever, "a", load)) == "error: no answer");
      }
    });
    inside.wait();
    std::jthread waiter([&] {
      CHECK(text_of(cache.get_or_load(kForever, "a", must_not_load())) ==
            (throws ? "error: the loader threw an exception" : "error: no answer"));
    });
    await([&] { return cache.stats().coalesced == before + 1; });
    release.count_down();
  }
  CHECK(text_of(cache.get_or_load(kForever, "a", loads("one"))) == "one");
}

TEST_CASE("cache: waiting for another's load ends with the context or at the deadline, and the load goes on") {
  ManualClock clock;
  Texts cache({}, clock);
  std::latch inside(1);
  std::latch release(1);
  std::jthread leader([&] {
    CHECK(text_of(cache.get_or_load(kForever, "a", [&](const std::string&, const Context&) -> Loaded {
            inside.count_down();
            release.wait();
            return "one";
          })) == "one");
  });
  inside.wait();
  auto [ctx, cancel] = with_cancel(kForever);
  Result<Texts::Value> ended = Texts::Value();
  std::jthread waiter([&, ctx = ctx] { ended = cache.get_or_load(ctx, "a", must_not_load()); });
  await([&] { return cache.stats().coalesced == 1; });
  cancel("enough");
  waiter.join();
  CHECK(ended.error().kind == ErrorKind::canceled);
  std::jthread late([&] { ended = cache.get_or_load(kForever, "a", must_not_load(), clock.now() + 1s); });
  await([&] { return clock.waiting() == 1; });
  clock.advance(1s);
  late.join();
  CHECK(ended.error().kind == ErrorKind::deadline_exceeded);
  release.count_down();
  leader.join();
  CHECK(text_of(cache.get("a")) == "one");
}

TEST_CASE("cache: those who wait load for themselves when the loading caller's context ends") {
  Texts cache({});
  auto [ctx, cancel] = with_cancel(kForever);
  std::latch inside(1);
  std::jthread leader([&, ctx = ctx] {
    const auto ended = cache.get_or_load(ctx, "a", [&](const std::string&, const Context& own) -> Loaded {
      inside.count_down();
      await([&] { return own.done(); });
      return fail(error_of(own));
    });
    CHECK(ended.error().kind == ErrorKind::canceled);
  });
  inside.wait();
  std::jthread waiter([&] { CHECK(text_of(cache.get_or_load(kForever, "a", loads("mine"))) == "mine"); });
  await([&] { return cache.stats().coalesced == 1; });
  cancel("enough");
}

TEST_CASE("cache: while one refreshes an old value, the others are served the old one") {
  ManualClock clock;
  Texts cache({.ttl = 10s, .stale = 60s}, clock);
  cache.put("a", "old");
  clock.advance(10s);
  std::latch inside(1);
  std::latch release(1);
  std::jthread leader([&] {
    CHECK(text_of(cache.get_or_load(kForever, "a", [&](const std::string&, const Context&) -> Loaded {
            inside.count_down();
            release.wait();
            return "new";
          })) == "new");
  });
  inside.wait();
  CHECK(text_of(cache.get_or_load(kForever, "a", must_not_load())) == "old");
  release.count_down();
  leader.join();
  CHECK(text_of(cache.get_or_load(kForever, "a", must_not_load())) == "new");
}

TEST_CASE("cache: a refresh can run elsewhere, and one that is dropped is tried again") {
  ManualClock clock;
  std::vector<std::function<void()>> tasks;
  Texts cache({.ttl = 10s,
               .stale = 60s,
               .retry_after = 1s,
               .refresh_on = [&](std::function<void()> task) { tasks.push_back(std::move(task)); }},
              clock);
  CHECK(text_of(cache.get_or_load(kForever, "a", loads("old"))) == "old");
  clock.advance(10s);
  CHECK(text_of(cache.get_or_load(kForever, "a", loads("new"))) == "old");
  CHECK(text_of(cache.get_or_load(kForever, "a", must_not_load())) == "old");
  REQUIRE(tasks.size() == 1);
  tasks.clear();
  CHECK(text_of(cache.get_or_load(kForever, "a", must_not_load())) == "old");  // not before retry_after
  clock.advance(1s);
  CHECK(text_of(cache.get_or_load(kForever, "a", loads("newer"))) == "old");
  REQUIRE(tasks.size() == 1);
  tasks.front()();
  CHECK(text_of(cache.get("a")) == "newer");
}

TEST_CASE("cache: what is written or erased during a load wins over what the load brings") {
  Texts cache({});
  CHECK(text_of(cache.get_or_load(kForever, "a", [&](const std::string&, const Context&) -> Loaded {
          cache.put("a", "written");
          return "loaded";
        })) == "loaded");
  CHECK(text_of(cache.get("a")) == "written");
  CHECK(text_of(cache.get_or_load(kForever, "b", [&](const std::string&, const Context&) -> Loaded {
          CHECK_FALSE(cache.erase("b"));
          return "loaded";
        })) == "loaded");
  CHECK(cache.get("b") == nullptr);
}

TEST_CASE("cache: a value's destructor may use the cache") {
  struct Curious {
    Cache<int, Curious>* cache;
    explicit Curious(Cache<int, Curious>* c) : cache(c) {}
    Curious(Curious&& other) noexcept : cache(std::exchange(other.cache, nullptr)) {}
    Curious(const Curious&) = delete;
    ~Curious() {
      if (cache != nullptr) (void)cache->stats();
    }
  };
  Cache<int, Curious> cache({.max_entries = 2, .max_bytes = 40, .shards = 1});
  for (int i = 0; i < 10; ++i) cache.put(i % 4, Curious(&cache));
  cache.erase(1);
  CHECK(cache.stats().entries <= 2);
  for (int i = 0; i < 4; ++i) cache.erase(i);
}

TEST_CASE("cache: behaves like a list of entries in the order of use under random calls") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const auto below = [&](std::uint64_t n) { return static_cast<std::size_t>(random() % n); };
    const std::size_t max_entries = 1 + below(8);
    const auto ttl = std::chrono::milliseconds(1 + below(20));
    const auto negative = std::chrono::milliseconds(below(10));
    const auto stale = std::chrono::milliseconds(below(20));
    const auto retry = std::chrono::milliseconds(1 + below(5));
    ManualClock clock;
    Cache<int, int> cache({.max_entries = max_entries,
                           .ttl = ttl,
                           .negative_ttl = negative,
                           .stale = stale,
                           .retry_after = retry,
                           .shards = 1},
                          clock);
    struct Entry {
      int key;
      std::optional<int> value;
      SteadyTime fresh;
      SteadyTime dead;
      SteadyTime retry;
    };
    std::list<Entry> entries;  // the oldest first
    const auto find = [&](int key) {
      auto at = entries.begin();
      while (at != entries.end() && at->key != key) ++at;
      return at;
    };
    const auto store = [&](int key, std::optional<int> value, std::chrono::nanoseconds fresh,
                           std::chrono::nanoseconds more) {
      if (const auto at = find(key); at != entries.end()) entries.erase(at);
      if (entries.size() == max_entries) entries.pop_front();
      entries.push_back({key, value, clock.now() + fresh, clock.now() + fresh + more, clock.now() + fresh});
    };
    const auto touch = [&](std::list<Entry>::iterator at) { entries.splice(entries.end(), entries, at); };
    for (int step = 0; step < 400; ++step) {
      const int key = static_cast<int>(below(2 * max_entries));
      const auto at = find(key);
      const bool fresh = at != entries.end() && clock.now() < at->fresh;
      switch (below(6)) {
        case 0:
          clock.advance(std::chrono::milliseconds(below(8)));
          break;
        case 1:
          cache.put(key, step);
          store(key, step, ttl, stale);
          break;
        case 2:
          CHECK(cache.erase(key) == (at != entries.end()));
          if (at != entries.end()) entries.erase(at);
          break;
        case 3: {
          const auto value = cache.get(key);
          CHECK((value ? std::optional<int>(*value) : std::nullopt) == (fresh ? at->value : std::nullopt));
          if (fresh) touch(at);
          break;
        }
        case 4:
          CHECK(cache.insert_if_absent(key) == !fresh);
          if (fresh) {
            touch(at);
          } else {
            store(key, std::nullopt, ttl, {});
          }
          break;
        default: {
          const std::size_t kind = below(3);
          bool loaded = false;
          const auto value =
              cache.get_or_load(kForever, key, [&](int asked, const Context&) -> Result<std::optional<int>> {
                CHECK(asked == key);
                loaded = true;
                if (kind == 0) return fail(ErrorKind::io, "no answer");
                if (kind == 1) return std::nullopt;
                return step;
              });
          std::optional<int> served;
          bool failed = false;
          const bool old = at != entries.end() && !fresh && clock.now() < at->dead && at->value;
          const bool loads = !fresh && !(old && clock.now() < at->retry);
          CHECK(loaded == loads);
          if (!loads) {
            served = at->value;
            touch(at);
          } else if (kind == 0) {
            failed = !old;
            if (old) served = at->value;
            if (at != entries.end()) at->retry = clock.now() + retry;
          } else if (kind == 2) {
            served = step;
            store(key, step, ttl, stale);
          } else if (negative.count() > 0) {
            store(key, std::nullopt, negative, {});
          } else if (at != entries.end()) {
            entries.erase(at);
          }
          CHECK(value.has_value() == !failed);
          if (value) CHECK((*value ? std::optional<int>(**value) : std::nullopt) == served);
        }
      }
      CHECK(cache.stats().entries == entries.size());
    }
  }
}
