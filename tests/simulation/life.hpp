#pragma once

#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/channel.hpp"
#include "delivery/checkpoint.hpp"
#include "event/batch.hpp"
#include "event/block.hpp"
#include "sources/lines.hpp"
#include "sources/outbox.hpp"
#include "sources/tail.hpp"
#include "telemetry/ledger.hpp"
#include "tests/simulation/logs.hpp"
#include "tests/simulation/planted.hpp"
#include "tests/simulation/shape.hpp"
#include "tests/support/fiber.hpp"
#include "tests/support/virtual_disk.hpp"

namespace logpipe::test {

/// What outlives the process.
struct World {
  World(const Shape& given, std::filesystem::path directory)
      : shape(given), dice(given.seed), disk(given.seed + 1), logs(shape, disk, dice), state(std::move(directory)) {}

  const Shape shape;
  Dice dice;
  VirtualDisk disk;
  Logs logs;
  const std::filesystem::path state;  // the lock is a real file, everything else in it is on the virtual disk
  std::string trouble;                // what was seen that must not be, beside the lines
  std::uint64_t steps{0};
  std::uint64_t commits{0};

  void note(const std::string& what) {
    if (trouble.empty()) trouble = what;
  }
};

/// One life of the process: tails, a store and file sinks, all real, on the virtual disk. The sinks and the committer
/// run on fibers and give way inside their calls of the disk; reading and the log writers are steps of their own.
/// Ends: kill() before it is destroyed, unless it has drained.
class Life {
 public:
  explicit Life(World& world);
  ~Life();
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

  // Each of these throws VirtualDisk::Killed when the process dies in it.

  /// False: it gives up, as the program does when its state directory cannot be written.
  bool start();
  /// Something happens, here or to the logs. False: it gives up.
  bool step();
  /// Reads and delivers what there is, and stops in good order. False: it could not.
  bool drain();
  /// What is under way dies where it is.
  void kill();

 private:
  struct Reading {
    std::size_t log;
    std::size_t generation;
    std::unique_ptr<Tail> tail;
  };
  struct Output {
    std::string name;
    std::optional<SimulatedProgress> progress;
    std::unique_ptr<Sink> sink;
    std::optional<Sender<Delivery>> to;
    std::optional<Receiver<Delivery>> from;
    std::deque<Delivery> ready;  // read, not yet in the sink's queue
    std::size_t queued{0};       // sent and not complete
    Status status;
    std::unique_ptr<Fiber> fiber;
    bool idle() const { return ready.empty() && queued == 0; }
  };

  void make_sink(unsigned index);
  void commit_again_and_again();
  void open_logs();
  void open(std::size_t log, std::size_t generation);
  Resume checked(Resume resume, const std::string& path);
  void read(Reading& reading);
  void restart(Reading& reading);
  void deliver(BlockRef block);
  Delivery delivery_for(unsigned sink, std::uint64_t& bytes);
  void feed(Output& output);
  bool run(Output& output);
  bool goes_on(const Output& output);
  bool run_committer();
  bool sinks_idle() const;
  bool settled(const Reading& reading);
  void rotate();
  void remove_old();
  void trouble_disk();
  bool read_to_the_end();

  World& world_;
  Turns turns_;
  SimulatedStateFiles state_files_;
  SimulatedFileLayer file_layer_;
  BlockPool& pool_;
  TailTools& tools_;
  PipelineAccount ledger_;
  std::unique_ptr<CheckpointStore> store_;
  std::optional<Receiver<BlockRef>> blocks_;
  SourceServices services_;
  const RunContext contexts_;
  std::optional<Outbox> outbox_;
  std::vector<Reading> readings_;
  Batch& batch_;
  std::vector<std::unique_ptr<Output>> outputs_;
  std::unique_ptr<Fiber> committer_;
  bool committing_{false};
  bool failed_{false};
};

}  // namespace logpipe::test
