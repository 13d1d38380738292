#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

/// The program's own log, on stderr, one line each:
///   log::warn("sinks.out", "write failed, retrying", {{"path", path}, {"attempt", attempt}});
/// The message is a constant sentence; what varies goes into the fields. Never call it per event.
/// Threads: any. Errors: none ever; a line that cannot be written is lost.
/// Limits: of the same warning or error (call site, component and message) five go out in ten seconds; the next one
/// after that says how many were suppressed. `critical` is never held back.
namespace logpipe::log {

enum class Severity : std::uint8_t { trace, debug, info, warn, error, critical, off };

enum class Format : std::uint8_t {
  automatic,  ///< journal if stderr is the journal's stream (JOURNAL_STREAM), else text
  text,       ///< with the time: of day on a terminal, full and in UTC elsewhere
  json,       ///< {"timestamp","level","component","message",fields…}
  journal,    ///< `<3>component: …`, the priority prefix of sd-daemon(3), without a time
};

enum class Color : std::uint8_t { automatic, always, never };  ///< automatic: a terminal, no NO_COLOR, TERM not dumb

/// `trace debug info warn error critical off`; `warning` and `err` too.
std::optional<Severity> parse_severity(std::string_view text) noexcept;
/// `auto text json journal`.
std::optional<Format> parse_format(std::string_view text) noexcept;
std::string_view name(Severity severity) noexcept;

struct Options {
  Severity severity{Severity::info};
  Format format{Format::automatic};
  Color color{Color::automatic};

  // For tests: whole lines go here instead of to stderr, and time comes from here.
  std::function<void(std::string_view line)> write{};
  std::function<std::chrono::steady_clock::time_point()> now{};
};

/// Sets the log up, or anew: after the configuration is read, and on a reload. Before the first call the defaults hold.
void configure(Options options) noexcept;

/// Less severe lines are dropped. `enabled` costs one relaxed load.
[[nodiscard]] bool enabled(Severity severity) noexcept;
[[nodiscard]] Severity severity() noexcept;
void set_severity(Severity severity) noexcept;

/// One step more verbose than configured, or back if it already is (SIGUSR2). Returns what holds now. Takes no lock.
Severity toggle_verbose() noexcept;

/// One field's value; refers to the text it is given, which must live until the call returns.
class Value {
 public:
  enum class Kind : std::uint8_t { text, integer, unsigned_integer, number, boolean };

  // NOLINTBEGIN(google-explicit-constructor): {"key", value} is the point.
  Value(std::string_view value) noexcept : kind(Kind::text), text(value) {}
  Value(const std::string& value) noexcept : kind(Kind::text), text(value) {}
  Value(const char* value) noexcept : kind(Kind::text), text(value ? value : "") {}
  Value(bool value) noexcept : kind(Kind::boolean), boolean(value) {}
  template <std::signed_integral T>
  Value(T value) noexcept : kind(Kind::integer), integer(value) {}
  template <std::unsigned_integral T>
  Value(T value) noexcept : kind(Kind::unsigned_integer), unsigned_integer(value) {}
  template <std::floating_point T>
  Value(T value) noexcept : kind(Kind::number), number(static_cast<double>(value)) {}
  // NOLINTEND(google-explicit-constructor)

  Kind kind;
  union {
    std::string_view text;
    std::int64_t integer;
    std::uint64_t unsigned_integer;
    double number;
    bool boolean;
  };
};

struct Field {
  std::string_view key;  ///< `[a-z_]+`, a word of the code
  Value value;
};
using Fields = std::initializer_list<Field>;

/// A call site. std::source_location by another name: clang 14, which Debian 12 calls clang, has none with this
/// library.
struct Where {
  const char* file;
  int line;
  static constexpr Where current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) noexcept {
    return {file, line};
  }
};

void write(Severity severity, std::string_view component, std::string_view message, Fields fields,
           Where where) noexcept;

inline void trace(std::string_view component, std::string_view message, Fields fields = {},
                  Where where = Where::current()) noexcept {
  if (enabled(Severity::trace)) write(Severity::trace, component, message, fields, where);
}
inline void debug(std::string_view component, std::string_view message, Fields fields = {},
                  Where where = Where::current()) noexcept {
  if (enabled(Severity::debug)) write(Severity::debug, component, message, fields, where);
}
inline void info(std::string_view component, std::string_view message, Fields fields = {},
                 Where where = Where::current()) noexcept {
  if (enabled(Severity::info)) write(Severity::info, component, message, fields, where);
}
inline void warn(std::string_view component, std::string_view message, Fields fields = {},
                 Where where = Where::current()) noexcept {
  if (enabled(Severity::warn)) write(Severity::warn, component, message, fields, where);
}
inline void error(std::string_view component, std::string_view message, Fields fields = {},
                  Where where = Where::current()) noexcept {
  if (enabled(Severity::error)) write(Severity::error, component, message, fields, where);
}
inline void critical(std::string_view component, std::string_view message, Fields fields = {},
                     Where where = Where::current()) noexcept {
  if (enabled(Severity::critical)) write(Severity::critical, component, message, fields, where);
}

/// Says what is still suppressed: for each message whose ten seconds are over, or for all (at exit, before a reload).
/// The daemon calls the first now and then, so that a burst's count appears even if the message never comes again.
enum class Report : std::uint8_t { expired, all };
void report_suppressed(Report which) noexcept;

/// Whether `descriptor` is the stream that `journal_stream` ("device:inode", from JOURNAL_STREAM) names.
[[nodiscard]] bool is_journal_stream(int descriptor, std::string_view journal_stream) noexcept;

}  // namespace logpipe::log
