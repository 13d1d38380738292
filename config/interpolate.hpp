#pragma once

#include <cstddef>
#include <filesystem>

#include "config/diagnostics.hpp"
#include "config/environment.hpp"
#include "config/node.hpp"

namespace logpipe::config {

/// Replaces `${…}` in every scalar below `node`, never in keys. The rules stand at `load`.
/// Limits: a file 1 MiB, all substituted text together 8 MiB.
class Interpolation {
 public:
  Interpolation(const Environment& environment, Diagnostics& diagnostics)
      : environment_(environment), diagnostics_(diagnostics) {}

  /// Files are relative to `directory`.
  void apply(Node& node, const std::filesystem::path& directory);

 private:
  friend class Substitution;

  const Environment& environment_;
  Diagnostics& diagnostics_;
  std::size_t substituted_bytes_{0};
};

}  // namespace logpipe::config
