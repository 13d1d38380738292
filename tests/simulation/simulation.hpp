#pragma once

#include <string>

#include "tests/simulation/shape.hpp"

namespace logpipe::test {

struct Outcome {
  Shape shape;
  Account account;
  std::string trouble;  ///< what was seen beside the lines; empty: nothing
  std::uint64_t steps{0};
  std::uint64_t commits{0};
  unsigned kills{0};
  unsigned power_cuts{0};

  bool good() const { return account.exact() && trouble.empty(); }
  std::string text() const;
};

/// Plays one world from its beginning to its end and counts. The same seed plays the same.
Outcome simulate(std::uint64_t seed, Bug bug = Bug::none);

}  // namespace logpipe::test
