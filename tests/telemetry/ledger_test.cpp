#include "telemetry/ledger.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/telemetry/json_check.hpp"

using namespace logpipe;

namespace {

/// The moment when 100 events have been read, 40 taken out by the level, and 60 stand before the sink.
void read_and_filter(PipelineAccount& pipeline) {
  pipeline.received("app", {100, 10'000});
  pipeline.discarded("level", "level", {40, 4'000});
  pipeline.passed({100, 10'000}, {60, 6'000});
}

}  // namespace

TEST_CASE("ledger: balances at every step of a batch") {
  Ledger ledger;
  PipelineAccount& pipeline = ledger.pipeline("main");
  SinkAccount& out = pipeline.sink("out");
  CHECK(ledger.snapshot().balanced);

  pipeline.received("app", {100, 10'000});
  LedgerSnapshot snapshot = ledger.snapshot();
  CHECK(snapshot.balanced);
  CHECK(snapshot.pipelines[0].sinks[0].in_flight == Amount{100, 10'000});

  pipeline.discarded("level", "level", {40, 4'000});
  pipeline.passed({100, 10'000}, {60, 6'000});
  snapshot = ledger.snapshot();
  CHECK(snapshot.balanced);
  CHECK(snapshot.pipelines[0].sinks[0].in_flight == Amount{60, 6'000});
  CHECK(snapshot.pipelines[0].sinks[0].discarded.at("level") == Amount{40, 4'000});

  out.discarded("when", {10, 1'000});
  out.failed("write_error", {5, 500});
  out.dead_lettered("rejected", {5, 500});
  out.delivered({40, 4'000});
  out.completed({60, 6'000});
  snapshot = ledger.snapshot();
  CHECK(snapshot.balanced);
  CHECK(snapshot.in_flight() == Amount{});
  const LedgerSnapshot::Sink& sink = snapshot.pipelines[0].sinks[0];
  CHECK(sink.received == Amount{100, 10'000});
  CHECK(sink.delivered == Amount{40, 4'000});
  CHECK(total(sink.discarded) == Amount{50, 5'000});
  CHECK(total(sink.failed) == Amount{5, 500});
  CHECK(total(sink.dead_lettered) == Amount{5, 500});
}

TEST_CASE("ledger: every sink answers for itself") {
  Ledger ledger;
  PipelineAccount& pipeline = ledger.pipeline("main");
  SinkAccount& fast = pipeline.sink("fast");
  pipeline.sink("slow");
  read_and_filter(pipeline);
  fast.delivered_all({60, 6'000});
  const LedgerSnapshot snapshot = ledger.snapshot();
  CHECK(snapshot.balanced);
  CHECK(snapshot.pipelines[0].sinks[0].name == "fast");
  CHECK(snapshot.pipelines[0].sinks[0].in_flight == Amount{});
  CHECK(snapshot.pipelines[0].sinks[1].in_flight == Amount{60, 6'000});
}

TEST_CASE("ledger: an event that is lost in a stage shows") {
  Ledger ledger;
  PipelineAccount& pipeline = ledger.pipeline("main");
  pipeline.sink("out");
  pipeline.received("app", {100, 10'000});
  pipeline.passed({100, 10'000}, {99, 9'900});
  CHECK_FALSE(ledger.snapshot().balanced);
}

TEST_CASE("ledger: an event that is lost at a sink shows, at that sink only") {
  Ledger ledger;
  PipelineAccount& pipeline = ledger.pipeline("main");
  SinkAccount& good = pipeline.sink("good");
  SinkAccount& bad = pipeline.sink("bad");
  read_and_filter(pipeline);
  good.delivered_all({60, 6'000});
  bad.delivered({59, 5'900});
  bad.completed({60, 6'000});
  const LedgerSnapshot snapshot = ledger.snapshot();
  CHECK_FALSE(snapshot.balanced);
  CHECK_FALSE(snapshot.pipelines[0].sinks[0].balanced);
  CHECK(snapshot.pipelines[0].sinks[1].balanced);
}

TEST_CASE("ledger: a batch that is finished twice shows, though both sides are too much by the same") {
  Ledger ledger;
  PipelineAccount& pipeline = ledger.pipeline("main");
  SinkAccount& out = pipeline.sink("out");
  read_and_filter(pipeline);
  out.delivered_all({60, 6'000});
  out.delivered_all({60, 6'000});
  CHECK_FALSE(ledger.snapshot().balanced);
}

TEST_CASE("ledger: bytes alone can be out of balance") {
  Ledger ledger;
  PipelineAccount& pipeline = ledger.pipeline("main");
  SinkAccount& out = pipeline.sink("out");
  read_and_filter(pipeline);
  out.delivered({60, 5'999});
  out.completed({60, 6'000});
  CHECK_FALSE(ledger.snapshot().balanced);
}

TEST_CASE("ledger: a sink that comes after the data is refused, a known one is not") {
  Ledger ledger;
  PipelineAccount& pipeline = ledger.pipeline("main");
  SinkAccount& out = pipeline.sink("out");
  pipeline.received("app", {1, 10});
  CHECK(&pipeline.sink("out") == &out);
  CHECK_THROWS_AS(pipeline.sink("late"), std::logic_error);
  CHECK(&ledger.pipeline("main") == &pipeline);
}

TEST_CASE("ledger: reasons beyond the limit are counted as other") {
  Ledger ledger;
  PipelineAccount& pipeline = ledger.pipeline("main");
  SinkAccount& out = pipeline.sink("out");
  pipeline.received("app", {100, 100});
  pipeline.passed({100, 100}, {100, 100});
  for (int i = 0; i < 100; ++i) out.discarded("reason" + std::to_string(i), {1, 1});
  out.completed({100, 100});
  const LedgerSnapshot snapshot = ledger.snapshot();
  CHECK(snapshot.balanced);
  CHECK(snapshot.pipelines[0].sinks[0].discarded.size() == 65);
  CHECK(snapshot.pipelines[0].sinks[0].discarded.at("other") == Amount{36, 36});
}

TEST_CASE("ledger: the JSON has the documented layout") {
  Ledger ledger;
  PipelineAccount& pipeline = ledger.pipeline("main");
  SinkAccount& out = pipeline.sink("out");
  read_and_filter(pipeline);
  out.delivered({50, 5'000});
  out.dead_lettered("rejected", {10, 1'000});
  out.completed({60, 6'000});
  CHECK(ledger.snapshot().to_json() ==
        "{\"balanced\":true,\"pipelines\":[{\"name\":\"main\",\"received\":{\"events\":100,\"bytes\":10000},"
        "\"sources\":[{\"name\":\"app\",\"received\":{\"events\":100,\"bytes\":10000}}],"
        "\"stages\":[{\"component\":\"level\",\"discarded\":{\"level\":{\"events\":40,\"bytes\":4000}},\"failed\":{}}],"
        "\"sinks\":[{\"name\":\"out\",\"received\":{\"events\":100,\"bytes\":10000},"
        "\"delivered\":{\"events\":50,\"bytes\":5000},\"discarded\":{\"level\":{\"events\":40,\"bytes\":4000}},"
        "\"failed\":{},\"dead_lettered\":{\"rejected\":{\"events\":10,\"bytes\":1000}},"
        "\"in_flight\":{\"events\":0,\"bytes\":0},\"balanced\":true}]}]}\n");
}

TEST_CASE("ledger: the JSON is well-formed whatever the names are") {
  Ledger ledger;
  CHECK(test::JsonCheck::valid(ledger.snapshot().to_json()));
  PipelineAccount& pipeline = ledger.pipeline("a\"b\\\n\x01\xFF");
  pipeline.sink("s\t\x7F");
  pipeline.sink("z");
  pipeline.received("\xC3", {1, 1});
  pipeline.received("b", {1, 1});
  pipeline.failed("c", "\"", {1, 1});
  pipeline.failed("d", "e", {1, 1});
  CHECK(test::JsonCheck::valid(ledger.snapshot().to_json()));
}

TEST_CASE("ledger: the table shows figures, reasons and a violation") {
  Ledger ledger;
  PipelineAccount& pipeline = ledger.pipeline("main");
  SinkAccount& out = pipeline.sink("out");
  pipeline.received("app", {1'234'567, 100'000'000});
  pipeline.discarded("level", "level", {234'567, 10'000'000});
  pipeline.passed({1'234'567, 100'000'000}, {1'000'000, 90'000'000});
  out.delivered_all({1'000'000, 90'000'000});
  CHECK(ledger.snapshot().to_table() ==
        "ledger: balanced\n"
        "pipeline  sink             received   delivered   discarded  failed  dead letters  in flight\n"
        "main      out   events    1,234,567   1,000,000     234,567       0             0          0\n"
        "                bytes   100,000,000  90,000,000  10,000,000       0             0          0\n"
        "  main/out discarded level: 234,567 events, 10,000,000 bytes\n");
  out.completed({1, 1});
  const std::string table = ledger.snapshot().to_table();
  CHECK(table.starts_with("ledger: NOT BALANCED\n"));
  CHECK(table.find("main/out does not balance") != std::string::npos);
}

TEST_CASE("ledger: snapshots of two graphs add up by name") {
  Ledger before;
  read_and_filter((before.pipeline("main").sink("out"), before.pipeline("main")));
  before.pipeline("main").sink("out").delivered_all({60, 6'000});
  Ledger after;
  after.pipeline("main").sink("new");
  after.pipeline("main").sink("out");
  after.pipeline("extra");
  read_and_filter(after.pipeline("main"));

  LedgerSnapshot sum = before.snapshot();
  sum.add(after.snapshot());
  CHECK(sum.balanced);
  REQUIRE(sum.pipelines.size() == 2);
  CHECK(sum.pipelines[0].name == "extra");
  const LedgerSnapshot::Pipeline& main = sum.pipelines[1];
  CHECK(main.received == Amount{200, 20'000});
  CHECK(main.sources.at("app") == Amount{200, 20'000});
  REQUIRE(main.sinks.size() == 2);
  CHECK(main.sinks[0].name == "new");
  CHECK(main.sinks[0].received == Amount{100, 10'000});
  CHECK(main.sinks[1].received == Amount{200, 20'000});
  CHECK(main.sinks[1].delivered == Amount{60, 6'000});
  CHECK(main.sinks[1].in_flight == Amount{60, 6'000});
  CHECK(sum.in_flight() == Amount{120, 12'000});
}

TEST_CASE("ledger: is exact when workers, sinks and readers use it at once") {
  Ledger ledger;
  PipelineAccount& pipeline = ledger.pipeline("main");
  SinkAccount& first = pipeline.sink("first");
  SinkAccount& second = pipeline.sink("second");
  constexpr int kThreads = 4;
  constexpr int kBatches = 500;
  std::latch start(kThreads + 1);
  std::atomic<int> running{kThreads};
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const std::string source = "s" + std::to_string(t);
      start.arrive_and_wait();
      for (int i = 0; i < kBatches; ++i) {
        pipeline.received(source, {10, 100});
        pipeline.discarded("level", "level", {4, 40});
        pipeline.passed({10, 100}, {6, 60});
        first.delivered_all({6, 60});
        second.failed("write_error", {1, 10});
        second.delivered({5, 50});
        second.completed({6, 60});
      }
      running.fetch_sub(1);
    });
  }
  start.arrive_and_wait();
  while (running.load() > 0) {
    const LedgerSnapshot snapshot = ledger.snapshot();
    // Each batch is updated in steps, but no step is ever seen by half.
    REQUIRE(snapshot.pipelines[0].received.bytes == 10 * snapshot.pipelines[0].received.events);
    REQUIRE(snapshot.pipelines[0].sinks[0].delivered.bytes == 10 * snapshot.pipelines[0].sinks[0].delivered.events);
  }
  threads.clear();
  const LedgerSnapshot snapshot = ledger.snapshot();
  CHECK(snapshot.balanced);
  CHECK(snapshot.in_flight() == Amount{});
  const std::uint64_t batches = kThreads * kBatches;
  CHECK(snapshot.pipelines[0].received == Amount{10 * batches, 100 * batches});
  CHECK(snapshot.pipelines[0].sinks[1].delivered == Amount{5 * batches, 50 * batches});
  CHECK(snapshot.pipelines[0].sinks[1].failed.at("write_error") == Amount{batches, 10 * batches});
}
