// The examples of docs/channels/select.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "channel/select.hpp"

using namespace logpipe;

TEST_CASE("example: a batcher that flushes when it is full or late") {
  auto [tx, lines] = make_channel<std::string>(8);
  auto [batches, rx] = make_channel<std::vector<std::string>>(8);
  for (const char* text : {"one", "two", "three"}) CHECK(tx.try_send(text) == SendStatus::sent);
  tx = {};
  const Context ctx = Context::background();
  // [batcher]
  std::vector<std::string> batch;
  std::string line;
  SteadyTime flush_at = SteadyTime::max();
  while (lines) {
    bool flush = false;
    switch (const Selected selected = select(ctx, on_recv(lines, line), until(flush_at)); selected.index) {
      case 0:
        if (selected.status == SelectStatus::closed) {
          lines = {};
          flush = true;
          break;
        }
        if (batch.empty()) flush_at = std::chrono::steady_clock::now() + std::chrono::seconds(1);
        batch.push_back(std::move(line));
        flush = batch.size() == 2;
        break;
      case 1:
        flush = true;
        break;
      default:  // the context has ended
        return;
    }
    if (!flush || batch.empty()) continue;
    if (batches.send(std::exchange(batch, {}), ctx) != SendStatus::sent) return;
    flush_at = SteadyTime::max();
  }
  // [end]
  CHECK(*rx.try_recv() == std::vector<std::string>{"one", "two"});
  CHECK(*rx.try_recv() == std::vector<std::string>{"three"});
}

TEST_CASE("example: errors before the rest") {
  auto [errors_in, errors] = make_channel<std::string>(8);
  auto [rest_in, rest] = make_channel<std::string>(8);
  CHECK(rest_in.try_send("started") == SendStatus::sent);
  CHECK(errors_in.try_send("failed") == SendStatus::sent);
  const Context ctx = Context::background();
  std::string line;
  // [priority]
  const Selected first = select(ctx, SelectOrder::priority, on_recv(errors, line), on_recv(rest, line));
  CHECK(first.index == 0);
  CHECK(line == "failed");
  // [end]
}

TEST_CASE("example: relay without waiting for either side alone") {
  auto [tx, in] = make_channel<int>(1);
  auto [out, rx] = make_channel<int>(1);
  auto [stop_tx, stop] = make_channel<int>(1);
  CHECK(tx.try_send(7) == SendStatus::sent);
  const Context ctx = Context::background();
  // [relay]
  std::optional<int> pending;
  Receiver<int> not_now;  // an empty end is never ready
  Sender<int> nothing_to_send;
  int ignored = 0;
  for (int round = 0; round < 3; ++round) {
    int none = 0;
    const Selected selected = select(ctx, on_recv(pending ? not_now : in, pending),
                                     on_send(pending ? out : nothing_to_send, pending ? *pending : none),
                                     on_recv(stop, ignored), otherwise());
    if (selected.status == SelectStatus::sent) pending.reset();
  }
  // [end]
  CHECK(rx.try_recv() == 7);
}
