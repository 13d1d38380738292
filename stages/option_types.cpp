#include "stages/option_types.hpp"

#include "event/json.hpp"

namespace logpipe {
namespace {

/// Reads any text that has a `parse(text, &problem)`.
template <class T>
bool decode_parsed(config::Decoder& decoder, T& out, config::Code code) {
  std::string text;
  if (!decoder.into(text)) return false;
  typename T::Problem problem;
  auto parsed = T::parse(text, &problem);
  if (!parsed) return decoder.error_within(problem.offset, problem.length, problem.message, problem.hint, code);
  out = std::move(*parsed);
  return true;
}

constexpr std::string_view kLevelNames[] = {"trace", "debug",    "info",  "notice", "warn",
                                            "error", "critical", "alert", "fatal"};

}  // namespace

bool decode(config::Decoder& decoder, Level& out) {
  std::string name;
  if (!decoder.into(name)) return false;
  const auto level = level_from_name(name);
  if (!level) return decoder.unknown_name("level", name, kLevelNames);
  out = *level;
  return true;
}

config::TypeInfo describe(config::Tag<Level>) {
  config::TypeInfo info{.kind = config::TypeInfo::Kind::choice, .name = {}};
  for (const std::string_view name : kLevelNames) info.choices.push_back({name, {}});
  return info;
}

std::string print(config::Tag<Level>, const Level& level) {
  return std::string(level_name(level));
}

bool decode(config::Decoder& decoder, FieldPath& out) {
  std::string text;
  if (!decoder.into(text)) return false;
  std::string why;
  auto path = FieldPath::parse(text, &why);
  if (!path) {
    return decoder.error(why.empty() ? "expected a field's name or a path such as .user.id" : why,
                         "a name is one top-level key; a path begins with a dot: .user.id, .tags[0]",
                         config::Code::expression);
  }
  out = std::move(*path);
  return true;
}

config::TypeInfo describe(config::Tag<FieldPath>) {
  return {.kind = config::TypeInfo::Kind::text, .name = "field"};
}

std::string print(config::Tag<FieldPath>, const FieldPath& path) {
  return path.spelling().empty() ? std::string() : config::yaml_scalar(path.spelling());
}

bool decode(config::Decoder& decoder, EventCondition& out) {
  return decode_parsed(decoder, out, config::Code::expression);
}

config::TypeInfo describe(config::Tag<EventCondition>) {
  return {.kind = config::TypeInfo::Kind::text, .name = "condition"};
}

std::string print(config::Tag<EventCondition>, const EventCondition& condition) {
  return condition.empty() ? std::string() : config::yaml_scalar(condition.spelling());
}

bool decode(config::Decoder& decoder, Expression& out) {
  return decode_parsed(decoder, out, config::Code::expression);
}

config::TypeInfo describe(config::Tag<Expression>) {
  return {.kind = config::TypeInfo::Kind::text, .name = "expression"};
}

std::string print(config::Tag<Expression>, const Expression& expression) {
  return expression.empty() ? std::string() : config::yaml_scalar(expression.spelling());
}

bool decode(config::Decoder& decoder, FieldTemplate& out) {
  return decode_parsed(decoder, out, config::Code::format_template);
}

config::TypeInfo describe(config::Tag<FieldTemplate>) {
  return {.kind = config::TypeInfo::Kind::text, .name = "text with fields"};
}

std::string print(config::Tag<FieldTemplate>, const FieldTemplate& value) {
  return value.empty() ? std::string() : config::yaml_scalar(value.spelling());
}

bool decode(config::Decoder& decoder, TopicTemplate& out) {
  return decode_parsed(decoder, out, config::Code::format_template);
}

config::TypeInfo describe(config::Tag<TopicTemplate>) {
  return {.kind = config::TypeInfo::Kind::text, .name = "topic"};
}

std::string print(config::Tag<TopicTemplate>, const TopicTemplate& value) {
  return value.empty() ? std::string() : config::yaml_scalar(value.spelling());
}

bool decode(config::Decoder& decoder, JsonScalar& out) {
  const config::Node& node = decoder.node();
  if (node.is_null()) {
    out.json = "null";
    return true;
  }
  if (!node.is_scalar()) return decoder.expected("a text, a number, true, false or null");
  const std::string& text = node.text;
  const bool literal = text == "true" || text == "false" || text == "null" || is_json_number(text);
  out.json = !node.quoted && literal ? text : json_string(text);
  return true;
}

config::TypeInfo describe(config::Tag<JsonScalar>) {
  return {.kind = config::TypeInfo::Kind::any, .name = "values"};
}

std::string print(config::Tag<JsonScalar>, const JsonScalar& scalar) {
  return scalar.json;
}

}  // namespace logpipe
