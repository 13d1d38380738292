#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "config/schema.hpp"
#include "stages/stage.hpp"

namespace logpipe {

enum class ParseFormat : std::uint8_t { json, logfmt, automatic };
enum class OnParseFailure : std::uint8_t { keep, discard };

struct JsonParseOptions {
  bool strict{false};
};

/// Options of `parse`. `parse: json` is short for `parse: {format: json}`.
struct ParseOptions {
  std::optional<ParseFormat> format;  ///< absent: json, when `json` is given
  std::optional<JsonParseOptions> json;
  OnParseFailure on_failure{OnParseFailure::keep};
};
const config::Schema<JsonParseOptions>& schema_of(config::Tag<JsonParseOptions>);
const config::Schema<ParseOptions>& schema_of(config::Tag<ParseOptions>);

/// Understands lines as JSON or logfmt. See docs/components/stages/parse.md.
std::unique_ptr<Stage> make_parse_stage(const ParseOptions& options, const StageServices& services);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::ParseFormat> {
  static constexpr EnumName<ParseFormat> values[] = {
      {"json", ParseFormat::json, "every line is one JSON object"},
      {"logfmt", ParseFormat::logfmt, "every line is key=value pairs"},
      {"auto", ParseFormat::automatic, "decided line by line, what is neither stays text"},
  };
};
template <>
struct logpipe::config::EnumNames<logpipe::OnParseFailure> {
  static constexpr EnumName<OnParseFailure> values[] = {
      {"keep", OnParseFailure::keep, "it goes on as text"},
      {"discard", OnParseFailure::discard, "it is counted as failed and goes no further"},
  };
};
