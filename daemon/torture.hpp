#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "config/node.hpp"

namespace logpipe {

/// What `logpipe torture` is asked to do.
struct TortureOptions {
  std::optional<std::uint64_t> kills;  ///< how often; without a duration 20 unless said otherwise
  bool rotate{false};
  bool truncate{false};
  bool disk_full{false};
  std::optional<std::uint64_t> seed;  ///< by default a new one, which is printed
  std::chrono::seconds duration{0};   ///< no new fault after that time; 0: as many as `kills`
  std::filesystem::path keep;  ///< where to work, kept; empty: a temporary directory, kept only when it went badly
  bool json{false};            ///< the result as one line of JSON on stdout
};

/// Runs the pipeline on numbered lines in a directory of its own, breaks it again and again as the seed says, and
/// counts what became of the lines. What should have arrived is found by running the same lines once in peace. Blocks;
/// returns the exit status: 0 nothing lost, doubled or reordered; 1 otherwise; 78 it cannot be tortured.
int run_torture(config::Node configuration, const TortureOptions& options);

}  // namespace logpipe
