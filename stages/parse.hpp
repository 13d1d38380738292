#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/pattern.hpp"
#include "config/schema.hpp"
#include "event/columns.hpp"
#include "event/dissect.hpp"
#include "event/fields.hpp"
#include "event/timestamp.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

enum class ParseFormat : std::uint8_t { json, logfmt, syslog, clf, cri, csv, kv, dissect, regex, automatic };
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

/// `csv: [a, b]` is short for `csv: {columns: [a, b]}`.
struct CsvParseOptions {
  std::vector<std::string> columns;
  std::string separator{","};
  CsvScanner::Columns mismatch{CsvScanner::Columns::strict};
};

struct KeyValueParseOptions {
  std::string field_separator{" "};
  std::string pair_separator{"="};
};

/// How a time is written.
struct TimeSpelling {
  enum class Kind : std::uint8_t { by_looks, rfc3339, rfc3164, clf, epoch };
  Kind kind{Kind::by_looks};
  EpochUnit unit{EpochUnit::by_size};
  std::optional<TimeFormat> own;  ///< counts before `kind`
  std::string text{"auto"};
};

/// What a time without an offset is off UTC, east of Greenwich.
struct ZoneOffset {
  std::int32_t seconds{0};
  std::string text{"UTC"};
};

/// `timestamp: ts` is short for `timestamp: {field: ts}`.
struct TimestampOptions {
  std::optional<FieldPath> field;  ///< absent: `time`
  TimeSpelling format;
  ZoneOffset zone;
};

/// Options of `parse`. `parse: json` is short for `parse: {format: json}`.
struct ParseOptions {
  std::optional<ParseFormat> format;  ///< absent: that of the options below; see format_of
  std::optional<JsonParseOptions> json;
  std::optional<DissectParseOptions> dissect;
  std::optional<RegexParseOptions> regex;
  std::optional<CsvParseOptions> csv;
  std::optional<KeyValueParseOptions> kv;
  std::optional<FieldPath> field;  ///< absent: the line
  std::optional<std::string> into;
  std::string prefix;
  std::optional<TimestampOptions> timestamp;
  std::optional<FieldPath> level;  ///< absent: found when somebody asks for it
  OnParseFailure on_failure{OnParseFailure::keep};
};
const config::Schema<JsonParseOptions>& schema_of(config::Tag<JsonParseOptions>);
const config::Schema<DissectParseOptions>& schema_of(config::Tag<DissectParseOptions>);
const config::Schema<RegexParseOptions>& schema_of(config::Tag<RegexParseOptions>);
const config::Schema<CsvParseOptions>& schema_of(config::Tag<CsvParseOptions>);
const config::Schema<KeyValueParseOptions>& schema_of(config::Tag<KeyValueParseOptions>);
const config::Schema<TimestampOptions>& schema_of(config::Tag<TimestampOptions>);
const config::Schema<ParseOptions>& schema_of(config::Tag<ParseOptions>);

/// The format that is named, or whose options are given.
ParseFormat format_of(const ParseOptions& options);

/// A pattern of `dissect`, compiled.
bool decode(config::Decoder& decoder, Dissect& out);
config::TypeInfo describe(config::Tag<Dissect>);
std::string print(config::Tag<Dissect>, const Dissect& value);

/// `auto`, a name, or a format of strptime's kind.
bool decode(config::Decoder& decoder, TimeSpelling& out);
config::TypeInfo describe(config::Tag<TimeSpelling>);
std::string print(config::Tag<TimeSpelling>, const TimeSpelling& value);

/// `UTC` or `+01:00`.
bool decode(config::Decoder& decoder, ZoneOffset& out);
config::TypeInfo describe(config::Tag<ZoneOffset>);
std::string print(config::Tag<ZoneOffset>, const ZoneOffset& value);

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
      {"cri", ParseFormat::cri, "lines of containers as CRI runtimes write them"},
      {"csv", ParseFormat::csv, "separated values"},
      {"kv", ParseFormat::kv, "pairs with separators of one's own"},
      {"dissect", ParseFormat::dissect, "cut at literal texts"},
      {"regex", ParseFormat::regex, "the named groups of a regular expression"},
      {"auto", ParseFormat::automatic, "JSON or logfmt, decided line by line; what is neither stays text"},
  };
};
template <>
struct logpipe::config::EnumNames<logpipe::CsvScanner::Columns> {
  static constexpr EnumName<CsvScanner::Columns> values[] = {
      {"fail", CsvScanner::Columns::strict, "it is not in the format"},
      {"allow", CsvScanner::Columns::loose,
       "values that are missing are left out, further ones are named `column4`, `column5`, …"},
  };
};
template <>
struct logpipe::config::EnumNames<logpipe::OnParseFailure> {
  static constexpr EnumName<OnParseFailure> values[] = {
      {"keep", OnParseFailure::keep, "it goes on as it is"},
      {"discard", OnParseFailure::discard, "it is counted as failed and goes no further"},
  };
};
