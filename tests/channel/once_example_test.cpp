// The examples of docs/channels/once.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <utility>

#include "channel/once.hpp"
#include "channel/task_group.hpp"

using namespace logpipe;

TEST_CASE("example: once") {
  // [once]
  Once<std::string> address;
  std::atomic<int> lookups{0};
  TaskGroup group(Context::background());
  for (int i = 0; i < 8; ++i) {
    group.spawn("worker", [&, ctx = group.context()]() -> Status {
      OnceResult<std::string> found = address.get(ctx, [&](const Context&) -> Result<std::string> {
        lookups.fetch_add(1);
        return "10.0.0.7:9000";
      });
      if (!found) return fail(found.error());
      CHECK(**found == "10.0.0.7:9000");
      return {};
    });
  }
  CHECK(group.wait().has_value());
  CHECK(lookups == 1);
  address.reset();  // the next one to ask looks it up again
  // [end]
}

TEST_CASE("example: once and failures") {
  // [failure]
  Once<int> once;
  const Context ctx = Context::background();
  CHECK_FALSE(once.get(ctx, [](const Context&) -> Result<int> { return fail(ErrorKind::io, "no route"); }));
  CHECK(**once.get(ctx, [](const Context&) { return 7; }) == 7);  // a failure is not kept
  // [end]
}
