#include "daemon/block_worker.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/emitter.hpp"
#include "event/json.hpp"
#include "tests/daemon/support.hpp"
#include "tests/support/blocks.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

class FakeStage final : public Stage {
 public:
  explicit FakeStage(std::function<void(Batch&)> change) : change_(std::move(change)) {}
  void apply(Batch& batch, const Context&) const override { change_(batch); }

 private:
  const std::function<void(Batch&)> change_;
};

/// Takes lines as they are; its run() completes whatever comes.
class FakeSink final : public Sink {
 public:
  explicit FakeSink(SinkProgress* progress = nullptr) : progress_(progress) {}
  void encode(const Batch& batch, std::span<const Event> events, Delivery& out) const override {
    for (const Event& event : events) {
      out.encoded.append(batch.raw(event));
      out.encoded.append('\n');
    }
  }
  Status run(Receiver<Delivery> in, const RunContext& ctx) override {
    while (std::optional<Delivery> delivery = in.recv(ctx.run)) progress_->complete(*delivery);
    return {};
  }

 private:
  SinkProgress* progress_;
};

/// Gives the lines it was made with, a block for each text.
class FakeSource final : public Source {
 public:
  FakeSource(BlockPool& pool, std::vector<std::string> texts) : pool_(pool), texts_(std::move(texts)) {}
  Status run(Sender<BlockRef> out, const RunContext& ctx) override {
    const SourceFileRef file = CheckpointStore::unreplayable("in", "memory");
    std::uint64_t offset = 0;
    for (const std::string& text : texts_) {
      if (out.send(block_of(pool_, text, offset, file), ctx.run) != SendStatus::sent) break;
      offset += text.size();
    }
    return {};
  }

 private:
  BlockPool& pool_;
  const std::vector<std::string> texts_;
};

std::string text_of(const Delivery& delivery) {
  std::string text;
  iovec pieces[16];
  while (text.size() < delivery.encoded.size()) {
    const std::size_t count = delivery.encoded.iovecs(delivery.block(), text.size(), pieces, 16);
    if (count == 0) break;
    for (std::size_t i = 0; i < count; ++i)
      text.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  }
  return text;
}

void add_stage(Plan& plan, std::string name, std::function<void(Batch&)> change) {
  plan.pipelines[0].stages.push_back({std::move(name), std::make_unique<FakeStage>(std::move(change))});
}
void add_sink(Plan& plan, std::string name, const char* when = nullptr) {
  Plan::SinkPart part{
      .name = std::move(name), .queue = {.capacity = {.items = 10}}, .sink = std::make_unique<FakeSink>(), .when = {}};
  if (when != nullptr) part.when = EventCondition::parse(when, nullptr);
  logpipe::test::add_sink(plan, std::move(part));
}

Amount discarded(const Delivery& delivery, Reason reason) {
  Amount amount;
  for (const Delivery::Discard& discard : delivery.discards) {
    if (discard.reason == reason) amount += discard.amount;
  }
  return amount;
}
Amount sum(const Delivery& delivery) {
  Amount amount = delivery.delivered;
  for (const Delivery::Discard& discard : delivery.discards) amount += discard.amount;
  return amount;
}

SourceFileRef file_with(std::vector<std::uint64_t> delivered_until) {
  auto file = std::make_shared<SourceFile>();
  file->id = 7;
  file->source = "in";
  file->path = "in.log";
  file->delivered_until = std::move(delivered_until);
  return file;
}

/// Drops the first event of a batch and keeps quiet about it.
void drop_silently(Batch& batch) {
  if (!batch.events.empty()) batch.events.erase(batch.events.begin());
}

/// The ledger of a whole run over three blocks, with that stage in the middle.
LedgerSnapshot ledger_with(const std::function<void(Batch&)>& stage) {
  Rig rig;
  rig.store->begin_run({"out"});
  Plan plan = main_plan();
  plan.pipelines[0].pool.workers = 2;
  add_source(plan, "in", std::make_unique<FakeSource>(rig.blocks, std::vector<std::string>{"a\nb\n", "c\nd\n", "e\n"}));
  add_stage(plan, "stage", stage);
  SinkProgress& progress = rig.store->sink("out", {{&rig.account().sink("out")}, {}});
  logpipe::test::add_sink(
      plan,
      {.name = "out", .queue = {.capacity = {.items = 10}}, .sink = std::make_unique<FakeSink>(&progress), .when = {}});
  Graph graph(std::move(plan), rig.services());
  CHECK(graph.run(Context::background(), Context::background()).has_value());
  return rig.ledger.snapshot();
}

}  // namespace

TEST_CASE("block worker: hands every sink the whole block when nothing stands in between") {
  BlockPool pool(1 << 20);
  Plan plan = main_plan();
  add_sink(plan, "first");
  add_sink(plan, "second");
  BlockWorker worker(plan, 0, pool, nullptr, {}, {});
  const Processed processed = worker(block_of(pool, "one\ntwo\nthree\n", 100));
  CHECK(processed.received == Amount{3, 14});
  CHECK(processed.remaining == processed.received);
  CHECK(processed.tallies.empty());
  REQUIRE(processed.deliveries.size() == 2);
  for (const Delivery& delivery : processed.deliveries) {
    CHECK(delivery.admitted == processed.remaining);
    CHECK(delivery.delivered == processed.remaining);
    CHECK(delivery.discards.empty());
    CHECK(text_of(delivery) == "one\ntwo\nthree\n");
    REQUIRE(delivery.ranges.size() == 1);
    CHECK(delivery.ranges[0].begin == 100);
    CHECK(delivery.ranges[0].end == 114);
  }
}

TEST_CASE("block worker: applies stages in their order, and received is what remains and what they put aside") {
  BlockPool pool(1 << 20);
  Plan plan = main_plan();
  std::string order;
  add_stage(plan, "first", [&order](Batch& batch) {
    order += "1";
    batch.retain(0, true, [&](const Event& event) -> std::optional<Reason> {
      if (batch.raw(event) == "two") return Reason::level;
      return std::nullopt;
    });
  });
  add_stage(plan, "second", [&order](Batch& batch) {
    order += "2";
    batch.retain(1, false, [&](const Event& event) -> std::optional<Reason> {
      if (batch.raw(event) == "three") return Reason::parse;
      return std::nullopt;
    });
  });
  add_sink(plan, "out");
  BlockWorker worker(plan, 0, pool, nullptr, {}, {});
  const Processed processed = worker(block_of(pool, "one\ntwo\nthree\n"));
  CHECK(order == "12");
  CHECK(processed.received == Amount{3, 14});
  CHECK(processed.remaining == Amount{1, 4});
  REQUIRE(processed.tallies.size() == 2);
  Amount aside;
  for (const Tally& tally : processed.tallies) aside += {tally.events, tally.bytes};
  CHECK(processed.remaining + aside == processed.received);
  CHECK(processed.tallies[0].intentional);
  CHECK_FALSE(processed.tallies[1].intentional);
  CHECK(plan.pipelines[0].component_name(processed.tallies[1].component) == "second");
  CHECK(plan.pipelines[0].component_name(Batch::kSourceComponent) == "source");
  CHECK(text_of(processed.deliveries[0]) == "one\n");
}

TEST_CASE("block worker: a condition keeps events from one sink only, and they are discarded there") {
  BlockPool pool(1 << 20);
  Plan plan = main_plan();
  add_sink(plan, "all");
  add_sink(plan, "errors", "level >= error");
  BlockWorker worker(plan, 0, pool, nullptr, {}, {});
  const Processed processed = worker(block_of(pool, "[INFO] fine\n[ERROR] not fine\n[DEBUG] details\n"));
  CHECK(text_of(processed.deliveries[0]) == "[INFO] fine\n[ERROR] not fine\n[DEBUG] details\n");
  const Delivery& errors = processed.deliveries[1];
  CHECK(text_of(errors) == "[ERROR] not fine\n");
  CHECK(errors.delivered == Amount{1, 17});
  CHECK(discarded(errors, Reason::when).events == 2);
  CHECK(sum(errors) == errors.admitted);
}

TEST_CASE("block worker: a sink that was ahead gets nothing twice, and the other gets everything") {
  BlockPool pool(1 << 20);
  Plan plan = main_plan();
  add_sink(plan, "behind");
  add_sink(plan, "ahead");
  BlockWorker worker(plan, 0, pool, nullptr, {}, {});
  // The second sink has everything before offset 108: one and two.
  const Processed processed = worker(block_of(pool, "one\ntwo\nthree\n", 100, file_with({100, 108})));
  CHECK(text_of(processed.deliveries[0]) == "one\ntwo\nthree\n");
  CHECK(processed.deliveries[0].discards.empty());
  const Delivery& ahead = processed.deliveries[1];
  CHECK(text_of(ahead) == "three\n");
  CHECK(discarded(ahead, Reason::already_delivered) == Amount{2, 8});
  CHECK(sum(ahead) == ahead.admitted);
  // What it has already is settled for it all the same.
  REQUIRE(ahead.ranges.size() == 1);
  CHECK(ahead.ranges[0].begin == 100);
  CHECK(ahead.ranges[0].end == 114);
}

TEST_CASE("block worker: what a sink has already does not count as kept off by its condition") {
  BlockPool pool(1 << 20);
  Plan plan = main_plan();
  add_sink(plan, "out", "level >= error");
  BlockWorker worker(plan, 0, pool, nullptr, {}, {});
  const Processed processed = worker(block_of(pool, "[INFO] a\n[ERROR] b\n[INFO] c\n", 0, file_with({9})));
  const Delivery& delivery = processed.deliveries[0];
  CHECK(discarded(delivery, Reason::already_delivered).events == 1);
  CHECK(discarded(delivery, Reason::when).events == 1);
  CHECK(text_of(delivery) == "[ERROR] b\n");
  CHECK(sum(delivery) == delivery.admitted);
}

TEST_CASE("block worker: a block of which nothing remains is settled without a byte") {
  BlockPool pool(1 << 20);
  Plan plan = main_plan();
  add_stage(plan, "level", [](Batch& batch) {
    batch.retain(0, true, [](const Event&) { return std::optional<Reason>(Reason::level); });
  });
  add_sink(plan, "out");
  BlockWorker worker(plan, 0, pool, nullptr, {}, {});
  const Processed processed = worker(block_of(pool, "one\ntwo\n", 50));
  CHECK(processed.remaining == Amount{});
  const Delivery& delivery = processed.deliveries[0];
  CHECK(delivery.encoded.empty());
  CHECK(delivery.admitted == Amount{});
  REQUIRE(delivery.ranges.size() == 1);
  CHECK(delivery.ranges[0].end == 58);
}

TEST_CASE("block worker: keeps nothing of a block once its deliveries are gone") {
  BlockPool pool(1 << 20);
  Plan plan = main_plan();
  add_sink(plan, "out");
  BlockWorker worker(plan, 0, pool, nullptr, {}, {});
  for (int i = 0; i < 3; ++i) {
    Processed processed = worker(block_of(pool, "one\ntwo\n"));
    CHECK(processed.deliveries.size() == 1);
  }
  CHECK(pool.used() == 0);
}

TEST_CASE("block worker: stages find the worker's heartbeat, for those that wait long") {
  class Waiting final : public Stage {
   public:
    explicit Waiting(bool& found) : found_(found) {}
    void apply(Batch&, const Context& run) const override { found_ = run.value(kWorkerHeartbeat) != nullptr; }

   private:
    bool& found_;
  };
  BlockPool pool(1 << 20);
  Plan plan = main_plan();
  bool found = false;
  plan.pipelines[0].stages.push_back({"waiting", std::make_unique<Waiting>(found)});
  add_sink(plan, "out");
  BlockWorker worker(plan, 0, pool, nullptr, {}, {});
  static_cast<void>(worker(block_of(pool, "one\n")));
  CHECK(found);
}

namespace {

/// Two pipelines: the first routes every line that begins with `r` to a topic, the second subscribes to everything.
Plan routing_plan(const TopicTemplate& over) {
  Plan plan = main_plan();
  add_source(plan, "app", nullptr);
  add_stage(plan, "route", [&over](Batch& batch) {
    batch.retain(0, true, [&](const Event& event) -> std::optional<Reason> {
      if (batch.raw(event).front() != 'r') return std::nullopt;
      batch.routed.push_back({event, &over});
      return Reason::routed;
    });
  });
  Plan::PipelinePart& reader = plan.pipelines.emplace_back();
  reader.name = "reader";
  reader.source_component = "source";
  reader.subscribe = {"#"};
  reader.publishers = {0};
  plan.pipelines[0].subscribers = {1};
  reader.sinks = {0};
  plan.sinks.push_back(
      {.name = "out", .queue = {.capacity = {.items = 10}}, .sink = std::make_unique<FakeSink>(), .when = {}});
  return plan;
}

}  // namespace

TEST_CASE("publisher: a tap that watches changes nothing for a pipeline that subscribes") {
  const TopicTemplate over = *TopicTemplate::parse("over.x");
  for (const bool watched : {false, true}) {
    CAPTURE(watched);
    BlockPool pool(1 << 20);
    TopicHub hub{{}};
    const auto tap = watched ? std::make_unique<TopicHub::Tap>(hub) : nullptr;
    const Plan plan = routing_plan(over);
    BlockWorker first(plan, 0, pool, &hub, {}, {});
    BlockWorker second(plan, 1, pool, &hub, {}, {});
    Processed processed = first(block_of(pool, "kept\nrouted 1\nkept too\nrouted 2\n", 100));
    REQUIRE(processed.publication);
    const Processed read = second(std::move(processed.publication));
    REQUIRE(read.deliveries.size() == 1);
    CHECK(text_of(read.deliveries[0]) == "routed 1\nrouted 2\n");
    // Its sinks settle the positions of all lines, also of those they never see.
    REQUIRE(read.deliveries[0].ranges.size() == 1);
    CHECK(read.deliveries[0].ranges[0].begin == 100);
    CHECK(read.deliveries[0].ranges[0].end == 132);
    CHECK(read.received == Amount{read.remaining} + [&] {
      Amount aside;
      for (const Tally& tally : read.tallies) aside += {tally.events, tally.bytes};
      return aside;
    }());
  }
}

TEST_CASE("publisher: what only taps want is not charged to the memory budget, and the rest with its positions") {
  const TopicTemplate over = *TopicTemplate::parse("over.x");
  BlockPool pool(1 << 20);
  TopicHub hub{{}};
  const TopicHub::Tap tap(hub);
  Plan plan = routing_plan(over);
  {
    BlockWorker worker(plan, 0, pool, &hub, {}, {});
    const Processed processed = worker(block_of(pool, "rrr\nrr\n"));
    CHECK(pool.used() == processed.publication->memory());
    CHECK(processed.publication->memory() >= 4096 + 2 * sizeof(LineOrigin));
  }
  CHECK(pool.used() == 0);
  plan.pipelines[0].subscribers.clear();
  BlockWorker worker(plan, 0, pool, &hub, {}, {});
  const Processed processed = worker(block_of(pool, "rrr\nrr\nkept\n"));
  REQUIRE(processed.publication);
  CHECK(processed.publication->origins.size() == 3);
  CHECK(pool.used() == 0);
}

TEST_CASE("publisher: many topics in one block are told apart") {
  BlockPool pool(1 << 20);
  TopicHub hub{{}};
  const TopicHub::Tap tap(hub);
  Plan plan = main_plan();
  add_source(plan, "app", nullptr);
  add_stage(plan, "parse", [](Batch& batch) { parse_json(batch, false); });
  plan.pipelines[0].publish = TopicTemplate::parse("n.{n}");
  std::string text;
  for (int round = 0; round < 2; ++round) {
    for (int n = 0; n < 500; ++n) text += "{\"n\":" + std::to_string(n) + "}\n";
  }
  BlockWorker worker(plan, 0, pool, &hub, {}, {});
  const Processed processed = worker(block_of(pool, text));
  REQUIRE(processed.publication);
  const Block& block = *processed.publication;
  CHECK(block.topics->size() == 500);
  REQUIRE(block.origins.size() == 1000);
  for (std::size_t i = 0; i < 1000; ++i) {
    CHECK((*block.topics)[block.origins[i].topic] == "n." + std::to_string(i % 500));
  }
}

TEST_CASE("ledger: a stage that says what it dropped leaves it balanced") {
  const LedgerSnapshot ledger = ledger_with([](Batch& batch) {
    batch.retain(0, true, [&](const Event& event) -> std::optional<Reason> {
      if (batch.raw(event) == "c") return Reason::level;
      return std::nullopt;
    });
  });
  CHECK(ledger.balanced);
  CHECK(ledger.in_flight().events == 0);
  CHECK(ledger.pipelines.at(0).received.events == 5);
  CHECK(ledger.pipelines.at(0).sinks.at(0).delivered.events == 4);
}

TEST_CASE("ledger: a stage that loses one event without a word is found out") {
  const LedgerSnapshot ledger = ledger_with(drop_silently);
  CHECK_FALSE(ledger.balanced);
  CHECK_FALSE(ledger.pipelines.at(0).sinks.at(0).balanced);
  CHECK(ledger.pipelines.at(0).received.events == 5);
  CHECK(contains(ledger.to_json(), "\"balanced\":false"));
}

TEST_CASE("ledger: a stage that doubles an event is found out") {
  CHECK_FALSE(ledger_with([](Batch& batch) { batch.events.push_back(batch.events.front()); }).balanced);
}

TEST_CASE("ledger: a stage that counts what it kept is found out") {
  CHECK_FALSE(ledger_with([](Batch& batch) { batch.count(0, Reason::level, true, 2); }).balanced);
}
