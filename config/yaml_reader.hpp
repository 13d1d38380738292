#pragma once

#include <cstddef>
#include <cstdint>

#include "config/diagnostics.hpp"
#include "config/node.hpp"

namespace logpipe::config {

/// What all files of one load may use together.
struct Budget {
  static constexpr std::size_t kMostNodes = 100'000;
  static constexpr std::size_t kDeepest = 64;

  std::size_t nodes{kMostNodes};
};

/// Turns one source text (already in `diagnostics`) into a tree: anchors and merge keys applied, duplicate keys and
/// everything else that YAML allows but a configuration does not want reported. What cannot be read is left out of the
/// tree.
Node read_yaml(std::uint32_t file, Diagnostics& diagnostics, Budget& budget);

}  // namespace logpipe::config
