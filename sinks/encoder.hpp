#pragma once

#include <cstdint>
#include <span>

#include "config/values.hpp"
#include "event/batch.hpp"
#include "event/encoded.hpp"
#include "event/json.hpp"

namespace logpipe {

/// How events become bytes. Every event ends in one LF.
enum class Encoding : std::uint8_t {
  automatic,  ///< raw where nothing changed the event, else json
  raw,        ///< as it came; edits do not show
  json,       ///< one object a line
  logfmt,     ///< key=value pairs
  pretty,     ///< for people on a terminal
  otel,       ///< one object a line, with the names of OpenTelemetry (preset.hpp)
  ecs,        ///< the same with those of the Elastic Common Schema
};

template <>
struct config::EnumNames<Encoding> {
  static constexpr EnumName<Encoding> values[] = {
      {"auto", Encoding::automatic, "as it came if nothing changed the event, else JSON"},
      {"raw", Encoding::raw, "as it came; changes by stages do not show"},
      {"json", Encoding::json, "one JSON object a line"},
      {"logfmt", Encoding::logfmt, "key=value pairs"},
      {"pretty", Encoding::pretty, "for people: time, level, message, then the other fields"},
      {"otel", Encoding::otel, "JSON with the names of the OpenTelemetry log data model"},
      {"ecs", Encoding::ecs, "JSON with the names of the Elastic Common Schema"}};
};

template <>
struct config::EnumNames<InvalidUtf8> {
  static constexpr EnumName<InvalidUtf8> values[] = {{"replace", InvalidUtf8::replace, "U+FFFD"},
                                                     {"hex", InvalidUtf8::hex, "the text `\\xNN`"},
                                                     {"keep", InvalidUtf8::keep, "as they are, which is no JSON"}};
};
/// What the option `invalid_utf8` of sinks means, for their schemas.
inline constexpr const char* kInvalidUtf8Meaning =
    "What becomes of bytes that are not UTF-8 where text is written as JSON. `raw` keeps every byte.";

enum class Colors : std::uint8_t { off, on };

/// Appends `events`, which are some of the batch's in their order, to `out`. Untouched neighbours leave as one run of
/// the block; when nothing of the batch was dropped or changed that costs per segment, not per event. A missing last
/// line end is added. `colors` matters to `pretty` only, `invalid` to what becomes JSON. Threads: any, on different
/// batches and outputs.
void encode_events(const Batch& batch, std::span<const Event> events, Encoding encoding, Encoded& out,
                   Colors colors = Colors::off, InvalidUtf8 invalid = InvalidUtf8::replace);

}  // namespace logpipe
