// The examples of docs/channels.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "channel/channel.hpp"
#include "channel/merge.hpp"
#include "channel/or_done.hpp"
#include "channel/task_group.hpp"
#include "channel/tee.hpp"
#include "channel/worker_pool.hpp"

using namespace logpipe;

TEST_CASE("example: context") {
  // [context]
  const auto run = with_cancel(Context::background());
  const auto request = with_timeout(run.context, std::chrono::seconds(5));
  run.cancel("drain deadline");
  CHECK(request.context.err() == ContextError::canceled);
  CHECK(request.context.cause() == "drain deadline");
  // [end]
}

TEST_CASE("example: channel") {
  // [channel]
  auto [sender, receiver] = make_channel<std::string>({.items = 2});
  const Context ctx = Context::background();
  CHECK(sender.send("first", ctx) == SendStatus::sent);
  CHECK(sender.send("second", ctx) == SendStatus::sent);

  std::string third = "third";
  CHECK(sender.try_send(std::move(third)) == SendStatus::full);
  CHECK(third == "third");  // not sent, so still ours

  sender = {};  // the last sender gone: closed
  CHECK(receiver.recv(ctx) == "first");
  CHECK(receiver.recv(ctx) == "second");
  CHECK(receiver.recv(ctx) == std::nullopt);
  // [end]
}

TEST_CASE("example: or_done") {
  auto [sender, receiver] = make_channel<std::string>({.items = 2});
  CHECK(sender.try_send("line") == SendStatus::sent);
  sender = {};
  const Context ctx = Context::background();
  std::string written;
  // [or_done]
  auto lines = or_done(receiver, ctx);
  for (const std::string& line : lines) written += line;
  CHECK(lines.status() == RecvStatus::closed);  // `aborted` had the context ended first
  // [end]
  CHECK(written == "line");
}

TEST_CASE("example: tee") {
  // [tee]
  using Item = std::shared_ptr<const std::string>;
  auto [archive, archived] = make_channel<Item>(8);
  auto [screen, shown] = make_channel<Item>(1);
  std::vector<TeeOutput<Item>> outputs;
  outputs.push_back({.sender = std::move(archive), .when_full = WhenFull::block});
  outputs.push_back({.sender = std::move(screen), .when_full = WhenFull::drop_oldest});
  Tee<Item> tee(std::move(outputs));

  const Context ctx = Context::background();
  CHECK(tee.send(std::make_shared<const std::string>("one"), ctx) == SendStatus::sent);
  CHECK(tee.send(std::make_shared<const std::string>("two"), ctx) == SendStatus::sent);
  CHECK(archived.stats()->items() == 2);
  CHECK(**shown.try_recv() == "two");
  CHECK(tee.missed(1) == 1);
  // [end]
}

TEST_CASE("example: task group, merge and worker pool") {
  // [pipeline]
  TaskGroup group(Context::background());
  std::vector<Receiver<int>> inputs;
  for (int source = 0; source < 3; ++source) {
    auto [sender, receiver] = make_channel<int>(4);
    inputs.push_back(std::move(receiver));
    group.spawn("source", [source, ctx = group.context(), out = std::move(sender)]() mutable -> Status {
      for (int i = 0; i < 100; ++i) {
        if (out.send(100 * source + i, ctx) != SendStatus::sent) return fail(error_of(ctx));
      }
      return {};  // `out` dies here, and its channel closes
    });
  }
  Receiver<int> merged = merge(group, group.context(), std::move(inputs));
  Receiver<std::string> results = worker_pool(group, group.context(), std::move(merged), {.workers = 4},
                                              [](int number) { return std::to_string(number); });
  std::size_t count = 0;
  for (const std::string& result : or_done(results, group.context())) count += result.empty() ? 0 : 1;
  const Status status = group.wait();
  CHECK(status.has_value());
  CHECK(count == 300);
  // [end]
}
