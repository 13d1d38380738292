#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "channel/priority_channel.hpp"
#include "daemon/emitter.hpp"
#include "tests/daemon/support.hpp"
#include "tests/support/blocks.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

class LineSink final : public Sink {
 public:
  void encode(const Batch& batch, std::span<const Event> events, Delivery& out) const override {
    for (const Event& event : events) out.encoded.append(batch.raw(event));
  }
  Status run(Receiver<Delivery>, const RunContext&) override { return {}; }
};

}  // namespace

TEST_CASE("queue by level: positions move on at a sink that writes to a file and never catches up") {
  TempDir dir;
  const std::string lines = "[DEBUG] a\n[ERROR] b\n[INFO] c\n[DEBUG] d\n";
  constexpr int kBatches = 400;
  std::string input;
  for (int i = 0; i < kBatches; ++i) input += lines;
  write_file(dir / "in.log", input);
  write_file(dir / "out.log", "");
  struct stat out {};
  REQUIRE(::stat((dir / "out.log").c_str(), &out) == 0);

  Rig rig(dir / "state");
  rig.store->begin_run({"out"});
  const int fd = ::open((dir / "in.log").c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  const SourceFileRef file = rig.store->attach("in", (dir / "in.log").string(), fd, 0).file;
  ::close(fd);
  SinkProgress& progress = rig.store->sink("out", {{&rig.account().sink("out")}, {}});
  OutputMark mark{(dir / "out.log").string(), out.st_dev, out.st_ino, 0, nullptr};
  REQUIRE(progress.announce(mark));

  Plan plan = main_plan();
  plan.sources.push_back({"in", nullptr});
  add_sink(plan, {.name = "out",
                  .queue = {.capacity = {.items = 40}, .by_level = true},
                  .sink = std::make_unique<LineSink>(),
                  .when = {}});
  auto [sender, receiver] = make_priority_channel<Delivery>({.items = 40}, {.lanes = kLevelLanes, .max_overtakes = 16});
  const auto stats = receiver.stats();
  Background intake([&, tx = std::make_shared<Sender<Delivery>>(std::move(sender))]() -> Status {
    BlockWorker worker(plan, 0, rig.blocks, nullptr, {}, {});
    Emitter emitter(plan, 0, rig.services());
    emitter.add_output(std::move(*tx));
    for (int i = 0; i < kBatches; ++i) {
      const std::uint64_t offset = static_cast<std::uint64_t>(i) * lines.size();
      Status emitted = emitter(worker(block_of(rig.blocks, lines, offset, file)), Context::background());
      if (!emitted) return emitted;
    }
    return {};
  });

  // The sink takes one delivery whenever the intake waits for room, so there is a backlog until the intake has ended.
  int moved_in_backlog = 0;
  std::uint64_t position = 0;
  const auto look = [&] {
    REQUIRE(rig.store->commit());
    const auto positions = rig.store->positions();
    REQUIRE(positions.size() == 1);
    if (positions[0].committed > position) ++moved_in_backlog;
    position = positions[0].committed;
  };
  double blocked = 0;
  while (std::optional<Delivery> delivery = receiver.recv(Context::background())) {
    mark.length += delivery->encoded.size();
    progress.complete(*delivery, std::span(&mark, 1));
    const bool backlog = !intake.ended(std::chrono::seconds(0)) && wait_until(dir.path(), [&] {
      return stats->blocked_seconds() > blocked || intake.ended(std::chrono::seconds(0));
    });
    blocked = stats->blocked_seconds();
    if (backlog && !intake.ended(std::chrono::seconds(0))) look();
  }
  CHECK(intake.join().has_value());
  CHECK(moved_in_backlog > 3);
  look();
  CHECK(position == input.size());
  CHECK(rig.ledger.snapshot().balanced);
  CHECK(rig.sink("out").in_flight.events == 0);
}
