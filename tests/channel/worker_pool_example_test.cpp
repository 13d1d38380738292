// The examples of docs/channels/worker_pool.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>

#include "channel/channel.hpp"
#include "channel/task_group.hpp"
#include "channel/worker_pool.hpp"

using namespace logpipe;

TEST_CASE("example: worker pool with scratch memory and a place to emit to") {
  auto [sender, receiver] = make_channel<int>(16);
  for (int i = 0; i < 10; ++i) CHECK(sender.try_send(int{i}) == SendStatus::sent);
  sender = {};
  std::string written;
  // [run_worker_pool]
  TaskGroup group(Context::background());
  run_worker_pool(
      group, std::move(receiver), group.context(), {.workers = 2, .ahead = 8, .name = "format"},
      [](std::size_t) {  // on each worker's thread
        return [scratch = std::string()](int number) mutable {
          scratch.assign(static_cast<std::size_t>(1), static_cast<char>('0' + number));
          return scratch;
        };
      },
      [&](std::string&& text) -> Status {  // one at a time, in order
        written += text;
        return {};
      },
      [](const Status& status) { CHECK(status.has_value()); });
  CHECK(group.wait().has_value());
  CHECK(written == "0123456789");
  // [end]
}

TEST_CASE("example: worker pool that follows its load and can be looked into") {
  // [scaling]
  const auto stats = std::make_shared<PoolStats>();
  TaskGroup group(Context::background());
  auto [sender, receiver] = make_channel<int>(8);
  Receiver<std::string> results = worker_pool(
      group, group.context(), std::move(receiver), {.workers = 16, .min_workers = 1, .name = "lookup", .stats = stats},
      [](int number) { return std::to_string(number); }, {.items = 4},
      {.label = [](const int& number) { return "number " + std::to_string(number); }});
  CHECK(sender.send(7, group.context()) == SendStatus::sent);
  CHECK(results.recv(group.context()) == "7");
  const PoolStats::Snapshot now = stats->snapshot();  // from any thread
  CHECK(now.workers == 1);
  CHECK(now.max == 16);
  for (const PoolStats::Worker& worker : now.each) {
    if (worker.in_progress) MESSAGE(worker.in_progress->label, " for ", worker.in_progress->age_seconds, " s");
  }
  sender = {};
  CHECK(group.wait().has_value());
  // [end]
}

TEST_CASE("example: worker pool that goes on after failures, in order by key") {
  auto [sender, receiver] = make_channel<std::string>(16);
  for (const char* line : {"a=1", "b=2", "a:3", "b=4"}) CHECK(sender.try_send(line) == SendStatus::sent);
  sender = {};
  // [keep_going]
  std::string values;
  std::string rejected;
  TaskGroup group(Context::background());
  run_worker_pool(
      group, std::move(receiver), group.context(),
      {.workers = 4, .order = Order::key, .on_failure = OnFailure::keep_going},
      [](std::size_t) {
        return [](std::string&& line) -> Result<std::string> {
          if (line[1] != '=') return fail(ErrorKind::invalid, "no equals sign");
          return line.substr(2);
        };
      },
      [&](std::string&& value) { values += value; },
      PoolHooks<std::string>{
          .key = [](const std::string& line) { return static_cast<std::uint64_t>(line[0]); },
          .on_failed = [&](std::string&& line, const Error& error) { rejected += line + ": " + error.message; }});
  CHECK(group.wait().has_value());
  CHECK(values.find('2') < values.find('4'));  // both are b's
  CHECK(rejected == "a:3: no equals sign");
  // [end]
}
