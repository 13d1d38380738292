// The examples of docs/channels/first_of.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "channel/first_of.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;

TEST_CASE("example: first_of") {
  // Stands in for a server that does not answer.
  const auto ask = [](const Context& ctx, const std::string& server) -> Result<std::string> {
    if (server == "a.example") {
      testing::await([&] { return ctx.done(); });
      return fail(error_of(ctx));
    }
    return server + " says hello";
  };
  // [first_of]
  const std::string servers[] = {"a.example", "b.example"};
  FirstOfStats stats;
  const Result<std::string> answer =
      first_of(Context::background(), {.attempts = 2, .hedge_after = std::chrono::milliseconds(5), .stats = &stats},
               [&](const Context& ctx, std::size_t attempt) { return ask(ctx, servers[attempt]); });
  CHECK(answer.value() == "b.example says hello");  // and the request to a.example has been cancelled
  CHECK(stats.rescued == 1);
  // [end]
}

TEST_CASE("example: first_of on an executor") {
  // [executor]
  TaskGroup group(Context::background());
  {
    PoolExecutor executor(group, {.workers = 8, .min_workers = 1, .name = "lookup"}, 64);
    const Result<int> answer = first_of(Context::background(), {.executor = &executor},
                                        [](const Context&, std::size_t attempt) -> Result<int> {
                                          if (attempt == 0) return fail(ErrorKind::io, "connection refused");
                                          return 7;  // asked at once: a failure is not waited for
                                        });
    CHECK(answer == 7);
  }
  CHECK(group.wait().has_value());
  // [end]
}
