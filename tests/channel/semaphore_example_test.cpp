// The examples of docs/channels/semaphore.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <atomic>
#include <optional>
#include <utility>

#include "channel/semaphore.hpp"
#include "channel/task_group.hpp"

using namespace logpipe;

TEST_CASE("example: semaphore") {
  // [semaphore]
  Semaphore requests(3);  // at most three at once
  TaskGroup group(Context::background());
  std::atomic<int> open{0};
  std::atomic<int> answered{0};
  for (int i = 0; i < 20; ++i) {
    group.spawn("request", [&, ctx = group.context()]() -> Status {
      Result<Permit> permit = requests.acquire(ctx);
      if (!permit) return fail(permit.error());  // the group has ended
      CHECK(open.fetch_add(1) < 3);
      answered.fetch_add(1);
      open.fetch_sub(1);
      return {};  // the permit dies, and the next in line has it
    });
  }
  CHECK(group.wait().has_value());
  CHECK(answered == 20);
  // [end]
}

TEST_CASE("example: semaphore with weights") {
  // [weights]
  Semaphore bytes(64 * 1024);
  const Context ctx = Context::background();
  Permit response = bytes.acquire(ctx, 16 * 1024).value();  // as much as it may become
  response.release(response.count() - 700);                 // and no more than it was
  Permit header = response.split(100);                      // parts may go separate ways
  CHECK(bytes.in_use() == 700);
  response.release();
  CHECK(bytes.in_use() == 100);
  CHECK(bytes.acquire(ctx, 65 * 1024).error().kind == ErrorKind::invalid);  // it would wait for ever
  bytes.resize(128 * 1024);
  CHECK(bytes.try_acquire(65 * 1024).has_value());
  // [end]
}
