#include "event/fields.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "event/edit_list.hpp"
#include "event/json_walk.hpp"
#include "event/plain_fields.hpp"

namespace logpipe {

using json::Tape;
using json::TextMember;
using overlay::EditCursor;
using overlay::PlainFields;

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
    if (path.steps_.size() == kStepsMax) return fail("a path has at most " + std::to_string(kStepsMax) + " steps");
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

FieldPath FieldPath::of(std::vector<Step> steps, std::string spelling) {
  FieldPath path;
  path.steps_ = std::move(steps);
  for (Step& step : path.steps_) step.probe = KeyProbe(step.key);
  path.spelling_ = std::move(spelling);
  return path;
}

namespace {

using Steps = const std::vector<FieldPath::Step>&;

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

/// The same as find_json where there are edits to look at.
std::optional<FieldValue> find_edited(const Batch& batch, const Event& event, Steps steps) {
  const Tape tape(batch, event);
  EditCursor cursor(batch, event);
  std::optional<FieldValue> result;
  bool found = false;
  tape.members(0, [&](std::uint32_t key, std::uint32_t value, std::uint32_t behind) {
    const Edit* edit = cursor.at(tape.entries[key]);
    if (edit != nullptr && edit->kind == Edit::Kind::remove) return true;
    if (edit != nullptr) {
      const TextMember now = overlay::member_of(*edit);
      found = json::key_equals(now.key, steps[0].key);
      if (found) result = descend(json::classify(now.value), steps, 1);
      return !found;
    }
    found = tape.key_equals(key, steps[0].key, steps[0].probe);
    if (!found) return true;
    edit = cursor.at(tape.entries[value]);
    result = edit != nullptr ? descend(json::classify(edit->text), steps, 1) : descend(tape, value, behind, steps);
    return false;
  });
  return found ? result : find_appended(batch, event, steps);
}

std::optional<FieldValue> find_json(const Batch& batch, const Event& event, Steps steps) {
  if (event.edits != kNoEdit) return find_edited(batch, event, steps);
  const Tape tape(batch, event);
  std::uint32_t found = 0;
  std::uint32_t next = 0;
  tape.members(0, [&](std::uint32_t key, std::uint32_t value, std::uint32_t behind) {
    if (!tape.key_equals(key, steps[0].key, steps[0].probe)) return true;
    found = value;
    next = behind;
    return false;
  });
  if (found == 0) return std::nullopt;
  return descend(tape, found, next, steps);
}

std::optional<FieldValue> find_plain(const Batch& batch, const Event& event, Steps steps) {
  const PlainFields fields(batch, event);
  EditCursor cursor(batch, event);
  for (std::uint32_t i = 0; i < fields.size(); ++i) {
    const Edit* const edit = cursor.at(i);
    if (edit != nullptr && edit->kind == Edit::Kind::remove) continue;
    if (edit != nullptr && edit->kind == Edit::Kind::member) {
      const TextMember now = overlay::member_of(*edit);
      if (json::key_equals(now.key, steps[0].key)) return descend(json::classify(now.value), steps, 1);
      continue;
    }
    if (fields.key(i) != steps[0].key) continue;
    return descend(edit != nullptr ? json::classify(edit->text) : fields.value(i), steps, 1);
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
  EditCursor cursor(batch, event);
  const auto visit_renamed = [&](const Edit& edit) {
    const TextMember now = overlay::member_of(edit);
    visit(context, json_unescape(now.key, scratch), json::classify(now.value));
  };
  if (event.form == Form::json) {
    const Tape tape(batch, event);
    tape.members(0, [&](std::uint32_t key, std::uint32_t value, std::uint32_t behind) {
      const Edit* edit = cursor.at(tape.entries[key]);
      if (edit != nullptr) {
        if (edit->kind == Edit::Kind::member) visit_renamed(*edit);
        return true;
      }
      edit = cursor.at(tape.entries[value]);
      visit(context, event.escaped ? json_unescape(tape.key(key), scratch) : tape.key(key),
            edit != nullptr ? json::classify(edit->text) : json::classify(tape.slice(value, behind), tape.escaped));
      return true;
    });
  } else {
    const PlainFields fields(batch, event);
    for (std::uint32_t i = 0; i < fields.size(); ++i) {
      const Edit* const edit = cursor.at(i);
      if (edit == nullptr) {
        visit(context, fields.key(i), fields.value(i));
      } else if (edit->kind == Edit::Kind::replace) {
        visit(context, fields.key(i), json::classify(edit->text));
      } else if (edit->kind == Edit::Kind::member) {
        visit_renamed(*edit);
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
