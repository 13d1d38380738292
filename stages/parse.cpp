#include "stages/parse.hpp"

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "event/json.hpp"
#include "event/level_detect.hpp"
#include "event/logfmt.hpp"
#include "stages/parse_scanner.hpp"
#include "stages/parse_timestamp.hpp"
#include "stages/shared_counter.hpp"

namespace logpipe {
namespace {

/// A line that was meant as JSON, whether or not it is.
bool begins_as_object(std::string_view line) noexcept {
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  return !line.empty() && line.front() == '{';
}

std::string_view with_prefix(std::string_view prefix, std::string_view name, Arena& arena) {
  if (prefix.empty()) return name;
  char* const place = arena.allocate(prefix.size() + name.size());
  prefix.copy(place, prefix.size());
  name.copy(place + prefix.size(), name.size());
  return {place, prefix.size() + name.size()};
}

/// What did not come out, by reason.
struct Failures {
  std::uint64_t format{0};
  std::uint64_t missing{0};
};

class ParseStage final : public Stage {
 public:
  ParseStage(const ParseOptions& options, const StageServices& services)
      : format_(format_of(options)),
        strict_(options.json && options.json->strict),
        whole_line_(!options.field && !options.into),
        field_(options.field),
        into_(options.into),
        prefix_(options.prefix),
        on_failure_(options.on_failure),
        component_(services.component),
        timestamp_(options.timestamp ? std::optional<TimestampStep>(*options.timestamp) : std::nullopt),
        level_(options.level ? std::optional<LevelDetector>(*options.level) : std::nullopt),
        scanner_(make_text_scanner(options, services)),
        not_in_format_(services.metrics, failed(), {{"component", services.name}, {"reason", "format"}}),
        field_missing_(services.metrics, failed(), {{"component", services.name}, {"reason", "missing"}}),
        no_time_(services.metrics,
                 {.name = "logpipe_parse_timestamp_failed_events_total",
                  .help = "Parsed events whose field for `timestamp` was not there or no time."},
                 {{"component", services.name}}) {}

  void apply(Batch& batch, const Context&) const override {
    std::vector<bool>& ours = lines_to_parse(batch);
    const Failures failures = whole_line_ ? Failures{parse_lines(batch), 0} : parse_fields(batch);
    not_in_format_.add(failures.format);
    field_missing_.add(failures.missing);
    finish(batch, ours);
    if (failures.format + failures.missing == 0 || on_failure_ == OnParseFailure::keep) return;
    // A parsed event that is marked was marked by another stage, which parsed a field and kept it.
    batch.retain(component_, false, [this](const Event& event) {
      const bool failed_here = event.parse_failed && (!whole_line_ || event.form == Form::text);
      return failed_here ? std::optional<Reason>(Reason::parse) : std::nullopt;
    });
  }

 private:
  /// Which events this stage may make into something else, when that matters afterwards.
  std::vector<bool>& lines_to_parse(const Batch& batch) const {
    thread_local std::vector<bool> lines;
    lines.clear();
    if (!whole_line_ || (!timestamp_ && !level_)) return lines;
    for (const Event& event : batch.events) lines.push_back(event.form == Form::text);
    return lines;
  }

  /// The time and the level of what this stage parsed; what another one parsed keeps its own.
  void finish(Batch& batch, const std::vector<bool>& ours) const {
    if (!timestamp_ && !level_) return;
    std::uint64_t without_time = 0;
    for (std::size_t i = 0; i < batch.events.size(); ++i) {
      Event& event = batch.events[i];
      if (event.parse_failed || (whole_line_ && (event.form == Form::text || !ours[i]))) continue;
      if (timestamp_ && !timestamp_->apply(batch, event)) ++without_time;
      if (level_) take_level(event, level_->detect(batch, event));
    }
    no_time_.add(without_time);
  }

  /// Finding none leaves one that is known.
  static void take_level(Event& event, Level level) noexcept {
    if (level == Level::unknown && event.level_known) return;
    event.level = level;
    event.level_known = true;
  }

  static MetricInfo failed() {
    return {.name = "logpipe_parse_failed_events_total",
            .help = "Events that were not in the format the stage was asked to parse, kept or not, by reason."};
  }

  std::uint64_t parse_lines(Batch& batch) const {
    switch (format_) {
      case ParseFormat::json:
        return parse_json(batch, strict_).failed;
      case ParseFormat::logfmt:
        if (prefix_.empty()) return parse_logfmt(batch).failed;
        break;
      case ParseFormat::automatic:
        return parse_auto(batch);
      default:
        break;
    }
    return scan_lines(batch, [this](std::string_view line, const ScanOut& out) { return scan(line, out); }).failed;
  }

  bool scan(std::string_view line, const ScanOut& out) const {
    const std::size_t begin = out.fields.size();
    if (!scanner_->scan(line, out)) return false;
    if (prefix_.empty()) return true;
    for (std::size_t i = begin; i < out.fields.size(); ++i) {
      out.fields[i].key = with_prefix(prefix_, out.fields[i].key, out.arena);
    }
    return true;
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

  Failures parse_fields(Batch& batch) const {
    Failures failures;
    const std::size_t begin = batch.fields.size();
    for (Event& event : batch.events) {
      const std::optional<std::string_view> text = text_of(batch, event);
      const bool good = text && scanner_->scan(*text, ScanOut{batch.fields, batch.arena});
      if (good) {
        put(batch, event, begin);
        forget_unknown_level(event);
      } else {
        ++(text ? failures.format : failures.missing);
      }
      event.parse_failed = !good;
      batch.fields.resize(begin);
    }
    return failures;
  }

  /// What is to be parsed; nullopt when the event has no such text.
  std::optional<std::string_view> text_of(Batch& batch, const Event& event) const {
    const bool edited_text = event.form == Form::text && event.edits != kNoEdit;
    if (!field_ && event.redacted && !edited_text) return std::nullopt;
    if (!field_ && !edited_text) return batch.text(event);
    const std::optional<FieldValue> value = find(batch, event, field_ ? *field_ : message_);
    if (!value || value->type == ValueType::null) return std::nullopt;
    return value_text(*value, batch.arena);
  }

  /// Adds what was found to the event, which stays what it is.
  void put(Batch& batch, Event& event, std::size_t begin) const {
    const std::span<const FieldRef> found(batch.fields.data() + begin, batch.fields.size() - begin);
    if (into_) {
      set(batch, event, *into_, fields_json(found, prefix_, batch.arena));
    } else {
      set_fields(batch, event, found, prefix_);
    }
  }

  const ParseFormat format_;
  const bool strict_;
  const bool whole_line_;
  const std::optional<FieldPath> field_;
  const FieldPath message_{*FieldPath::parse("message")};
  const std::optional<std::string> into_;
  const std::string prefix_;
  const OnParseFailure on_failure_;
  const std::uint32_t component_;
  const std::optional<TimestampStep> timestamp_;
  const std::optional<LevelDetector> level_;
  const std::unique_ptr<TextScanner> scanner_;
  const SharedCounter not_in_format_;
  const SharedCounter field_missing_;
  const SharedCounter no_time_;
};

}  // namespace

std::unique_ptr<Stage> make_parse_stage(const ParseOptions& options, const StageServices& services) {
  return std::make_unique<ParseStage>(options, services);
}

}  // namespace logpipe
