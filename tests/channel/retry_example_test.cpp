// The example of docs/channels/retry.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <chrono>

#include "channel/result.hpp"
#include "delivery/retry.hpp"

using namespace logpipe;

TEST_CASE("example: retry") {
  const Context ctx = Context::background();
  const auto send = [](int attempt) -> Status {
    if (attempt < 3) return fail(ErrorKind::io, "connection refused");
    return {};
  };
  // [retry]
  RetryBudget budget(0.2, 10);  // a retry for every five operations, and ten a second in any case
  Retry retry({.initial = std::chrono::microseconds(10), .max_attempts = 4}, 42, &budget);
  int sent = 0;
  Status status = send(++sent);
  while (!status && retry.wait(ctx) == Retry::Next::attempt) status = send(++sent);
  CHECK(status);
  CHECK(sent == 3);
  // [end]
}
