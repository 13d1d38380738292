#include <algorithm>
#include <charconv>
#include <string_view>

#include "stages/parse.hpp"

namespace logpipe {
namespace {

/// The options of a format, and whether they were written.
struct FormatOptions {
  ParseFormat format;
  std::string_view key;
  bool given;
  bool needed;  ///< the format is nothing without them
};

std::vector<FormatOptions> formats_of(const ParseOptions& options) {
  return {{ParseFormat::json, "json", options.json.has_value(), false},
          {ParseFormat::dissect, "dissect", options.dissect.has_value(), true},
          {ParseFormat::regex, "regex", options.regex.has_value(), true},
          {ParseFormat::csv, "csv", options.csv.has_value(), true},
          {ParseFormat::kv, "kv", options.kv.has_value(), false}};
}

bool takes(ParseFormat format, const FormatOptions& row) {
  return format == row.format || (format == ParseFormat::automatic && row.format == ParseFormat::json);
}

void verify_format(const ParseOptions& options, config::Decoder& decoder) {
  const std::vector<FormatOptions> rows = formats_of(options);
  const bool any = std::any_of(rows.begin(), rows.end(), [](const FormatOptions& row) { return row.given; });
  if (!options.format && !any) {
    decoder.error("expected a format", "write `parse: json`, `parse: auto` or `parse: {dissect: '%{time} %{text}'}`",
                  config::Code::missing_option);
    return;
  }
  const ParseFormat format = format_of(options);
  const std::string name(config::name_of(format));
  for (const FormatOptions& row : rows) {
    if (row.given && !takes(format, row)) {
      decoder.error_at(row.key, "options for " + std::string(row.key) + ", but the format is " + name, {},
                       config::Code::conflict);
    } else if (row.needed && !row.given && format == row.format) {
      decoder.error_at("format", "the format " + name + " needs its options", "write `" + name + ": …`",
                       config::Code::missing_option);
    }
  }
}

/// A name that two groups have, or nothing. (PCRE2 allows it after `(?J)`.)
std::string doubled_group(const PatternOption& pattern) {
  std::vector<std::string> names;
  if (!pattern) return {};
  for (const auto& [name, group] : pattern->named_groups()) names.push_back(name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  return twice == names.end() ? std::string() : *twice;
}

void verify_patterns(const RegexParseOptions& options, config::Decoder& decoder) {
  constexpr std::size_t kPatternsMax = 32;
  if (options.patterns.empty() || options.patterns.size() > kPatternsMax) {
    decoder.error_at("patterns", "expected 1 to 32 patterns", {}, config::Code::invalid_value);
  }
  for (const PatternOption& pattern : options.patterns) {
    if (pattern && pattern->named_groups().empty()) {
      decoder.error_at("patterns", "a pattern without named groups makes no fields", "name a group: (?<status>\\d+)",
                       config::Code::invalid_value);
    }
    if (const std::string name = doubled_group(pattern); !name.empty()) {
      decoder.error_at("patterns", "two groups of a pattern have the name \"" + name + "\"", {},
                       config::Code::invalid_value);
    }
  }
}

/// Whether a further value would get this name.
bool is_name_of_further_column(std::string_view name, std::size_t columns) {
  constexpr std::string_view kColumn = "column";
  if (!name.starts_with(kColumn)) return false;
  const std::string_view digits = name.substr(kColumn.size());
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() && digits.front() != '0' && number > columns;
}

void verify_csv(const CsvParseOptions& options, config::Decoder& decoder) {
  const std::string& separator = options.separator;
  if (separator.size() != 1 || separator == "\"" || separator == "\n" || separator == "\r") {
    decoder.error_at("separator", "expected one byte, not a quote or a line end", "a tab is written \"\\t\"");
  }
  if (options.columns.empty() || options.columns.size() > CsvScanner::kColumnsMax) {
    decoder.error_at("columns", "expected 1 to 512 names");
  }
  std::vector<std::string> names = options.columns;
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) decoder.error_at("columns", "the name \"" + *twice + "\" is there twice");
  if (!names.empty() && names.front().empty()) decoder.error_at("columns", "a field name must not be empty");
  if (options.mismatch != CsvScanner::Columns::loose) return;
  for (const std::string& name : options.columns) {
    if (is_name_of_further_column(name, names.size())) {
      decoder.error_at("columns", "a further value would be named \"" + name + "\" too");
    }
  }
}

void verify_kv(const KeyValueParseOptions& options, config::Decoder& decoder) {
  if (options.field_separator.empty()) decoder.error_at("field_separator", "expected a text that is not empty");
  if (options.pair_separator.empty()) decoder.error_at("pair_separator", "expected a text that is not empty");
  if (options.field_separator == options.pair_separator) {
    decoder.error_at("pair_separator", "the same text separates fields", {}, config::Code::conflict);
  }
}

void verify_target(const ParseOptions& options, config::Decoder& decoder) {
  if (options.into && options.into->empty()) {
    decoder.error_at("into", "a field name must not be empty", {}, config::Code::invalid_value);
  }
  const ParseFormat format = format_of(options);
  const bool line = !options.field && !options.into;
  if (line && !options.prefix.empty() && (format == ParseFormat::json || format == ParseFormat::automatic)) {
    decoder.error_at("prefix", "lines of JSON keep their names", "a prefix goes with `field`, `into` or another format",
                     config::Code::conflict);
  }
}

}  // namespace

ParseFormat format_of(const ParseOptions& options) {
  if (options.format) return *options.format;
  for (const FormatOptions& row : formats_of(options)) {
    if (row.given) return row.format;
  }
  return ParseFormat::json;
}

bool decode(config::Decoder& decoder, Dissect& out) {
  std::string text;
  if (!decoder.into(text)) return false;
  Dissect::Problem problem;
  auto parsed = Dissect::parse(text, &problem);
  if (!parsed) return decoder.error_within(problem.offset, problem.length, problem.message, problem.hint);
  out = std::move(*parsed);
  return true;
}

bool decode(config::Decoder& decoder, TimeSpelling& out) {
  struct Name {
    std::string_view name;
    TimeSpelling::Kind kind;
    EpochUnit unit;
  };
  using Kind = TimeSpelling::Kind;
  static constexpr Name kNames[] = {
      {"auto", Kind::by_looks, EpochUnit::by_size},       {"rfc3339", Kind::rfc3339, EpochUnit::by_size},
      {"rfc3164", Kind::rfc3164, EpochUnit::by_size},     {"clf", Kind::clf, EpochUnit::by_size},
      {"epoch", Kind::epoch, EpochUnit::by_size},         {"epoch_s", Kind::epoch, EpochUnit::seconds},
      {"epoch_ms", Kind::epoch, EpochUnit::milliseconds}, {"epoch_us", Kind::epoch, EpochUnit::microseconds},
      {"epoch_ns", Kind::epoch, EpochUnit::nanoseconds},
  };
  std::string text;
  if (!decoder.into(text)) return false;
  out = {};
  out.text = text;
  for (const Name& one : kNames) {
    if (one.name != text) continue;
    out.kind = one.kind;
    out.unit = one.unit;
    return true;
  }
  if (text.find('%') == std::string::npos) {
    return decoder.error(
        "expected a format of times, got \"" + text + "\"",
        "auto, rfc3339, rfc3164, clf, epoch, epoch_s, epoch_ms, epoch_us, epoch_ns, or one of your own "
        "such as '%Y-%m-%d %H:%M:%S'");
  }
  TimeFormat::Problem problem;
  out.own = TimeFormat::parse(text, &problem);
  if (out.own) return true;
  return decoder.error_within(problem.offset, problem.length, problem.message, problem.hint);
}

config::TypeInfo describe(config::Tag<TimeSpelling>) {
  return {.kind = config::TypeInfo::Kind::text, .name = "format of times"};
}

std::string print(config::Tag<TimeSpelling>, const TimeSpelling& value) {
  return config::yaml_scalar(value.text);
}

bool decode(config::Decoder& decoder, ZoneOffset& out) {
  std::string text;
  if (!decoder.into(text)) return false;
  out.text = text;
  out.seconds = 0;
  if (text == "UTC" || text == "Z") return true;
  const auto time = scan_rfc3339("2000-01-01T00:00:00" + text);
  if (!time || !time->has_offset)
    return decoder.error("expected UTC or an offset such as +01:00, got \"" + text + "\"");
  out.seconds = time->offset_seconds;
  return true;
}

config::TypeInfo describe(config::Tag<ZoneOffset>) {
  return {.kind = config::TypeInfo::Kind::text, .name = "offset"};
}

std::string print(config::Tag<ZoneOffset>, const ZoneOffset& value) {
  return config::yaml_scalar(value.text);
}

config::TypeInfo describe(config::Tag<Dissect>) {
  return {.kind = config::TypeInfo::Kind::text, .name = "pattern"};
}

std::string print(config::Tag<Dissect>, const Dissect& value) {
  return value.empty() ? std::string() : config::yaml_scalar(value.spelling());
}

const config::Schema<JsonParseOptions>& schema_of(config::Tag<JsonParseOptions>) {
  static const auto schema = config::Schema<JsonParseOptions>("JSON").optional(
      "strict", &JsonParseOptions::strict,
      "Checks how every number, literal and escape is spelled too, not only the structure and UTF-8.");
  return schema;
}

const config::Schema<DissectParseOptions>& schema_of(config::Tag<DissectParseOptions>) {
  static const auto schema = config::Schema<DissectParseOptions>("Dissect")
                                 .required("pattern", &DissectParseOptions::pattern,
                                           "Fields `%{name}` and the texts between them. `dissect: '…'` is short for "
                                           "`dissect: {pattern: '…'}`.")
                                 .scalar(&DissectParseOptions::pattern);
  return schema;
}

const config::Schema<RegexParseOptions>& schema_of(config::Tag<RegexParseOptions>) {
  static const auto schema =
      config::Schema<RegexParseOptions>("Regex")
          .required(
              "patterns", &RegexParseOptions::patterns,
              "Patterns, at most 32, tried in this order; the first that matches makes the fields. `regex: '…'` is "
              "short for `regex: {patterns: ['…']}`.")
          .or_single()
          .scalar(&RegexParseOptions::patterns)
          .verify_with(&verify_patterns);
  return schema;
}

const config::Schema<CsvParseOptions>& schema_of(config::Tag<CsvParseOptions>) {
  static const auto schema =
      config::Schema<CsvParseOptions>("CSV")
          .required("columns", &CsvParseOptions::columns,
                    "The names of the columns. `csv: [a, b]` is short for `csv: {columns: [a, b]}`.")
          .optional("separator", &CsvParseOptions::separator, "What stands between values, one byte.")
          .optional("mismatch", &CsvParseOptions::mismatch,
                    "What becomes of a line with fewer or more values than names.")
          .scalar(&CsvParseOptions::columns)
          .verify_with(&verify_csv);
  return schema;
}

const config::Schema<KeyValueParseOptions>& schema_of(config::Tag<KeyValueParseOptions>) {
  static const auto schema =
      config::Schema<KeyValueParseOptions>("Key and value")
          .optional("field_separator", &KeyValueParseOptions::field_separator, "What stands between pairs.")
          .optional("pair_separator", &KeyValueParseOptions::pair_separator, "What stands between a key and its value.")
          .verify_with(&verify_kv);
  return schema;
}

const config::Schema<TimestampOptions>& schema_of(config::Tag<TimestampOptions>) {
  static const auto schema =
      config::Schema<TimestampOptions>("Timestamp")
          .optional(
              "field", &TimestampOptions::field,
              "The field that holds the time; by default `time`. `timestamp: ts` is short for `timestamp: {field: "
              "ts}`.")
          .optional(
              "format", &TimestampOptions::format,
              "How it is written: `auto`, `rfc3339`, `rfc3164`, `clf`, `epoch` (the unit by the number of digits), "
              "`epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns`, or a format such as `%Y-%m-%d %H:%M:%S`.")
          .optional("zone", &TimestampOptions::zone, "The offset of times that are written without one.")
          .scalar(&TimestampOptions::field);
  return schema;
}

const config::Schema<ParseOptions>& schema_of(config::Tag<ParseOptions>) {
  static const auto schema =
      config::Schema<ParseOptions>("Parse")
          .optional(
              "format", &ParseOptions::format,
              "What the lines are. `parse: json` is short for `parse: {format: json}`; with the options of a format "
              "given it may be left out.")
          .optional("json", &ParseOptions::json, "How JSON is read, for the formats `json` and `auto`.")
          .optional("dissect", &ParseOptions::dissect, "How lines are cut, for the format `dissect`.")
          .optional("regex", &ParseOptions::regex, "What lines are matched with, for the format `regex`.")
          .optional("csv", &ParseOptions::csv, "How values are separated, for the format `csv`.")
          .optional("kv", &ParseOptions::kv, "How pairs are separated, for the format `kv`.")
          .optional("field", &ParseOptions::field,
                    "The field whose text is parsed instead of the line: a name, or a path such as `.log.text`.")
          .optional("into", &ParseOptions::into,
                    "The result becomes an object under this name, and the event keeps what it was. Without it the "
                    "fields are put next to those that are there, and replace those of the same name.")
          .optional("prefix", &ParseOptions::prefix, "What the names of the fields begin with.")
          .optional(
              "timestamp", &ParseOptions::timestamp,
              "Sets the field `timestamp` of parsed events, as RFC 3339 in UTC; a time that is written so already "
              "keeps its spelling.")
          .optional(
              "level", &ParseOptions::level,
              "The field that holds the level of parsed events: a name, or a number as syslog, bunyan or pino write "
              "it.")
          .optional("on_failure", &ParseOptions::on_failure, "What becomes of an event that is not in the format.")
          .scalar(&ParseOptions::format)
          .verify_with(&verify_format)
          .verify_with(&verify_target);
  return schema;
}

}  // namespace logpipe
