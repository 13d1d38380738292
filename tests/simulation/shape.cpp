#include "tests/simulation/shape.hpp"

namespace logpipe::test {

std::string_view name_of(Bug bug) {
  switch (bug) {
    case Bug::none:
      return "none";
    case Bug::rename_unsynced:
      return "rename_unsynced";
    case Bug::journal_unsynced:
      return "journal_unsynced";
    case Bug::outputs_unsynced:
      return "outputs_unsynced";
    case Bug::directory_unsynced:
      return "directory_unsynced";
    case Bug::completes_before_write:
      return "completes_before_write";
    case Bug::not_announced:
      return "not_announced";
    case Bug::not_cut_back:
      return "not_cut_back";
    case Bug::resumes_too_far:
      return "resumes_too_far";
    case Bug::gives_up:
      return "gives_up";
    case Bug::forgets_who_is_ahead:
      return "forgets_who_is_ahead";
    case Bug::lengths_too_new:
      return "lengths_too_new";
  }
  return {};
}

Shape Shape::of(std::uint64_t seed, Bug bug) {
  Dice dice(seed * 0x2545F4914F6CDD1D + 1);
  Shape shape;
  shape.seed = seed;
  shape.bug = bug;
  shape.fsync = static_cast<Fsync>(dice.below(3));
  // Without a sync there is no promise about power.
  shape.power_cuts = shape.fsync != Fsync::never && dice.chance(2, 3);
  shape.ordered = dice.chance(3, 4);
  shape.logs = static_cast<unsigned>(dice.between(1, 2));
  shape.sinks = dice.chance(1, 4) ? 2 : 1;
  shape.outputs = dice.chance(1, 2) ? 1 : static_cast<unsigned>(dice.between(2, 5));
  shape.open_max = static_cast<unsigned>(dice.between(1, 3));
  shape.rotation = static_cast<Rotation>(dice.below(3));
  shape.outputs_rotate = dice.chance(1, 4);
  shape.disk_fills = dice.chance(1, 3);
  shape.disk_errs = dice.chance(1, 4);
  // A disk whose syncs fail and which then loses power may take away what a later sync seemed to save. Nothing is promised
  // for both together, see docs/operations.md.
  if (shape.power_cuts) shape.disk_errs = false;
  shape.lives = static_cast<unsigned>(dice.between(1, 5));
  shape.steps = static_cast<unsigned>(dice.between(20, 150));
  shape.compact_at = dice.between(200, 3000);
  shape.sinks_rotate = dice.chance(1, 4);
  if (dice.chance(1, 12)) shape.compression = dice.chance(1, 2) ? Compression::gzip : Compression::zstd;
  return shape;
}

std::string Shape::text() const {
  const auto yes = [](bool value, const char* word) { return value ? std::string(", ") + word : std::string(); };
  const char* syncs[] = {"never", "interval", "always"};
  const char* rotations[] = {"", ", logs renamed", ", logs copied and truncated"};
  return "seed " + std::to_string(seed) + (bug == Bug::none ? "" : " (planted: " + std::string(name_of(bug)) + ")") +
         ": fsync " + syncs[static_cast<int>(fsync)] + ", " + std::to_string(logs) + " logs, " + std::to_string(sinks) +
         " sinks of " + std::to_string(outputs) + " outputs, " + std::to_string(open_max) + " open, " +
         std::to_string(lives) + " lives" + yes(power_cuts, "power cuts") + yes(!ordered, "no order") +
         rotations[static_cast<int>(rotation)] + yes(outputs_rotate, "outputs rotated") +
         yes(sinks_rotate, "sinks rotate") + yes(compression != Compression::none, "compressed") +
         yes(disk_fills, "disk fills") + yes(disk_errs, "disk errs");
}

Account& Account::operator+=(const Account& other) {
  lines += other.lines;
  lost += other.lost;
  doubled += other.doubled;
  reordered += other.reordered;
  foreign += other.foreign;
  return *this;
}

std::string Account::text() const {
  return std::to_string(lines) + " lines: " + std::to_string(lost) + " lost, " + std::to_string(doubled) +
         " doubled, " + std::to_string(reordered) + " reordered, " + std::to_string(foreign) + " foreign";
}

}  // namespace logpipe::test
