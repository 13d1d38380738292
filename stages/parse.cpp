#include "stages/parse.hpp"

#include <string_view>

#include "event/json.hpp"
#include "event/logfmt.hpp"
#include "stages/shared_counter.hpp"

namespace logpipe {
namespace {

/// A line that was meant as JSON, whether or not it is.
bool begins_as_object(std::string_view line) noexcept {
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  return !line.empty() && line.front() == '{';
}

class ParseStage final : public Stage {
 public:
  ParseStage(const ParseOptions& options, const StageServices& services)
      : format_(options.format.value_or(ParseFormat::json)),
        strict_(options.json && options.json->strict),
        on_failure_(options.on_failure),
        component_(services.component),
        failures_(services.metrics,
                  {.name = "logpipe_parse_failed_events_total",
                   .help = "Events that were not in the format the stage was asked to parse, kept or not."},
                  {{"component", services.name}}) {}

  void apply(Batch& batch, const Context&) const override {
    const std::uint64_t failed = parse(batch);
    if (failed == 0) return;
    failures_.add(failed);
    if (on_failure_ == OnParseFailure::keep) return;
    batch.retain(component_, false, [](const Event& event) {
      return event.parse_failed ? std::optional<Reason>(Reason::parse) : std::nullopt;
    });
  }

 private:
  std::uint64_t parse(Batch& batch) const {
    switch (format_) {
      case ParseFormat::json:
        return parse_json(batch, strict_).failed;
      case ParseFormat::logfmt:
        return parse_logfmt(batch).failed;
      case ParseFormat::automatic:
        return parse_auto(batch);
    }
    return 0;
  }

  /// Text is no failure here, but a line that begins like an object and is none is one.
  std::uint64_t parse_auto(Batch& batch) const {
    if (parse_json(batch, strict_, false).failed == 0) return 0;
    if (parse_logfmt_like(batch).failed == 0) return 0;
    std::uint64_t failed = 0;
    for (Event& event : batch.events) {
      if (event.form != Form::text) continue;
      event.parse_failed = event.edits == kNoEdit && begins_as_object(batch.text(event));
      failed += event.parse_failed ? 1 : 0;
    }
    return failed;
  }

  const ParseFormat format_;
  const bool strict_;
  const OnParseFailure on_failure_;
  const std::uint32_t component_;
  const SharedCounter failures_;
};

}  // namespace

const config::Schema<JsonParseOptions>& schema_of(config::Tag<JsonParseOptions>) {
  static const auto schema = config::Schema<JsonParseOptions>("JSON").optional(
      "strict", &JsonParseOptions::strict,
      "Checks how every number, literal and escape is spelled too, not only the structure and UTF-8.");
  return schema;
}

const config::Schema<ParseOptions>& schema_of(config::Tag<ParseOptions>) {
  static const auto schema =
      config::Schema<ParseOptions>("Parse")
          .optional(
              "format", &ParseOptions::format,
              "What the lines are. `parse: json` is short for `parse: {format: json}`; with `json` given it may be "
              "left out.")
          .optional("json", &ParseOptions::json, "How JSON is read, for the formats `json` and `auto`.")
          .optional("on_failure", &ParseOptions::on_failure, "What becomes of a line that is not in the format.")
          .scalar(&ParseOptions::format)
          .verify_with([](const ParseOptions& options, config::Decoder& decoder) {
            if (!options.format && !options.json) {
              decoder.error("expected a format", "write `parse: json`, `parse: logfmt` or `parse: auto`",
                            config::Code::missing_option);
            }
            if (options.json && options.format == ParseFormat::logfmt) {
              decoder.error_at("json", "options for JSON, but the format is logfmt", {}, config::Code::conflict);
            }
          });
  return schema;
}

std::unique_ptr<Stage> make_parse_stage(const ParseOptions& options, const StageServices& services) {
  return std::make_unique<ParseStage>(options, services);
}

}  // namespace logpipe
