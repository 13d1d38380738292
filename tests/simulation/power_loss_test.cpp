// What the file sink's `fsync` promises when the power goes.

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>

#include "channel/channel.hpp"
#include "delivery/checkpoint.hpp"
#include "event/batch.hpp"
#include "sinks/file.hpp"
#include "telemetry/log.hpp"
#include "tests/support/blocks.hpp"
#include "tests/support/virtual_disk.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

constexpr const char* kLog = "/logs/app";
constexpr const char* kOutput = "/out/app";
constexpr std::size_t kLines = 30;
constexpr std::size_t kLineBytes = 8;

std::string lines(std::size_t begin, std::size_t end) {
  std::string text;
  for (std::size_t i = begin; i < end; ++i) text += "line " + std::to_string(10 + i) + "\n";
  return text;
}

class Machine {
 public:
  Machine(std::uint64_t seed, Fsync fsync) : disk(seed), fsync_(fsync) {
    disk.append_durably(kLog, lines(0, kLines));
    std::string name = (std::filesystem::temp_directory_path() / "logpipe-power-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    state_ = name;
  }
  ~Machine() { std::filesystem::remove_all(state_); }

  /// A process that delivers line by line from where the last checkpoint was, takes one when it has delivered
  /// `checkpoint_at` lines, and dies when it has delivered `die_at`; none of both: it ends in good order.
  /// `until`: the lines that there are to be delivered.
  void run(std::size_t checkpoint_at, std::size_t die_at, std::size_t until = kLines) {
    CheckpointOptions options;
    options.state_dir = state_;
    options.files = &files_;
    auto store = CheckpointStore::open(options).value();
    store->begin_run({"out"});
    const int fd = disk.reader(kLog);
    const Resume resume = store->attach("app", kLog, fd, 0);
    ::close(fd);
    std::size_t delivered = resume.offset / kLineBytes;
    const auto completed = [&](const Delivery&) {
      ++delivered;
      if (delivered == checkpoint_at) REQUIRE(store->commit());
      if (delivered == die_at) throw VirtualDisk::Killed{};
    };
    FileSinkOptions sink_options;
    sink_options.path = PathTemplate::parse(kOutput).value();
    sink_options.fsync = fsync_;
    sink_options.create_directories = false;
    SinkProgress& progress = store->sink("out", {{}, completed});
    const auto sink = make_file_sink(sink_options, {"out", &progress, nullptr, nullptr}, layer_);
    auto channel = make_channel<Delivery>(kLines);
    for (std::size_t i = delivered; i < until; ++i) {
      Batch batch;
      batch.open(freeze(block_of(pool_, lines(i, i + 1), i * kLineBytes, resume.file)));
      Delivery delivery(pool_);
      sink->encode(batch, batch.events, delivery);
      delivery.seal(batch);
      REQUIRE(channel.sender.send(std::move(delivery), {}) == SendStatus::sent);
    }
    { const auto closed = std::move(channel.sender); }
    try {
      const Status status = sink->run(std::move(channel.receiver), {});
      REQUIRE(status);
      REQUIRE(store->commit());
    } catch (const VirtualDisk::Killed&) {
    }
  }
  void lose_power() {
    disk.revive();
    disk.lose_power();
  }
  std::string output() const { return disk.content(kOutput); }

  VirtualDisk disk;

 private:
  const Fsync fsync_;
  VirtualStateFiles files_{disk};
  VirtualFileLayer layer_{disk};
  BlockPool pool_{1 << 20};
  std::filesystem::path state_;
};

void be_silent() {
  log::Options options;
  options.severity = log::Severity::off;
  log::configure(options);
}

}  // namespace

TEST_CASE("power loss: with `fsync: interval` the output has what a checkpoint counts, and ends up exact") {
  be_silent();
  bool some_of_the_rest = false;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    Machine machine(seed, Fsync::interval);
    machine.run(10, 20);
    machine.lose_power();
    const std::string left = machine.output();
    CHECK(left.starts_with(lines(0, 10)));
    some_of_the_rest = some_of_the_rest || left.size() > lines(0, 10).size();
    machine.run(0, 0);
    CHECK(machine.output() == lines(0, kLines));
    machine.lose_power();
    CHECK(machine.output() == lines(0, kLines));
  }
  CHECK(some_of_the_rest);  // there was something to be cut off
}

TEST_CASE("power loss: with `fsync: always` the output has every line that was delivered, checkpoint or not") {
  be_silent();
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    Machine machine(seed, Fsync::always);
    machine.run(10, 20);
    machine.lose_power();
    CHECK(machine.output() == lines(0, 20));
    machine.run(0, 0);
    CHECK(machine.output() == lines(0, kLines));
    machine.lose_power();
    CHECK(machine.output() == lines(0, kLines));
  }
}

TEST_CASE("power loss: with `fsync: never` lines that a checkpoint counts may be gone, but not after a mere kill") {
  be_silent();
  int incomplete = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    Machine machine(seed, Fsync::never);
    machine.run(10, 20);
    machine.disk.revive();
    CHECK(machine.output() == lines(0, 20));
    machine.disk.lose_power();
    incomplete += machine.output().starts_with(lines(0, 10)) ? 0 : 1;
  }
  CHECK(incomplete > 20);
}

TEST_CASE("power loss: twice in a row, what was cut off does not come back") {
  be_silent();
  for (const Fsync fsync : {Fsync::interval, Fsync::always}) {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
      CAPTURE(seed);
      Machine machine(seed, fsync);
      machine.run(10, 20);
      machine.disk.revive();  // killed: the page cache has all twenty
      machine.run(0, 0, 0);   // cuts ten of them off, has nothing to deliver, and the journal forgets the output
      machine.lose_power();
      machine.run(0, 0);
      CHECK(machine.output() == lines(0, kLines));
    }
  }
}
