#include "stages/set.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "event/json.hpp"
#include "event/level_text.hpp"
#include "stages/field_names.hpp"

namespace logpipe {
namespace {

/// A constant of any depth as JSON; scalars as JsonScalar reads them.
bool json_of_node(const config::Decoder& decoder, std::string& json) {
  const config::Node& node = decoder.node();
  if (node.is_null() || node.is_scalar()) {
    JsonScalar scalar;
    if (!decoder.into(scalar)) return false;
    json += scalar.json;
    return true;
  }
  bool good = true;
  json += node.is_map() ? '{' : '[';
  const char* comma = "";
  for (const config::Node::Entry& entry : node.entries) {
    json += comma + json_string(entry.key) + ':';
    good = json_of_node(decoder.at(entry), json) && good;
    comma = ",";
  }
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    json += comma;
    good = json_of_node(decoder.at(i), json) && good;
    comma = ",";
  }
  json += node.is_map() ? '}' : ']';
  return good;
}

class SetStage final : public Stage {
 public:
  SetStage(const SetOptions& options, const StageServices& services)
      : skip_(options.on_missing == OnMissing::skip), keep_(options.existing == Existing::keep), counts_(services) {
    for (const auto& field : options.fields) {
      FieldTarget target = target_of(field.name);
      const std::string& top = target.path().steps().front().key;
      sets_level_ = sets_level_ || std::find(kLevelKeys.begin(), kLevelKeys.end(), top) != kLevelKeys.end();
      const bool constant = !field.value.text && !field.value.copy && !field.value.expr;
      if (constant && !keep_ && !target.nested()) {
        // Neighbours are set in one walk over the event.
        if (steps_.empty() || steps_.back().constants.empty()) steps_.emplace_back();
        steps_.back().constants.add(top, field.value.json);
      } else {
        steps_.push_back({FieldSet(), std::move(target), field.value});
      }
    }
  }

  void apply(Batch& batch, const Context&) const override {
    TransformCounts::Batch counts;
    for (Event& event : batch.events) {
      bool changed = false;
      for (const Step& step : steps_) {
        const Outcome outcome = make(batch, event, step);
        changed = changed || outcome == Outcome::changed;
        counts.failed += outcome == Outcome::failed ? 1 : 0;
      }
      counts.changed += changed ? 1 : 0;
      // What was found of the level may not hold any more.
      if (sets_level_) event.level_known = false;
    }
    counts_.add(counts);
  }

 private:
  struct Step {
    FieldSet constants;  ///< either these
    FieldTarget target;  ///< or one field
    SetValue value;
  };

  enum class Outcome : std::uint8_t { as_it_was, changed, failed };

  Outcome make(Batch& batch, Event& event, const Step& step) const {
    if (!step.constants.empty()) {
      set(batch, event, step.constants);
      return Outcome::changed;
    }
    if (keep_) {
      const std::optional<FieldValue> there = find(batch, event, step.target.path());
      if (there && there->type != ValueType::null) return Outcome::as_it_was;
    }
    const std::optional<std::string_view> json = value_of(batch, event, step.value);
    if (!json) return Outcome::as_it_was;
    return set(batch, event, step.target, *json) ? Outcome::changed : Outcome::failed;
  }

  std::optional<std::string_view> value_of(Batch& batch, Event& event, const SetValue& value) const {
    if (value.copy) {
      const std::optional<FieldValue> from = find(batch, event, *value.copy);
      if (from) return batch.arena.copy(json_text(*from, batch.arena));
      if (skip_) return std::nullopt;
      return "\"\"";
    }
    if (value.expr) {
      thread_local ExpressionScratch computing;
      const Value made = value.expr->evaluate(batch, event, computing);
      if (made.missing()) return std::nullopt;
      return json_of(made, batch.arena);
    }
    if (!value.text) return value.json;
    thread_local std::string scratch;  // stays warm from batch to batch
    const FieldTemplate::Rendered text = value.text->render(batch, event, scratch);
    if (skip_ && text.missing != 0) return std::nullopt;
    return json_string(text.text, batch.arena);
  }

  std::vector<Step> steps_;
  const bool skip_;
  const bool keep_;
  bool sets_level_{false};
  const TransformCounts counts_;
};

}  // namespace

bool decode(config::Decoder& decoder, SetValue& out) {
  const config::Node& node = decoder.node();
  if (node.is_map() && node.entries.size() == 1 && node.entries.front().key == "copy") {
    return decoder.at(node.entries.front()).into(out.copy.emplace());
  }
  if (node.is_map() && node.entries.size() == 1 && node.entries.front().key == "expr") {
    return decoder.at(node.entries.front()).into(out.expr.emplace());
  }
  if (node.is_scalar() && node.text.find_first_of("{}") != std::string::npos) {
    return decoder.into(out.text.emplace());
  }
  return json_of_node(decoder, out.json);
}

config::TypeInfo describe(config::Tag<SetValue>) {
  return {.kind = config::TypeInfo::Kind::any, .name = "values"};
}

std::string print(config::Tag<SetValue>, const SetValue& value) {
  if (value.copy) return "{copy: " + config::yaml_scalar(value.copy->spelling()) + "}";
  if (value.expr) return "{expr: " + config::yaml_scalar(value.expr->spelling()) + "}";
  return value.text ? config::yaml_scalar(value.text->spelling()) : value.json;
}

const config::Schema<SetOptions>& schema_of(config::Tag<SetOptions>) {
  static const auto schema =
      config::Schema<SetOptions>("Set")
          .required(
              "fields", &SetOptions::fields,
              "Names of fields, or paths such as `.user.id`, each with its value: a constant, a text with "
              "fields, `{copy: FIELD}` or `{expr: EXPRESSION}`. `set: {a: 1}` is short for `set: {fields: {a: 1}}`.")
          .optional("on_missing", &SetOptions::on_missing, "When a field that a text or `copy` names is not there.")
          .optional("existing", &SetOptions::existing, "What becomes of a field that is there already.")
          .scalar(&SetOptions::fields)
          .verify_with([](const SetOptions& options, config::Decoder& decoder) {
            check_fields(options.fields, "fields", decoder);
          });
  return schema;
}

std::unique_ptr<Stage> make_set_stage(const SetOptions& options, const StageServices& services) {
  return std::make_unique<SetStage>(options, services);
}

}  // namespace logpipe
