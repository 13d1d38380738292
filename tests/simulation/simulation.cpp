#include "tests/simulation/simulation.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "tests/simulation/life.hpp"

namespace logpipe::test {
namespace {

/// For the lock of the store, which is a real one.
class StateDirectory {
 public:
  StateDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "logpipe-simulation-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~StateDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// One life that ends some way or other. True: in good order.
bool live(World& world) {
  Dice& dice = world.dice;
  Life life(world);
  if (dice.chance(4, 5)) world.disk.kill_in(dice.below(dice.chance(1, 2) ? 20 : 200));
  if (world.shape.disk_errs) world.disk.faults = {.write_errors = 30, .sync_errors = 50, .short_writes = 100};
  bool drained = false;
  try {
    bool alive = life.start();
    for (unsigned i = 0; alive && i < world.shape.steps; ++i) alive = life.step();
    if (alive && dice.chance(1, 3)) {
      world.disk.faults = {};
      world.logs.finish_lines();
      drained = life.drain();
    }
  } catch (const VirtualDisk::Killed&) {
  }
  life.kill();
  return drained;
}

void live_to_the_end(World& world) {
  world.logs.finish_lines();
  Life life(world);
  try {
    if (!life.start()) {
      world.note("it does not start");
    } else if (!life.drain()) {
      world.note("it cannot drain");
    }
  } catch (const VirtualDisk::Killed&) {
    world.note("killed by nobody");
  }
  life.kill();
}

void while_it_is_down(World& world) {
  if (world.shape.outputs_rotate && world.dice.chance(1, 3)) world.logs.rename_output();
  auto& logs = world.logs.all();
  for (auto& log : logs) {
    if (world.dice.chance(1, 2)) world.logs.write(log);
    if (world.shape.rotation == Rotation::rename && world.dice.chance(1, 4)) world.logs.rename(log);
  }
}

Account check(const World& world) {
  Account account;
  for (unsigned sink = 0; sink < world.shape.sinks; ++sink) account += world.logs.check(sink, world.shape.ordered);
  return account;
}

}  // namespace

Outcome simulate(std::uint64_t seed, Bug bug) {
  static const StateDirectory directory;
  World world(Shape::of(seed, bug), directory.path() / "state");
  Outcome outcome;
  outcome.shape = world.shape;
  const auto lose_power = [&] {
    world.disk.lose_power();
    ++outcome.power_cuts;
  };
  for (unsigned i = 0; i < world.shape.lives; ++i) {
    const bool drained = live(world);
    outcome.kills += drained ? 0 : 1;
    world.disk.revive();
    world.disk.faults = {};
    if (world.shape.power_cuts && world.dice.chance(1, 2)) lose_power();
    while_it_is_down(world);
  }
  live_to_the_end(world);
  world.disk.revive();
  outcome.account = check(world);
  if (outcome.account.exact() && world.shape.power_cuts) {
    lose_power();
    outcome.account = check(world);
  }
  outcome.trouble = world.trouble;
  outcome.steps = world.steps;
  outcome.commits = world.commits;
  return outcome;
}

std::string Outcome::text() const {
  return shape.text() + "\n  " + account.text() + (trouble.empty() ? "" : "; " + trouble) + " (" +
         std::to_string(steps) + " steps, " + std::to_string(commits) + " commits, " + std::to_string(kills) +
         " kills, " + std::to_string(power_cuts) + " power cuts)";
}

}  // namespace logpipe::test
