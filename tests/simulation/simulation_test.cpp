// Tails, the checkpoint store and file sinks, all real, on a disk that loses power: thousands of little worlds, each
// made from its seed. `--seeds N` plays so many, `--seed N` one again, and `--log 1` lets the code under test speak.

#include "tests/simulation/simulation.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

#include "telemetry/log.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

/// Of the command line: `--seed N` or `--seed=N`. doctest leaves alone what it does not know.
std::uint64_t number_of(const std::string& option, std::uint64_t otherwise) {
  std::ifstream command_line("/proc/self/cmdline");
  for (std::string word; std::getline(command_line, word, '\0');) {
    if (word == option && std::getline(command_line, word, '\0')) return std::strtoull(word.c_str(), nullptr, 10);
    if (word.starts_with(option + "=")) return std::strtoull(word.c_str() + option.size() + 1, nullptr, 10);
  }
  return otherwise;
}

void be_silent() {
  log::Options options;
  options.severity = number_of("--log", 0) == 0 ? log::Severity::off : log::Severity::debug;
  log::configure(options);
}

// A few minutes of two slow processors; fewer where everything is checked or nothing optimised.
#ifdef NDEBUG
constexpr std::uint64_t kSeeds = 100'000;
#else
constexpr std::uint64_t kSeeds = 2'000;
#endif

constexpr Bug kBugs[] = {Bug::rename_unsynced,    Bug::journal_unsynced,       Bug::outputs_unsynced,
                         Bug::directory_unsynced, Bug::completes_before_write, Bug::not_announced,
                         Bug::not_cut_back,       Bug::resumes_too_far,        Bug::forgets_who_is_ahead,
                         Bug::gives_up,           Bug::lengths_too_new};

}  // namespace

TEST_CASE("simulation: killed, without power and with a failing disk, nothing is lost, doubled or reordered") {
  be_silent();
  const std::uint64_t first = number_of("--seed", 1);
  const std::uint64_t count = number_of("--seeds", number_of("--seed", 0) == 0 ? kSeeds : 1);
  Outcome sum;
  std::uint64_t bad = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const Outcome outcome = simulate(seed);
    sum.account += outcome.account;
    sum.steps += outcome.steps;
    sum.commits += outcome.commits;
    sum.kills += outcome.kills;
    sum.power_cuts += outcome.power_cuts;
    if (outcome.good()) continue;
    if (++bad <= 10) MESSAGE(outcome.text());
  }
  std::cout << "simulation: " << count << " seeds from " << first << ": " << sum.account.text() << "; " << sum.steps
            << " steps, " << sum.commits << " commits, " << sum.kills << " kills, " << sum.power_cuts
            << " power cuts\n";
  CHECK(bad == 0);
}

TEST_CASE("simulation: the same seed plays the same") {
  be_silent();
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    for (const Bug bug : {Bug::none, Bug::not_cut_back}) {
      const std::string once = simulate(seed, bug).text();
      CHECK(once == simulate(seed, bug).text());
    }
  }
}

TEST_CASE("simulation: mistakes made on purpose are found") {
  be_silent();
  constexpr std::uint64_t kSeedsMax = 1000;
  for (const Bug bug : kBugs) {
    std::uint64_t seed = 1;
    while (seed <= kSeedsMax && simulate(seed, bug).good()) ++seed;
    CAPTURE(name_of(bug));
    CHECK(seed <= kSeedsMax);
    if (seed <= kSeedsMax) std::cout << "  " << name_of(bug) << ": found with seed " << seed << "\n";
  }
}
