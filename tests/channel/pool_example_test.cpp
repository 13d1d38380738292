// The example of docs/channels/pool.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include "delivery/pool.hpp"

using namespace logpipe;

namespace {
struct Connection {
  int number;
  bool alive{true};
};
}  // namespace

TEST_CASE("example: pool") {
  const Context ctx = Context::background();
  // [pool]
  int made = 0;
  Pool<Connection> pool(
      {.max = 2}, [&](const Context&) -> Result<Connection> { return Connection{++made}; },
      [](const Connection& connection) { return connection.alive; });
  {
    auto first = pool.acquire(ctx).value();
    auto second = pool.acquire(ctx).value();
    CHECK(second->number == 2);
    second->alive = false;  // found out when it is to be used again
  }
  CHECK(pool.acquire(ctx).value()->number == 1);
  CHECK(pool.stats().idle == 2);
  // [end]
}
