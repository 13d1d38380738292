#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "event/scan_lines.hpp"

namespace logpipe::test {

inline constexpr std::string_view kRefused = "refused";

/// What a scanner finds in a text, as one JSON object; kRefused when it accepts nothing. The text stands in memory of
/// its own, exactly as long as it is, so that reading beyond its end can be found.
template <class Scan>
std::string scanned(std::string_view text, Scan&& scan) {
  const std::vector<char> exact(text.begin(), text.end());
  static const char none = 0;
  const std::string_view line(exact.empty() ? &none : exact.data(), exact.size());
  std::vector<FieldRef> fields;
  Arena arena;
  if (!scan(line, ScanOut{fields, arena})) return std::string(kRefused);
  return std::string(fields_json(fields, {}, arena));
}

}  // namespace logpipe::test
