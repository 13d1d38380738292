#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "event/level.hpp"

// What level_detect.cpp is made of: finding levels in the text of a line, without a parser.

namespace logpipe {

/// The keys that hold a level, in order of precedence.
inline constexpr std::array<std::string_view, 8> kLevelKeys = {"level",     "severity",  "lvl",           "loglevel",
                                                               "log.level", "levelname", "severity_text", "PRIORITY"};

/// A key's value: a word, or a number as level_from_number reads it.
std::optional<Level> level_from_value(std::string_view value) noexcept;

/// The level under the keys asked for in a line that may be one JSON object. Reads the top level only; strings and
/// nested values are skipped as the grammar has them, whatever they hold. Stops where the text stops being JSON.
struct JsonLevel {
  bool is_object{false};  ///< it begins like one: `{` and then a quote or `}`
  Level level{Level::unknown};
};
/// `only`: this key alone; empty: kLevelKeys.
JsonLevel level_of_json_text(std::string_view line, std::string_view only = {}) noexcept;

/// The level under one key of an unparsed line: a top-level JSON key or a logfmt pair.
Level level_of_key(std::string_view line, std::string_view key) noexcept;

}  // namespace logpipe
