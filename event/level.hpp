#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace logpipe {

/// Severity, with the numbers of the OpenTelemetry log data model, appendix B. `unknown` is below every level.
enum class Level : std::uint8_t {
  unknown = 0,
  trace = 1,
  debug = 5,
  info = 9,
  notice = 10,
  warn = 13,
  error = 17,
  critical = 18,
  alert = 19,
  fatal = 21,
};

/// The level a word stands for: our names, the usual abbreviations (`dbg inf wrn err crit emerg panic …`), any case;
/// nullopt for anything else. Numbers are read by level_from_number.
std::optional<Level> level_from_name(std::string_view name) noexcept;

/// Numeric levels as structured loggers write them: syslog severities 0-7, and bunyan/pino 10, 20, … 60.
std::optional<Level> level_from_number(std::uint64_t number) noexcept;

/// RFC 5424 section 6.2.1, by the OpenTelemetry table: 0 fatal, 1 alert, 2 critical, 3 error, 4 warn, 5 notice, 6 info, 7 debug.
Level level_from_syslog_severity(unsigned severity) noexcept;

/// The lower-case name, `unknown` included.
std::string_view level_name(Level level) noexcept;

}  // namespace logpipe
