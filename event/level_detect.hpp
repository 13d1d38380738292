#pragma once

#include <optional>
#include <string_view>
#include <utility>

#include "event/batch.hpp"
#include "event/fields.hpp"

namespace logpipe {

/// Finds levels without being told where.
///
/// `json` and `fields` events: the first of the keys `level severity lvl loglevel log.level levelname severity_text
/// PRIORITY` whose value is a level: a word (level_from_name) or a number (level_from_number), as a number or as text.
/// Lower-case `priority` is not among them: applications use it for their own purposes, journald's PRIORITY is always a
/// severity. Text: level_of_text.
///
/// With a field of its own, that one only; in text, a top-level JSON key or logfmt key of exactly that name.
/// Threads: any, it is constant.
class LevelDetector {
 public:
  LevelDetector() = default;
  explicit LevelDetector(FieldPath field) : field_(std::move(field)) {}
  /// Level::unknown when there is none. Does not change the event.
  Level detect(const Batch& batch, const Event& event) const;
  /// Detects on every event that has not been looked at, and remembers it there.
  void detect_all(Batch& batch) const;

 private:
  std::optional<FieldPath> field_;
};

/// The level of an unparsed line, by the first of these that applies:
/// - `<PRI>` at its beginning (RFC 3164, RFC 5424);
/// - a JSON object nobody parsed: its top-level keys as above, wherever they stand; never inside a nested value;
/// - glog's `W1121 13:00:00` and Android's `W/Tag` at its beginning;
/// - in the first 256 bytes, from the left, outside double quotes: a logfmt pair of one of the keys (`level=warn`); a
/// word in
///   brackets (`[WARN]`, `[core:error]`, `<warn>`, `[13:00:00 warn]`); a word in capitals, followed by a colon, or
///   alone between tabs, as long as no more than three plain words stand before it, so that "no error found" has no
///   level.
/// Terminal colours are read over.
Level level_of_text(std::string_view line) noexcept;

}  // namespace logpipe
