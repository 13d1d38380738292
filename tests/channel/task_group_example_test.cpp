// The examples of docs/channels/task_group.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "channel/channel.hpp"
#include "channel/task_group.hpp"

using namespace logpipe;

TEST_CASE("example: task group") {
  // [task_group]
  TaskGroup group(Context::background());
  auto [sender, receiver] = make_channel<int>(1);
  group.spawn("numbers", [ctx = group.context(), out = std::move(sender)]() mutable -> Status {
    for (int i = 0;; ++i) {
      if (out.send(int{i}, ctx) != SendStatus::sent) return {};  // nobody wants more
    }
  });
  group.spawn("reader", [ctx = group.context(), in = std::move(receiver)]() mutable -> Status {
    while (auto number = in.recv(ctx)) {
      if (*number == 3) return fail(ErrorKind::invalid, "three is too many");
    }
    return {};
  });
  const Status status = group.wait();  // the first failure; it has ended the others
  CHECK(status.error().message == "three is too many");
  CHECK(group.context().cause() == "three is too many");
  CHECK(group.running() == 0);
  // [end]
}

TEST_CASE("example: task group and exceptions") {
  // [exceptions]
  TaskGroup group(Context::background());
  group.spawn("parse", [] { throw std::out_of_range("column 7"); });
  CHECK(group.wait().error().message == "task parse: column 7");
  CHECK_THROWS_AS(static_cast<void>(group.wait_or_throw()), std::out_of_range);  // the very same
  // [end]
}

TEST_CASE("example: task group with a limit") {
  // [limit]
  TaskGroup group(Context::background(), 2);
  auto [sender, receiver] = make_channel<int>(0);
  for (int i = 0; i < 2; ++i) {
    CHECK(group.try_spawn("reader", [in = receiver.clone(), ctx = group.context()]() mutable {
      while (in.recv(ctx)) {
      }
    }));
  }
  CHECK_FALSE(group.try_spawn("one too many", [] {}));  // `spawn` would wait
  CHECK(group.running_names() == std::vector<std::string>{"reader", "reader"});
  sender = {};
  CHECK(group.wait().has_value());
  // [end]
}
