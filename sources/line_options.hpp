#pragma once

#include <cstddef>
#include <cstdint>

#include "config/values.hpp"

namespace logpipe {

/// What becomes of a line longer than `max_line_bytes`.
enum class Oversize : std::uint8_t { truncate, split, drop };

struct LineLimit {
  std::size_t bytes{1024 * 1024};  ///< of a line without its line feed; a line of exactly so many is whole
  Oversize policy{Oversize::truncate};
};

/// The bounds of the option: positions inside a block are 32 bits wide.
inline constexpr config::Bytes kLineBytesMin{1};
inline constexpr config::Bytes kLineBytesMax{256 * 1024 * 1024};

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::Oversize> {
  static constexpr EnumName<Oversize> values[] = {
      {"truncate", Oversize::truncate, "keep the first max_line_bytes"},
      {"split", Oversize::split, "several events of max_line_bytes each"},
      {"drop", Oversize::drop, "discard the line and count it"},
  };
};
