#include "sinks/preset.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "event/field_edit.hpp"
#include "event/field_template.hpp"
#include "event/fields.hpp"
#include "event/json.hpp"
#include "event/level_text.hpp"
#include "event/value.hpp"

namespace logpipe {
namespace {

/// Names under which programs write one thing; the first that is there counts.
class Names {
 public:
  Names(std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) paths_.push_back(FieldPath::parse(name).value_or(FieldPath()));
  }
  struct Found {
    std::string_view name;  ///< empty: there is none
    FieldValue value;
  };
  template <class Usable>
  Found find_in(const Batch& batch, const Event& event, Usable&& usable) const {
    for (const FieldPath& path : paths_) {
      const std::optional<FieldValue> value = find(batch, event, path);
      if (value && usable(*value)) return {path.spelling(), *value};
    }
    return {};
  }

 private:
  std::vector<FieldPath> paths_;
};

bool is_text(const FieldValue& value) noexcept {
  return value.type == ValueType::string;
}

/// What the presets have names of their own for.
struct Known {
  std::optional<std::int64_t> time;  ///< in nanoseconds since 1970
  Names::Found time_field;
  Names::Found body;
  Names::Found trace;
  Names::Found span;
  Level level{Level::unknown};
  std::string_view level_field;

  bool took(std::string_view key) const noexcept {
    for (const std::string_view name : {time_field.name, body.name, trace.name, span.name, level_field}) {
      if (!name.empty() && key == name) return true;
    }
    return false;
  }
};

std::optional<std::int64_t> time_of(const FieldValue& value, Arena& scratch) {
  if (value.type != ValueType::string && value.type != ValueType::number) return std::nullopt;
  const std::string_view text = value_text(value, scratch);
  if (const auto time = time_from_text(text)) return time;
  const Value number = number_from_text(text);
  return number.missing() ? std::nullopt : time_from_number(number);
}

/// `text_body`: what is no text stays a field of its own.
Known known_of(const Batch& batch, const Event& event, Arena& scratch, bool text_body) {
  static const Names times{"@timestamp", "timestamp", "time", "ts", "datetime"};
  static const Names bodies{"message", "msg", "body", "log"};
  static const Names traces{"trace_id", "traceId", "trace.id"};
  static const Names spans{"span_id", "spanId", "span.id"};
  static const Names levels{"level",     "severity",  "lvl",           "loglevel",
                            "log.level", "levelname", "severity_text", "PRIORITY"};
  Known known;
  known.time_field = times.find_in(batch, event, [&](const FieldValue& value) {
    known.time = time_of(value, scratch);
    return known.time.has_value();
  });
  known.body = bodies.find_in(batch, event, [&](const FieldValue& value) {
    return text_body ? value.type == ValueType::string : value.type != ValueType::null;
  });
  known.trace = traces.find_in(batch, event, is_text);
  known.span = spans.find_in(batch, event, is_text);
  known.level = level_of_event(batch, event);
  if (known.level != Level::unknown) {
    // The field that says the same as what was found: another one is the event's own.
    known.level_field = levels
                            .find_in(batch, event,
                                     [&](const FieldValue& value) {
                                       return (value.type == ValueType::string || value.type == ValueType::number) &&
                                              level_from_value(value.text) == known.level;
                                     })
                            .name;
  }
  return known;
}

/// Writes members, with the commas between them.
class Object {
 public:
  Object(Arena& scratch, Encoded& out) : scratch_(scratch), out_(out) { out_.append('{'); }
  void end() { out_.append('}'); }

  /// `name` needs no escaping.
  Encoded& member(std::string_view name) {
    comma();
    out_.append('"');
    out_.append(name);
    out_.append("\":");
    return out_;
  }
  void text(std::string_view name, std::string_view value) { append_json_string(value, member(name)); }
  void value(std::string_view name, const FieldValue& value) { member(name).append(json_text(value, scratch_)); }
  /// A field under its own name.
  void field(std::string_view key, const FieldValue& value) {
    comma();
    append_json_string(key, out_);
    out_.append(':');
    out_.append(json_text(value, scratch_));
  }
  Arena& scratch() noexcept { return scratch_; }
  Encoded& out() noexcept { return out_; }

 private:
  void comma() {
    if (!first_) out_.append(',');
    first_ = false;
  }
  Arena& scratch_;
  Encoded& out_;
  bool first_{true};
};

std::int64_t nanoseconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

/// Fields that tell where an event comes from, by the semantic conventions for resources.
bool is_resource(std::string_view key) noexcept {
  constexpr std::array<std::string_view, 11> kPrefixes{
      "service.", "host.",       "k8s.",    "container.",     "cloud.", "os.",
      "process.", "deployment.", "device.", "telemetry.sdk.", "faas."};
  return std::any_of(kPrefixes.begin(), kPrefixes.end(), [&](std::string_view p) { return key.starts_with(p); });
}

/// The fields that are left, those of the resource or the others.
struct Rest {
  const Known& known;
  Object& object;
  bool resource;
};

void write_rest(const Batch& batch, const Event& event, const Known& known, bool resource, Object& object) {
  Rest rest{known, object, resource};
  for_each_field(
      batch, event, object.scratch(),
      [](void* context, std::string_view key, const FieldValue& value) {
        auto& left = *static_cast<Rest*>(context);
        if (left.known.took(key) || is_resource(key) != left.resource) return;
        left.object.field(key, value);
      },
      &rest);
}

bool has_resource(const Batch& batch, const Event& event, Arena& scratch) {
  bool any = false;
  for_each_field(
      batch, event, scratch,
      [](void* context, std::string_view key, const FieldValue&) {
        *static_cast<bool*>(context) = *static_cast<bool*>(context) || is_resource(key);
      },
      &any);
  return any;
}

}  // namespace

void write_otel(const Batch& batch, const Event& event, Arena& scratch, Encoded& out) {
  const Known known = known_of(batch, event, scratch, false);
  Object object(scratch, out);
  if (known.time) object.text("Timestamp", std::to_string(*known.time));
  object.text("ObservedTimestamp", std::to_string(nanoseconds(batch.block().read_at)));
  if (!known.trace.name.empty()) object.value("TraceId", known.trace.value);
  if (!known.span.name.empty()) object.value("SpanId", known.span.value);
  if (known.level != Level::unknown) {
    object.text("SeverityText", level_name(known.level));
    object.member("SeverityNumber").append(std::to_string(static_cast<int>(known.level)));
  }
  if (!known.body.name.empty()) object.value("Body", known.body.value);
  if (has_resource(batch, event, scratch)) {
    object.member("Resource");
    Object resource(scratch, out);
    write_rest(batch, event, known, true, resource);
    resource.end();
  }
  object.member("Attributes");
  Object attributes(scratch, out);
  write_rest(batch, event, known, false, attributes);
  attributes.end();
  object.end();
}

void write_ecs(const Batch& batch, const Event& event, Arena& scratch, Encoded& out) {
  const Known known = known_of(batch, event, scratch, true);
  Object object(scratch, out);
  object.text("@timestamp", time_text(known.time.value_or(nanoseconds(batch.block().read_at)), scratch));
  if (known.level != Level::unknown) object.text("log.level", level_name(known.level));
  if (!known.body.name.empty()) object.value("message", known.body.value);
  object.text("ecs.version", "8.11.0");
  if (!known.trace.name.empty()) object.value("trace.id", known.trace.value);
  if (!known.span.name.empty()) object.value("span.id", known.span.value);
  struct Rest {
    const Known& known;
    Object& object;
  } rest{known, object};
  for_each_field(
      batch, event, scratch,
      [](void* context, std::string_view key, const FieldValue& value) {
        auto& left = *static_cast<Rest*>(context);
        // No name is written twice: those above are ours.
        const auto written = [&](std::string_view name, bool ours) { return ours && key == name; };
        if (left.known.took(key) || written("@timestamp", true) || written("ecs.version", true) ||
            written("log.level", left.known.level != Level::unknown) ||
            written("message", !left.known.body.name.empty()) || written("trace.id", !left.known.trace.name.empty()) ||
            written("span.id", !left.known.span.name.empty())) {
          return;
        }
        left.object.field(key, value);
      },
      &rest);
  object.end();
}

}  // namespace logpipe
