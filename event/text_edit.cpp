#include "event/text_edit.hpp"

#include <string>

#include "event/edit_list.hpp"
#include "event/json.hpp"
#include "event/json_walk.hpp"

namespace logpipe {
namespace {

using overlay::Change;
using overlay::KeyRef;

/// A value with the changes made, as JSON.
class TextChanger {
 public:
  TextChanger(Arena& arena, TextChange change, void* context) noexcept
      : arena_(arena), change_(change), context_(context) {}

  /// nullopt: nothing had to be changed.
  std::optional<std::string_view> changed(const FieldValue& value) const {
    if (value.type == ValueType::object || value.type == ValueType::array) return inside(value.text);
    if (value.type != ValueType::string && value.type != ValueType::number) return std::nullopt;
    const auto text = change_(context_, value_text(value, arena_));
    if (!text) return std::nullopt;
    return json_string(*text, arena_);
  }

 private:
  std::optional<std::string_view> inside(std::string_view json) const {
    thread_local std::string made;  // stays warm from event to event
    made.clear();
    std::size_t copied = 0;
    for (std::size_t at = 0; at < json.size();) {
      const std::size_t begin = at;
      const std::size_t end = token_end(json, at);
      at = end;
      const char first = json[begin];
      if (end == begin + 1 && is_structure(first)) continue;
      if (first == '"' && is_key(json, end)) continue;
      const std::optional<std::string_view> value = changed(json::classify(json.substr(begin, end - begin)));
      if (!value) continue;
      made.append(json.substr(copied, begin - copied)).append(*value);
      copied = end;
    }
    if (copied == 0) return std::nullopt;
    made.append(json.substr(copied));
    return arena_.copy(made);
  }

  static bool is_structure(char c) noexcept {
    return json::is_blank(c) || c == '{' || c == '}' || c == '[' || c == ']' || c == ',' || c == ':';
  }
  /// The end of what begins at `at`: a string, a character of structure, or any other word.
  static std::size_t token_end(std::string_view json, std::size_t at) noexcept {
    if (json[at] == '"') {
      for (++at; at < json.size() && json[at] != '"'; ++at) {
        if (json[at] == '\\') ++at;
      }
      return at < json.size() ? at + 1 : json.size();
    }
    if (is_structure(json[at])) return at + 1;
    while (at < json.size() && !is_structure(json[at]) && json[at] != '"') ++at;
    return at;
  }
  static bool is_key(std::string_view json, std::size_t end) noexcept {
    while (end < json.size() && json::is_blank(json[end])) ++end;
    return end < json.size() && json[end] == ':';
  }

  Arena& arena_;
  const TextChange change_;
  void* const context_;
};

}  // namespace

bool change_texts(Batch& batch, Event& event, TextChange change, void* context) {
  const TextChanger changer(batch.arena, change, context);
  bool any = false;
  overlay::edit_members(batch, event, [&](const KeyRef&, const FieldValue& value) -> Change {
    const std::optional<std::string_view> made = changer.changed(value);
    if (!made) return {};
    any = true;
    return {Change::Kind::value, *made};
  });
  return any;
}

bool change_texts(Batch& batch, Event& event, const FieldTarget& field, TextChange change, void* context) {
  if (field.path().steps().empty()) return false;
  const TextChanger changer(batch.arena, change, context);
  if (field.nested()) {
    const std::optional<FieldValue> value = find(batch, event, field.path());
    const std::optional<std::string_view> made = value ? changer.changed(*value) : std::nullopt;
    return made && set(batch, event, field, *made);
  }
  const FieldPath::Step& top = field.path().steps().front();
  bool any = false;
  overlay::edit_members(batch, event, [&](const KeyRef& key, const FieldValue& value) -> Change {
    if (!key.is(top.key, top.probe)) return {};
    const std::optional<std::string_view> made = changer.changed(value);
    if (!made) return {};
    any = true;
    return {Change::Kind::value, *made};
  });
  return any;
}

}  // namespace logpipe
