#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/pattern.hpp"
#include "config/schema.hpp"
#include "event/dissect.hpp"
#include "event/fields.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

enum class ParseFormat : std::uint8_t { json, logfmt, syslog, clf, dissect, regex, automatic };
enum class OnParseFailure : std::uint8_t { keep, discard };

struct JsonParseOptions {
  bool strict{false};
};

/// `dissect: '%{a} %{b}'` is short for `dissect: {pattern: '%{a} %{b}'}`.
struct DissectParseOptions {
  Dissect pattern;
};

/// `regex: '(?<a>…)'` and `regex: ['…', '…']` are short for `regex: {patterns: [...]}`.
struct RegexParseOptions {
  std::vector<PatternOption> patterns;
};

/// Options of `parse`. `parse: json` is short for `parse: {format: json}`.
struct ParseOptions {
  std::optional<ParseFormat> format;  ///< absent: that of the options below; see format_of
  std::optional<JsonParseOptions> json;
  std::optional<DissectParseOptions> dissect;
  std::optional<RegexParseOptions> regex;
  std::optional<FieldPath> field;  ///< absent: the line
  std::optional<std::string> into;
  std::string prefix;
  OnParseFailure on_failure{OnParseFailure::keep};
};
const config::Schema<JsonParseOptions>& schema_of(config::Tag<JsonParseOptions>);
const config::Schema<DissectParseOptions>& schema_of(config::Tag<DissectParseOptions>);
const config::Schema<RegexParseOptions>& schema_of(config::Tag<RegexParseOptions>);
const config::Schema<ParseOptions>& schema_of(config::Tag<ParseOptions>);

/// The format that is named, or whose options are given.
ParseFormat format_of(const ParseOptions& options);

/// A pattern of `dissect`, compiled.
bool decode(config::Decoder& decoder, Dissect& out);
config::TypeInfo describe(config::Tag<Dissect>);
std::string print(config::Tag<Dissect>, const Dissect& value);

/// Understands lines, or a field of events, in one of several formats. See docs/components/stages/parse.md.
std::unique_ptr<Stage> make_parse_stage(const ParseOptions& options, const StageServices& services);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::ParseFormat> {
  static constexpr EnumName<ParseFormat> values[] = {
      {"json", ParseFormat::json, "one JSON object"},
      {"logfmt", ParseFormat::logfmt, "key=value pairs"},
      {"syslog", ParseFormat::syslog, "syslog lines, RFC 5424 or RFC 3164"},
      {"clf", ParseFormat::clf, "access logs, common or combined"},
      {"dissect", ParseFormat::dissect, "cut at literal texts"},
      {"regex", ParseFormat::regex, "the named groups of a regular expression"},
      {"auto", ParseFormat::automatic, "JSON or logfmt, decided line by line; what is neither stays text"},
  };
};
template <>
struct logpipe::config::EnumNames<logpipe::OnParseFailure> {
  static constexpr EnumName<OnParseFailure> values[] = {
      {"keep", OnParseFailure::keep, "it goes on as it is"},
      {"discard", OnParseFailure::discard, "it is counted as failed and goes no further"},
  };
};
