#pragma once

#include <string>
#include <string_view>

#include "event/arena.hpp"
#include "event/batch.hpp"
#include "event/encoded.hpp"
#include "sinks/encoder.hpp"

namespace logpipe {

/// Appends the event for people on a terminal, with its line end: `time LEVEL message key=value …`. The time is the
/// first of the fields time, timestamp, ts, @timestamp, datetime; numbers are read as seconds, milliseconds,
/// microseconds or nanoseconds since 1970 by their size and shown in UTC. A plain line stays as it is, in the colour of
/// its level. Control characters are shown as `\x1b`, so that a log line cannot drive the terminal; line breaks in the
/// message are kept and indented.
void write_pretty(const Batch& batch, const Event& event, Colors colors, Arena& scratch, Encoded& out);

/// The time of a number since 1970, `2026-01-02T03:04:05.678Z`; empty when it is no plausible time.
std::string time_of_number(std::string_view number);

}  // namespace logpipe
