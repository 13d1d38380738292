#pragma once

#include <cstdint>

namespace logpipe::config {

/// Where something stands in the configuration. Lines and columns count from 1, columns in characters (code points).
/// Meaningful together with the Diagnostics that the text was loaded with, which owns the names and the text.
struct Mark {
  static constexpr std::uint32_t kNoFile = UINT32_MAX;

  std::uint32_t file{kNoFile};  ///< index of the source text; kNoFile: no position is known
  std::uint32_t line{0};
  std::uint32_t column{0};
  std::uint32_t length{1};  ///< characters to underline, on the first line only
  bool substituted{false};  ///< the value differs from the text written there (`${…}`), so offsets into it mean nothing

  bool known() const { return file != kNoFile; }
  friend bool operator==(const Mark&, const Mark&) = default;
};

}  // namespace logpipe::config
