#include "config/document.hpp"

#include <string_view>
#include <vector>

#include "config/text.hpp"

namespace logpipe::config {
namespace {

using Kind = TypeInfo::Kind;

std::string type_words(const Option* option, const TypeInfo& type) {
  if (!type.name.empty()) return type.name;
  switch (type.kind) {
    case Kind::any:
      return "any";
    case Kind::boolean:
      return "`true` \\| `false`";
    case Kind::integer:
      return "integer";
    case Kind::number:
      return "number";
    case Kind::text:
      return "text";
    case Kind::path:
      return "path";
    case Kind::size:
      return "size";
    case Kind::duration:
      return "duration";
    case Kind::rate:
      return "rate";
    case Kind::object:
      return "map";
    case Kind::list: {
      const std::string item = type_words(nullptr, type.item.front());
      return option != nullptr && option->or_single ? item + ", or a list" : "list of " + item;
    }
    case Kind::map:
      return "map of " + type_words(nullptr, type.item.front());
    case Kind::choice:
      break;
  }
  std::string text;
  for (const TypeInfo::Choice& choice : type.choices)
    text += (text.empty() ? "`" : " \\| `") + std::string(choice.name) + "`";
  return text;
}

/// Text inside a cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|')
      out += "\\|";
    else
      out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string meaning(const Option& option) {
  std::string text = option.doc;
  if (option.has_range) text += " From " + option.min.text + " to " + option.max.text + ".";
  for (const Option::Check& check : option.checks) text += " Must be " + check.expected + ".";
  const TypeInfo& type = option.type.kind == Kind::list ? option.type.item.front() : option.type;
  std::string choices;
  for (const TypeInfo::Choice& choice : type.choices) {
    if (choice.doc.empty()) continue;
    choices +=
        (choices.empty() ? " " : "; ") + std::string("`") + std::string(choice.name) + "`: " + std::string(choice.doc);
  }
  return cell(text + (choices.empty() ? "" : choices + "."));
}

constexpr int kDeepest = 6;  // schemas may contain themselves

/// `object` holds the defaults; nullptr stands for the schema's own.
void rows(const SchemaBase& schema, const void* object, const std::string& prefix, int depth, std::string& out) {
  if (object == nullptr) object = schema.defaults();
  for (const Option& option : schema.options()) {
    const void* value = option.member(object);
    const std::string printed = option.print(value);
    std::string shown = option.required ? "required" : printed.empty() ? "" : "`" + cell(printed) + "`";
    const TypeInfo* inner = &option.type;
    std::string name = prefix + option.name;
    std::string below = name;
    while (inner->kind == Kind::list || inner->kind == Kind::map) {
      below += inner->kind == Kind::list ? "[]" : ".*";
      inner = &inner->item.front();
    }
    const bool nested = inner->kind == Kind::object && depth < kDeepest;
    if (nested && inner == &option.type && !option.required) shown.clear();  // its rows say it
    out += "| `" + name + "` | " + type_words(&option, option.type) + " | " + shown + " | " + meaning(option) + " |\n";
    if (nested) rows(inner->object(), option.object_inside(value), below + ".", depth + 1, out);
  }
}

std::string schema_of_type(const TypeInfo& type, int depth);

std::string object_members(std::span<const SchemaBase* const> schemas, int depth) {
  std::string properties;
  std::string required;
  for (const SchemaBase* schema : schemas) {
    for (const Option& option : schema->options()) {
      std::string value = schema_of_type(option.type, depth + 1);
      if (option.has_range && (option.type.kind == Kind::integer || option.type.kind == Kind::number)) {
        const std::string bounds = "\"minimum\":" + option.min.text + ",\"maximum\":" + option.max.text;
        const std::string_view plain =
            option.type.kind == Kind::integer ? R"({"type":"integer"})" : R"({"type":"number"})";
        const std::size_t at = value.find(plain);
        if (at != std::string::npos) value.insert(at + plain.size() - 1, "," + bounds);
      }
      if (option.or_single)
        value = R"({"anyOf":[)" + value + "," + schema_of_type(option.type.item.front(), depth + 1) + "]}";
      // An annotation stands beside the type, so it goes in front.
      std::string annotations = "\"description\":" + json_string(option.doc);
      const std::string printed = option.print_from(schema->defaults());
      if (!option.required && !printed.empty() && option.type.kind != Kind::object && !option.type.secret) {
        const bool literal =
            option.type.kind == Kind::boolean || option.type.kind == Kind::integer || option.type.kind == Kind::number;
        const bool composed =
            option.type.kind == Kind::list || option.type.kind == Kind::map || option.type.kind == Kind::any;
        if (!composed) annotations += ",\"default\":" + (literal ? printed : json_string(printed));
      }
      properties += (properties.empty() ? "" : ",") + json_string(option.name) + ":{" + annotations +
                    (value.size() > 2 ? "," + value.substr(1) : "}");
      if (option.required) required += (required.empty() ? "" : ",") + json_string(option.name);
    }
  }
  std::string text = R"({"type":"object","properties":{)" + properties + "}";
  if (!required.empty()) text += ",\"required\":[" + required + "]";
  return text + ",\"additionalProperties\":false}";
}

/// A typed value, or a text that is substituted later.
std::string or_interpolated(const std::string& schema) {
  return R"({"anyOf":[)" + schema + R"(,{"type":"string","pattern":"\\$\\{"}]})";
}

std::string schema_of_type(const TypeInfo& type, int depth) {
  if (depth > kDeepest) return "{}";
  switch (type.kind) {
    case Kind::any:
      return "{}";
    case Kind::boolean:
      return or_interpolated(R"({"type":"boolean"})");
    case Kind::integer:
      return or_interpolated(R"({"type":"integer"})");
    case Kind::number:
      return or_interpolated(R"({"type":"number"})");
    // A plain 5 or true is a text too where a text is wanted.
    case Kind::text:
      return R"({"type":["string","number","boolean"]})";
    case Kind::path:
      return R"({"type":"string","minLength":1})";
    case Kind::size:
      return or_interpolated(
          R"({"anyOf":[{"const":0},{"type":"string","pattern":"^([0-9]+(\\.[0-9]{1,6})?([KMGT]iB|[kMGT]?B)|0)$"}]})");
    case Kind::duration:
      return or_interpolated(
          R"({"anyOf":[{"const":0},{"type":"string","pattern":"^(([0-9]+(\\.[0-9]{1,6})?(ns|us|ms|s|m|h|d))+|0)$"}]})");
    case Kind::rate:
      return or_interpolated(R"({"type":"string","pattern":"^[0-9]+/[smh]$"})");
    case Kind::list:
      return R"({"type":"array","items":)" + schema_of_type(type.item.front(), depth + 1) + "}";
    case Kind::map:
      return R"({"type":["object","null"],"additionalProperties":)" + schema_of_type(type.item.front(), depth + 1) +
             "}";
    case Kind::object: {
      const SchemaBase& schema = type.object();
      const SchemaBase* const one[] = {&schema};
      std::string text = object_members(one, depth);
      if (const Option* shorthand = schema.shorthand()) {
        text = R"({"anyOf":[)" + schema_of_type(shorthand->type, depth + 1) + "," + text + "]}";
      }
      return text;
    }
    case Kind::choice:
      break;
  }
  std::string names;
  for (const TypeInfo::Choice& choice : type.choices) names += (names.empty() ? "" : ",") + json_string(choice.name);
  return or_interpolated("{\"enum\":[" + names + "]}");
}

}  // namespace

std::string document(const SchemaBase& schema) {
  std::string out;
  if (!schema.description().empty()) out += schema.description() + "\n\n";
  out += "| option | type | default | meaning |\n| --- | --- | --- | --- |\n";
  rows(schema, nullptr, {}, 0, out);
  return out;
}

std::string json_schema(std::span<const SchemaBase* const> schemas) {
  return object_members(schemas, 0);
}

std::string json_schema(const SchemaBase& schema) {
  const SchemaBase* const one[] = {&schema};
  return object_members(one, 0);
}

std::string defaults_yaml(const SchemaBase& schema) {
  std::string out;
  for (const Option& option : schema.options()) {
    const std::string value = option.print_from(schema.defaults());
    if (option.required) {
      out += "# " + option.name + ": (required)\n";
    } else if (!value.empty()) {
      out += option.name + ": " + value + "\n";
    }
  }
  return out;
}

}  // namespace logpipe::config
