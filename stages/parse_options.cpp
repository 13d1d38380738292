#include <algorithm>
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
          {ParseFormat::regex, "regex", options.regex.has_value(), true}};
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
          .optional("field", &ParseOptions::field,
                    "The field whose text is parsed instead of the line: a name, or a path such as `.log.text`.")
          .optional("into", &ParseOptions::into,
                    "The result becomes an object under this name, and the event keeps what it was. Without it the "
                    "fields are put next to those that are there, and replace those of the same name.")
          .optional("prefix", &ParseOptions::prefix, "What the names of the fields begin with.")
          .optional("on_failure", &ParseOptions::on_failure, "What becomes of an event that is not in the format.")
          .scalar(&ParseOptions::format)
          .verify_with(&verify_format)
          .verify_with(&verify_target);
  return schema;
}

}  // namespace logpipe
