#include "event/fields.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "event/json_walk.hpp"

namespace logpipe {

using json::Tape;
using json::TextMember;

KeyProbe::KeyProbe(std::string_view name) noexcept {
  for (const char c : name) {
    // Such a key is always written with a backslash and found by unescaping; the probe never matches.
    if (static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\') return;
  }
  char bytes[8]{};
  char masks[8]{};
  const std::size_t taken = std::min(name.size(), sizeof(bytes));
  std::memcpy(bytes, name.data(), taken);
  std::memset(masks, 0xFF, taken);
  if (taken < sizeof(bytes)) {
    bytes[taken] = '"';
    masks[taken] = static_cast<char>(0xFF);
  }
  std::memcpy(&word, bytes, sizeof(word));
  std::memcpy(&mask, masks, sizeof(mask));
}

std::optional<FieldPath> FieldPath::parse(std::string_view text, std::string* why) {
  const auto fail = [&](std::string message) {
    if (why != nullptr) *why = std::move(message);
    return std::nullopt;
  };
  FieldPath path;
  path.spelling_ = text;
  if (text.empty()) return fail("a field name must not be empty");
  if (text.front() != '.') {
    path.steps_.push_back({std::string(text), -1, KeyProbe(text)});
    return path;
  }
  const auto quoted = [&] { return "\"" + std::string(text) + "\""; };
  std::size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '.') {
      const std::size_t begin = ++at;
      while (at < text.size() && text[at] != '.' && text[at] != '[') ++at;
      const std::string_view key = text.substr(begin, at - begin);
      if (key.empty())
        return fail("expected a name behind the dot at character " + std::to_string(begin) + " of " + quoted());
      path.steps_.push_back({std::string(key), -1, KeyProbe(key)});
      continue;
    }
    if (text[at] != '[') return fail("expected '.' or '[' at character " + std::to_string(at + 1) + " of " + quoted());
    const std::size_t begin = ++at;
    std::int64_t index = 0;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9' && at - begin < 9)
      index = index * 10 + (text[at++] - '0');
    if (at == begin || at == text.size() || text[at] != ']') {
      return fail("expected an index and ']' at character " + std::to_string(begin + 1) + " of " + quoted());
    }
    ++at;
    path.steps_.push_back({std::string(), index, KeyProbe()});
  }
  return path;
}

namespace {

using Steps = const std::vector<FieldPath::Step>&;

constexpr std::string_view kMessage = "message";

/// Descends from a value without a tape; `step` is the next step to take.
std::optional<FieldValue> descend(FieldValue value, Steps steps, std::size_t step) {
  for (; step < steps.size(); ++step) {
    const bool by_index = steps[step].index >= 0;
    if (value.type != (by_index ? ValueType::array : ValueType::object)) return std::nullopt;
    std::string_view rest = value.text.substr(1, value.text.size() - 2);
    TextMember member;
    bool found = false;
    for (std::int64_t i = 0; !found && json::next_member(rest, member, !by_index); ++i) {
      found = by_index ? i == steps[step].index : json::key_equals(member.key, steps[step].key);
    }
    if (!found) return std::nullopt;
    value = json::classify(member.value);
  }
  return value;
}

/// Descends along the tape from the value at entry `i`, which ends before entry `next`.
std::optional<FieldValue> descend(const Tape& tape, std::uint32_t i, std::uint32_t next, Steps steps) {
  for (std::size_t step = 1; step < steps.size(); ++step) {
    const bool by_index = steps[step].index >= 0;
    if (tape.at(i) != (by_index ? '[' : '{')) return std::nullopt;
    bool found = false;
    if (by_index) {
      std::int64_t left = steps[step].index;
      std::uint32_t element = i + 1;
      while (tape.at(element) != ']') {
        const std::uint32_t behind = tape.skip(element);
        if (left-- == 0) {
          i = element;
          next = behind;
          found = true;
          break;
        }
        element = behind + (tape.at(behind) == ',' ? 1 : 0);
      }
    } else {
      tape.members(i, [&](std::uint32_t key, std::uint32_t value, std::uint32_t behind) {
        found = tape.key_equals(key, steps[step].key, steps[step].probe);
        if (found) {
          i = value;
          next = behind;
        }
        return !found;
      });
    }
    if (!found) return std::nullopt;
  }
  return json::classify(tape.slice(i, next), tape.escaped);
}

/// The edit of the given target, if there is one.
const Edit* edit_at(const Batch& batch, const Event& event, std::uint32_t target) noexcept {
  for (std::uint32_t e = event.edits; e != kNoEdit; e = batch.edits[e].next) {
    const Edit& edit = batch.edits[e];
    if (edit.kind != Edit::Kind::append && edit.target == target) return &edit;
  }
  return nullptr;
}

std::optional<FieldValue> find_appended(const Batch& batch, const Event& event, Steps steps) {
  std::optional<FieldValue> result;
  for (std::uint32_t e = event.edits; e != kNoEdit; e = batch.edits[e].next) {
    if (batch.edits[e].kind != Edit::Kind::append) continue;
    std::string_view rest = batch.edits[e].text;
    TextMember member;
    while (json::next_member(rest, member)) {
      if (json::key_equals(member.key, steps[0].key)) result = json::classify(member.value);
    }
  }
  return result ? descend(*result, steps, 1) : std::nullopt;
}

std::optional<FieldValue> find_json(const Batch& batch, const Event& event, Steps steps) {
  const Tape tape(batch, event);
  std::uint32_t found = 0;
  std::uint32_t next = 0;
  const Edit* replaced = nullptr;
  tape.members(0, [&](std::uint32_t key, std::uint32_t value, std::uint32_t behind) {
    if (!tape.key_equals(key, steps[0].key, steps[0].probe)) return true;
    if (event.edits != kNoEdit) {
      const Edit* removed = edit_at(batch, event, tape.entries[key]);
      if (removed != nullptr && removed->kind == Edit::Kind::remove) return true;
      replaced = edit_at(batch, event, tape.entries[value]);
    }
    found = value;
    next = behind;
    return false;
  });
  if (found == 0) return find_appended(batch, event, steps);
  if (replaced != nullptr) return descend(json::classify(replaced->text), steps, 1);
  return descend(tape, found, next, steps);
}

FieldValue value_of(const FieldRef& field) noexcept {
  if (!field.quoted && json::is_literal(field.value)) return json::classify(field.value);
  return {ValueType::string, field.value};
}

/// The fields of an event that is not JSON, by their index: key and value.
struct PlainFields {
  PlainFields(const Batch& batch, const Event& event) noexcept : batch_(batch), event_(event) {}
  std::uint32_t size() const noexcept { return event_.form == Form::fields ? event_.index_count : 1; }
  std::string_view key(std::uint32_t i) const noexcept {
    return event_.form == Form::fields ? batch_.fields[event_.index_begin + i].key : kMessage;
  }
  FieldValue value(std::uint32_t i) const noexcept {
    if (event_.form == Form::fields) return value_of(batch_.fields[event_.index_begin + i]);
    return {ValueType::string, batch_.text(event_)};
  }

 private:
  const Batch& batch_;
  const Event& event_;
};

std::optional<FieldValue> find_plain(const Batch& batch, const Event& event, Steps steps) {
  const PlainFields fields(batch, event);
  for (std::uint32_t i = 0; i < fields.size(); ++i) {
    if (fields.key(i) != steps[0].key) continue;
    const Edit* edit = edit_at(batch, event, i);
    if (edit == nullptr) return descend(fields.value(i), steps, 1);
    if (edit->kind == Edit::Kind::replace) return descend(json::classify(edit->text), steps, 1);
  }
  return find_appended(batch, event, steps);
}

}  // namespace

std::optional<FieldValue> find(const Batch& batch, const Event& event, const FieldPath& path) {
  if (path.steps().empty()) return std::nullopt;
  return event.form == Form::json ? find_json(batch, event, path.steps()) : find_plain(batch, event, path.steps());
}

std::string_view value_text(const FieldValue& value, Arena& arena) {
  return value.escaped ? json_unescape(value.text, arena) : value.text;
}

void for_each_field(const Batch& batch, const Event& event, Arena& scratch, FieldVisitor visit, void* context) {
  if (event.form == Form::json) {
    const Tape tape(batch, event);
    tape.members(0, [&](std::uint32_t key, std::uint32_t value, std::uint32_t behind) {
      const std::string_view name = event.escaped ? json_unescape(tape.key(key), scratch) : tape.key(key);
      const Edit* edit = nullptr;
      if (event.edits != kNoEdit) {
        edit = edit_at(batch, event, tape.entries[key]);
        if (edit != nullptr && edit->kind == Edit::Kind::remove) return true;
        edit = edit_at(batch, event, tape.entries[value]);
      }
      visit(context, name,
            edit != nullptr ? json::classify(edit->text) : json::classify(tape.slice(value, behind), tape.escaped));
      return true;
    });
  } else {
    const PlainFields fields(batch, event);
    for (std::uint32_t i = 0; i < fields.size(); ++i) {
      const Edit* edit = edit_at(batch, event, i);
      if (edit == nullptr) {
        visit(context, fields.key(i), fields.value(i));
      } else if (edit->kind == Edit::Kind::replace) {
        visit(context, fields.key(i), json::classify(edit->text));
      }
    }
  }
  for (std::uint32_t e = event.edits; e != kNoEdit; e = batch.edits[e].next) {
    if (batch.edits[e].kind != Edit::Kind::append) continue;
    std::string_view rest = batch.edits[e].text;
    TextMember member;
    while (json::next_member(rest, member)) {
      visit(context, json_unescape(member.key, scratch), json::classify(member.value));
    }
  }
}

}  // namespace logpipe
