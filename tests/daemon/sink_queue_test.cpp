#include "daemon/sink_queue.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "telemetry/log.hpp"
#include "tests/daemon/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

/// A queue that drops in front of a sink the test plays, with real checkpoints behind it. Every delivery is one event
/// of ten bytes, the next of one file.
struct Dropping {
  explicit Dropping(QueueFull when_full, std::size_t room = 3) {
    log::configure({.severity = log::Severity::critical});
    write_file(dir / "in.log", std::string(100'000, 'x'));
    write_file(dir / "out.log", "");
    rig = std::make_unique<Rig>(dir / "state");
    rig->store->begin_run({"out"});
    const int fd = ::open((dir / "in.log").c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    file = rig->store->attach("in", (dir / "in.log").string(), fd, 0).file;
    ::close(fd);
    SinkAccount& account = rig->account().sink("out");
    SinkProgress& progress = rig->store->sink("out", {{&account}, {}});
    SinkQueueOptions options{.capacity = {.items = room}, .when_full = when_full};
    options.dropped = std::make_shared<DroppedDeliveries>(progress, "out", &rig->metrics);
    sink = options.dropped.get();
    SinkQueue queue = open_sink_queue(options);
    inlet = std::move(queue.inlet);
    outlet = std::move(queue.outlet);
    struct stat out {};
    REQUIRE(::stat((dir / "out.log").c_str(), &out) == 0);
    mark = {(dir / "out.log").string(), out.st_dev, out.st_ino, 0, nullptr};
    REQUIRE(sink->announce(mark));
  }
  ~Dropping() { log::configure({}); }

  SendStatus send() {
    rig->account().received("in", {1, 10});
    rig->account().passed({1, 10}, {1, 10});
    Delivery delivery(rig->blocks);
    delivery.admitted = delivery.delivered = {1, 10};
    delivery.ranges.push_back({file, sent * 10, sent * 10 + 10, {}});
    ++sent;
    return inlet.try_send(std::move(delivery));
  }
  /// The number of the delivery that the sink gets next; -1: none waits.
  int take() {
    std::optional<Delivery> next = outlet.try_recv();
    if (!next) return -1;
    in_hand = std::move(*next);
    return static_cast<int>(in_hand.ranges[0].begin / 10);
  }
  void complete() {
    mark.length += 10;
    sink->complete(in_hand, std::span(&mark, 1));
  }
  std::uint64_t committed() {
    REQUIRE(rig->store->commit());
    const auto positions = rig->store->positions();
    REQUIRE(positions.size() == 1);
    return positions[0].committed / 10;
  }
  std::uint64_t dropped() {
    const Amounts discarded = rig->sink("out").discarded;
    const auto found = discarded.find("queue_full");
    return found == discarded.end() ? 0 : found->second.events;
  }
  double counted() {
    return rig->value("logpipe_discarded_events_total",
                      {{"component", "out"}, {"reason", "queue_full"}, {"intentional", "true"}});
  }

  TempDir dir;
  std::unique_ptr<Rig> rig;
  SourceFileRef file;
  SinkProgress* sink{nullptr};
  SinkInlet inlet;
  Receiver<Delivery> outlet;
  OutputMark mark;
  Delivery in_hand;
  std::uint64_t sent{0};
};

std::string problem_of(const std::string& yaml) {
  config::Diagnostics diagnostics;
  const config::Node root = config::load_text("test.yaml", yaml, config::FixedEnvironment(), diagnostics);
  static_cast<void>(decode_settings(root, diagnostics));
  return config::render_text(diagnostics);
}

}  // namespace

TEST_CASE("queue: drop_newest keeps what waits and discards what has no room") {
  Dropping queue(QueueFull::drop_newest);
  for (int i = 0; i < 8; ++i) CHECK(queue.send() == SendStatus::sent);
  CHECK(queue.dropped() == 5);
  CHECK(queue.counted() == 5);
  for (int i = 0; i < 3; ++i) {
    CHECK(queue.take() == i);
    queue.complete();
  }
  CHECK(queue.take() == -1);
  CHECK(queue.rig->sink("out").delivered.events == 3);
  CHECK(queue.rig->sink("out").in_flight == Amount{});
  CHECK(queue.rig->ledger.snapshot().balanced);
  CHECK(queue.committed() == 8);
}

TEST_CASE("queue: drop_oldest makes room for what is new") {
  Dropping queue(QueueFull::drop_oldest);
  for (int i = 0; i < 8; ++i) CHECK(queue.send() == SendStatus::sent);
  CHECK(queue.dropped() == 5);
  CHECK(queue.counted() == 5);
  CHECK(queue.committed() == 5);  // nothing older is under way
  for (int i = 5; i < 8; ++i) {
    CHECK(queue.take() == i);
    queue.complete();
  }
  CHECK(queue.take() == -1);
  CHECK(queue.rig->sink("out").in_flight == Amount{});
  CHECK(queue.rig->ledger.snapshot().balanced);
  CHECK(queue.committed() == 8);
}

TEST_CASE("queue: a position does not pass what the sink still has in hand, whatever is dropped behind it") {
  for (const QueueFull when_full : {QueueFull::drop_oldest, QueueFull::drop_newest}) {
    Dropping queue(when_full, 2);
    REQUIRE(queue.send() == SendStatus::sent);
    REQUIRE(queue.take() == 0);
    for (int i = 0; i < 20; ++i) REQUIRE(queue.send() == SendStatus::sent);
    CHECK(queue.dropped() == 18);
    CHECK(queue.committed() == 0);
    queue.complete();
    const bool oldest = when_full == QueueFull::drop_oldest;
    CHECK(queue.committed() == (oldest ? 19 : 1));
    CHECK(queue.take() == (oldest ? 19 : 1));
    queue.complete();
    CHECK(queue.take() == (oldest ? 20 : 2));
    CHECK(queue.committed() == (oldest ? 20 : 2));
    queue.complete();
    CHECK(queue.committed() == 21);
  }
}

TEST_CASE("queue: a sink that writes a file goes on committing while its queue is never empty and always drops") {
  for (const QueueFull when_full : {QueueFull::drop_oldest, QueueFull::drop_newest}) {
    Dropping queue(when_full, 4);
    std::uint64_t position = 0;
    int moves = 0;
    std::uint64_t delivered = 0;
    for (int round = 0; round < 300; ++round) {
      for (int i = 0; i < 7; ++i) REQUIRE(queue.send() == SendStatus::sent);
      REQUIRE(queue.take() >= 0);
      const std::uint64_t before = queue.committed();
      CHECK(before <= queue.in_hand.ranges[0].begin / 10);
      queue.complete();
      ++delivered;
      const std::uint64_t now = queue.committed();
      if (now > position) ++moves;
      position = now;
    }
    CHECK(moves >= 290);
    CHECK(queue.outlet.stats()->items() > 0);
    while (queue.take() >= 0) {
      queue.complete();
      ++delivered;
    }
    CHECK(queue.committed() == queue.sent);
    CHECK(delivered + queue.dropped() == queue.sent);
    CHECK(queue.rig->sink("out").delivered.events == delivered);
    CHECK(queue.rig->sink("out").in_flight == Amount{});
    CHECK(queue.rig->ledger.snapshot().balanced);
  }
}

TEST_CASE("queue: what a dropped delivery had put aside itself keeps its own reason") {
  Dropping queue(QueueFull::drop_newest, 1);
  REQUIRE(queue.send() == SendStatus::sent);
  queue.rig->account().received("in", {5, 50});
  queue.rig->account().passed({5, 50}, {5, 50});
  Delivery delivery(queue.rig->blocks);
  delivery.admitted = {5, 50};
  delivery.delivered = {3, 30};
  delivery.discards.push_back({Reason::when, true, {2, 20}});
  delivery.ranges.push_back({queue.file, 10, 60, {}});
  REQUIRE(queue.inlet.try_send(std::move(delivery)) == SendStatus::sent);
  const LedgerSnapshot::Sink sink = queue.rig->sink("out");
  CHECK(sink.discarded.at("queue_full") == Amount{3, 30});
  CHECK(sink.discarded.at("when") == Amount{2, 20});
  CHECK(sink.in_flight == Amount{1, 10});
  CHECK(queue.counted() == 3);
  REQUIRE(queue.take() == 0);
  queue.complete();
  CHECK(queue.committed() == 6);
}

TEST_CASE("queue: a queue that drops says when it begins and how much it was, and the bytes are released at once") {
  Dropping queue(QueueFull::drop_newest, 1);
  std::string said;
  log::configure(
      {.format = log::Format::text, .color = log::Color::never, .write = [&](std::string_view line) { said += line; }});
  REQUIRE(queue.send() == SendStatus::sent);
  CHECK(said.empty());
  const std::uint64_t used = queue.rig->blocks.used();
  for (int i = 0; i < 9; ++i) REQUIRE(queue.send() == SendStatus::sent);
  CHECK(queue.rig->blocks.used() == used);
  CHECK(count_of(said, "the queue is full") == 1);
  REQUIRE(queue.take() == 0);
  queue.complete();
  CHECK(contains(said, "the queue is empty again"));
  CHECK(contains(said, "events=9"));
}

TEST_CASE("queue: by level and dropping is refused, for it would drop the urgent with the rest") {
  CHECK(contains(problem_of("queue: {priority: level, when_full: drop_newest}\n"), "queue.when_full"));
  CHECK(contains(problem_of("sinks: {out: {type: stdout, queue: {priority: level, when_full: drop_oldest}}}\n"),
                 "sinks.out.queue.when_full"));
  CHECK(problem_of("queue: {priority: level, when_full: block}\n") == "");
  CHECK(problem_of("queue: {when_full: drop_oldest}\n") == "");
}

TEST_CASE("queue: a spool needs a state directory, and room for two segments") {
  CHECK(contains(problem_of("sinks: {out: {type: stdout, queue: {when_full: spool}}}\n"),
                 "sinks.out.queue.when_full: a spool needs a `state_dir`"));
  CHECK(contains(problem_of("queue: {when_full: spool}\n"), "queue.when_full: a spool needs a `state_dir`"));
  CHECK(problem_of("state_dir: /tmp/s\nqueue: {when_full: spool, priority: level}\n") == "");
  CHECK(contains(problem_of("state_dir: /tmp/s\nqueue: {when_full: spool, spool: {max_bytes: 1MiB, segment_bytes: "
                            "600KiB}}\n"),
                 "queue.spool.segment_bytes"));
  CHECK(contains(problem_of("queue: {spool: {max_bytes: 1GiB}}\n"), "queue.spool: a spool is used with"));
}

TEST_CASE("queue: whether there is a spool changes with a restart only") {
  const std::string head = "state_dir: /tmp/s\nsinks: {out: {type: stdout, queue: {when_full: ";
  const Settings block = settings_of(head + "block}}}\n");
  const Settings spool = settings_of(head + "spool}}}\n");
  const Settings drop = settings_of(head + "drop_newest}}}\n");
  CHECK(std::string(block.needs_restart(spool)) == "queue.when_full");
  CHECK(std::string(spool.needs_restart(drop)) == "queue.when_full");
  CHECK(block.needs_restart(drop) == nullptr);
  CHECK(spool.needs_restart(spool) == nullptr);
}
