// The examples of docs/channels/cache.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <string>

#include "channel/cache.hpp"

using namespace logpipe;
using namespace std::chrono_literals;

TEST_CASE("example: cache that loads") {
  // [load]
  Cache<std::string, std::string> owners({.max_entries = 1000, .ttl = 5min, .negative_ttl = 30s, .stale = 1h});
  const auto ask = [](const std::string& service, const Context&) -> Result<std::optional<std::string>> {
    if (service == "api") return "team blue";
    return std::nullopt;  // there is none: remembered for 30 seconds
  };
  const Context ctx = Context::background();
  CHECK(*owners.get_or_load(ctx, "api", ask).value() == "team blue");
  CHECK(owners.get_or_load(ctx, "web", ask).value() == nullptr);
  CHECK(*owners.get_or_load(ctx, "api", ask).value() == "team blue");
  CHECK(owners.stats().loads == 2);
  CHECK(owners.stats().hits == 1);
  // [end]
}

TEST_CASE("example: cache as a set that forgets") {
  // [set]
  struct Nothing {};
  Cache<std::string, Nothing> seen({.max_entries = 100'000, .ttl = 10min});
  CHECK(seen.insert_if_absent("disk full on web1"));
  CHECK_FALSE(seen.insert_if_absent("disk full on web1"));  // for ten minutes, to every thread
  // [end]
}

TEST_CASE("example: plain cache") {
  // [plain]
  Cache<int, std::string> names({.max_entries = 2, .shards = 1});
  names.put(1, "one");
  names.put(2, "two");
  const auto one = names.get(1);  // used now, so 2 is the one to go
  names.put(3, "three");
  CHECK(names.get(2) == nullptr);
  CHECK(names.erase(1));
  CHECK(*one == "one");  // what was handed out stays
  // [end]
}
