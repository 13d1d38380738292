#pragma once

#include <string_view>

#include "event/batch.hpp"
#include "event/fields.hpp"

namespace logpipe {

/// Finds levels without being told where. For `json` and `fields` events: the keys `level severity lvl loglevel log.level
/// levelname severity_text` (any case of the value; numbers too), or the one field asked for. For text: the PRI of a syslog line (RFC 3164/5424), a JSON line
/// nobody parsed (its top-level key), a logfmt pair, a bracketed or bare level word near the line's beginning ([WARN], ERROR:, `2026-… WARN …`).
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

/// The level of an unparsed line, as above.
Level level_of_text(std::string_view line) noexcept;

}  // namespace logpipe
