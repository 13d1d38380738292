#pragma once

#include <cstdint>
#include <memory>

#include "config/schema.hpp"
#include "sinks/encoder.hpp"
#include "sinks/sink.hpp"

namespace logpipe {

enum class ColorChoice : std::uint8_t { automatic, always, never };

template <>
struct config::EnumNames<ColorChoice> {
  static constexpr EnumName<ColorChoice> values[] = {
      {"auto", ColorChoice::automatic, "on a terminal, unless NO_COLOR is set or TERM is dumb"},
      {"always", ColorChoice::always, ""},
      {"never", ColorChoice::never, ""}};
};

struct StdoutSinkOptions {
  Encoding encoding{Encoding::automatic};
  ColorChoice color{ColorChoice::automatic};
  InvalidUtf8 invalid_utf8{InvalidUtf8::replace};
};
const config::Schema<StdoutSinkOptions>& schema_of(config::Tag<StdoutSinkOptions>);

/// Writes every delivery at once to `fd`, which stays the caller's and open while the sink lives. Never blocks beyond
/// the end of `ctx.run`, whatever the reader does. When the reader of a pipe or socket goes, run() ends with
/// ErrorKind::closed, without waiting for data to write. Expects SIGPIPE to be ignored.
/// Errors: ErrorKind::io when nothing can be written (closed descriptor, no space).
/// Limits: a delivery that was cut short by the end of the run stays in the pipe; what was written cannot be taken
/// back.
std::unique_ptr<Sink> make_stdout_sink(StdoutSinkOptions options, SinkServices services, int fd = 1);

}  // namespace logpipe
