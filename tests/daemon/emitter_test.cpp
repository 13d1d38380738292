#include "daemon/emitter.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/daemon/support.hpp"
#include "tests/support/blocks.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

class NoSource final : public Source {
 public:
  Status run(Sender<BlockRef>, const RunContext&) override { return {}; }
};

/// An emitter with two outputs of one event each, whose other ends the test holds.
struct Outputs {
  explicit Outputs(std::size_t room = 1) {
    add_source(plan, "in", std::make_unique<NoSource>());
    for (const char* name : {"first", "second"}) {
      rig.account().sink(name);
      add_sink(plan, {.name = name, .queue = {.capacity = {.items = room}}, .sink = nullptr, .when = {}});
    }
    emitter = std::make_unique<Emitter>(plan, 0, rig.services());
    for (Receiver<Delivery>* receiver : {&first, &second}) {
      auto channel = make_channel<Delivery>(room);
      emitter->add_output(std::move(channel.sender));
      *receiver = std::move(channel.receiver);
    }
  }
  /// One line as the workers hand it on.
  Processed processed(const std::string& line) {
    Batch batch;
    batch.open(freeze(block_of(rig.blocks, line + "\n")));
    Processed result;
    result.received = {batch.received_events, batch.received_bytes};
    result.remaining = result.received;
    for (int i = 0; i < 2; ++i) {
      Delivery delivery(rig.blocks);
      delivery.admitted = delivery.delivered = result.remaining;
      delivery.encoded.append(line);
      delivery.seal(batch);
      result.deliveries.push_back(std::move(delivery));
      result.outputs.push_back(static_cast<std::size_t>(i));
    }
    return result;
  }
  Status emit(const std::string& line, const Context& ctx = Context::background()) {
    return (*emitter)(processed(line), ctx);
  }
  static std::string text_of(const Delivery& delivery) {
    iovec piece{};
    if (delivery.encoded.iovecs(delivery.block(), 0, &piece, 1) == 0) return {};
    return {static_cast<const char*>(piece.iov_base), piece.iov_len};
  }
  /// What waits at an output, or `nothing`.
  static std::string take(Receiver<Delivery>& output) {
    const std::optional<Delivery> delivery = output.try_recv();
    return delivery ? text_of(*delivery) : "nothing";
  }

  Rig rig;
  Plan plan = main_plan();
  Receiver<Delivery> first;
  Receiver<Delivery> second;
  std::unique_ptr<Emitter> emitter;
};

}  // namespace

TEST_CASE("emitter: every sink gets every delivery, and the ledger has it in flight for each") {
  Outputs outputs(8);
  CHECK(outputs.emit("one").has_value());
  CHECK(outputs.emit("two").has_value());
  CHECK(Outputs::take(outputs.first) == "one");
  CHECK(Outputs::take(outputs.first) == "two");
  CHECK(Outputs::take(outputs.second) == "one");
  CHECK(Outputs::take(outputs.second) == "two");
  CHECK(outputs.rig.sink("first").in_flight.events == 2);
  CHECK(outputs.rig.sink("second").in_flight.bytes == 8);
  CHECK(outputs.rig.ledger.snapshot().balanced);
  CHECK(outputs.rig.value("logpipe_source_received_events_total", {{"source", "in"}}) == 2);
}

TEST_CASE("emitter: a full queue does not keep a delivery from the sinks that have room") {
  Outputs outputs;
  REQUIRE(outputs.emit("one").has_value());
  CHECK(Outputs::take(outputs.second) == "one");
  // The first still holds `one`, so this waits for it; the second has its delivery before that.
  auto [run, cancel] = with_cancel(Context::background());
  Background emitting([&, ctx = run] { return outputs.emit("two", ctx); });
  const std::optional<Delivery> at_second = outputs.second.recv(Context::background());
  REQUIRE(at_second);
  CHECK(Outputs::text_of(*at_second) == "two");
  CHECK(Outputs::take(outputs.first) == "one");
  REQUIRE(emitting.ended());
  CHECK(emitting.join().has_value());
  CHECK(Outputs::take(outputs.first) == "two");
  CHECK(Outputs::take(outputs.second) == "nothing");
}

TEST_CASE("emitter: waiting for room ends with the run, and what was not sent stays in flight") {
  Outputs outputs;
  REQUIRE(outputs.emit("one").has_value());
  auto [run, cancel] = with_cancel(Context::background());
  Background emitting([&, ctx = run] { return outputs.emit("two", ctx); });
  CHECK(wait_until("/proc/self", [&] { return outputs.first.stats()->blocked_seconds() > 0; }));
  cancel("drain deadline");
  REQUIRE(emitting.ended());
  const Status ended = emitting.join();
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().kind == ErrorKind::canceled);
  CHECK(outputs.rig.sink("first").in_flight.events == 2);
  CHECK(outputs.rig.ledger.snapshot().balanced);
}

TEST_CASE("emitter: a sink that has gone leaves the set, and the others go on") {
  Outputs outputs(8);
  outputs.first = {};
  CHECK(outputs.emit("one").has_value());
  CHECK(outputs.emit("two").has_value());
  CHECK(Outputs::take(outputs.second) == "one");
  CHECK(Outputs::take(outputs.second) == "two");
  CHECK(outputs.rig.sink("first").in_flight.events == 2);
  CHECK(outputs.rig.ledger.snapshot().balanced);
}

TEST_CASE("emitter: without any sink left it ends the run") {
  Outputs outputs;
  outputs.first = {};
  outputs.second = {};
  static_cast<void>(outputs.emit("one").has_value());  // finds out
  const Status ended = outputs.emit("two");
  REQUIRE_FALSE(ended.has_value());
  CHECK(outputs.rig.ledger.snapshot().balanced);
}

TEST_CASE("emitter: what was put aside is entered in the ledger and counted, each under its reason") {
  Outputs outputs(8);
  for (const bool intentional : {true, false, true}) {
    Processed processed = outputs.processed("one");
    const Reason reason = intentional ? Reason::oversize : Reason::parse;
    processed.received += {2, 20};
    processed.tallies.push_back({reason, intentional, Batch::kSourceComponent, 2, 20});
    CHECK((*outputs.emitter)(std::move(processed), Context::background()).has_value());
  }
  const LedgerSnapshot::Sink first = outputs.rig.sink("first");
  CHECK(first.received.events == 9);
  CHECK(total(first.discarded) == Amount{4, 40});
  CHECK(total(first.failed) == Amount{2, 20});
  CHECK(first.in_flight.events == 3);
  CHECK(outputs.rig.ledger.snapshot().balanced);
  CHECK(outputs.rig.value("logpipe_discarded_events_total",
                          {{"component", "source"}, {"reason", "oversize"}, {"intentional", "true"}}) == 4);
  CHECK(outputs.rig.value("logpipe_failed_events_total", {{"component", "source"}, {"reason", "parse"}}) == 2);
}
