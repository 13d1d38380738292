#include "event/field_edit.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "event/edit_list.hpp"
#include "event/json.hpp"
#include "event/json_walk.hpp"

namespace logpipe {

using json::TextMember;
using overlay::Change;
using overlay::KeyRef;

FieldTarget::FieldTarget(FieldPath path) : path_(std::move(path)) {
  for (const FieldPath::Step& step : path_.steps()) {
    names_.push_back(step.index < 0 ? json_string(step.key) : std::string());
    overhead_ += names_.back().size() + 4;
  }
  if (path_.steps().empty()) return;
  top_ = FieldPath::of({path_.steps().front()}, path_.steps().front().key);
}

namespace {

/// Writes a value anew around a change; `out` has room.
class Rewriter {
 public:
  Rewriter(char* place, const FieldTarget& target) noexcept : begin_(place), out_(place), target_(target) {}

  std::size_t size() const noexcept { return static_cast<std::size_t>(out_ - begin_); }

  /// The value with `json` at step `i` and the steps behind it; an empty or null value is made. False: it cannot be.
  bool set(std::string_view value, std::size_t i, std::string_view json) {
    if (i == steps().size()) {
      add(json);
      return true;
    }
    const FieldPath::Step& step = steps()[i];
    const bool by_index = step.index >= 0;
    const bool make = value.empty() || value == "null";
    if (!make && value.front() != (by_index ? '[' : '{')) return false;
    std::string_view rest = make ? std::string_view() : value.substr(1, value.size() - 2);
    add(by_index ? '[' : '{');
    const char* const first = out_;
    bool found = false;
    std::int64_t index = 0;
    for (TextMember member; json::next_member(rest, member, !by_index); ++index) {
      const bool match = by_index ? index == step.index : json::key_equals(member.key, step.key);
      if (match && found) continue;
      separate(first);
      if (!by_index) add_key(member);
      if (!match) {
        add(member.value);
        continue;
      }
      found = true;
      if (!set(member.value, i + 1, json)) return false;
    }
    if (!ended(rest)) return false;
    if (!found) {
      if (by_index && index != step.index) return false;
      separate(first);
      if (!by_index) {
        add(target_.json_name(i));
        add(':');
      }
      if (!set({}, i + 1, json)) return false;
    }
    add(by_index ? ']' : '}');
    return true;
  }

  /// The value without what is at step `i` and the steps behind it; whether there was something.
  bool remove(std::string_view value, std::size_t i) {
    const FieldPath::Step& step = steps()[i];
    const bool by_index = step.index >= 0;
    if (value.empty() || value.front() != (by_index ? '[' : '{')) {
      add(value);
      return false;
    }
    char* const before = out_;
    std::string_view rest = value.substr(1, value.size() - 2);
    add(by_index ? '[' : '{');
    const char* const first = out_;
    bool removed = false;
    std::int64_t index = 0;
    for (TextMember member; json::next_member(rest, member, !by_index); ++index) {
      const bool match = by_index ? index == step.index : json::key_equals(member.key, step.key);
      if (match && i + 1 == steps().size()) {
        removed = true;
        continue;
      }
      separate(first);
      if (!by_index) add_key(member);
      if (match) {
        removed = remove(member.value, i + 1) || removed;
      } else {
        add(member.value);
      }
    }
    add(by_index ? ']' : '}');
    if (ended(rest)) return removed;
    out_ = before;
    add(value);
    return false;
  }

  /// What is selected of the value; whether that is anything.
  bool keep(std::string_view value, const std::vector<FieldSelection::Node>& nodes) {
    if (value.empty() || (value.front() != '{' && value.front() != '[')) return false;
    const bool keys = value.front() == '{';
    std::string_view rest = value.substr(1, value.size() - 2);
    add(keys ? '{' : '[');
    const char* const first = out_;
    bool kept = false;
    std::int64_t index = 0;
    for (TextMember member; json::next_member(rest, member, keys); ++index) {
      const auto node = std::find_if(nodes.begin(), nodes.end(), [&](const FieldSelection::Node& candidate) {
        if (keys) return candidate.step.index < 0 && json::key_equals(member.key, candidate.step.key);
        return candidate.step.index == index;
      });
      if (node == nodes.end()) continue;
      char* const before = out_;
      separate(first);
      if (keys) add_key(member);
      if (node->whole) {
        add(member.value);
      } else if (!keep(member.value, node->children)) {
        out_ = before;
        continue;
      }
      kept = true;
    }
    add(keys ? '}' : ']');
    return kept && ended(rest);
  }

 private:
  const std::vector<FieldPath::Step>& steps() const noexcept { return target_.path().steps(); }
  void add(char c) noexcept { *out_++ = c; }
  void add(std::string_view text) noexcept {
    if (!text.empty()) std::memcpy(out_, text.data(), text.size());
    out_ += text.size();
  }
  void add_key(const TextMember& member) noexcept {
    add({member.key.data() - 1, member.key.size() + 2});
    add(':');
  }
  /// All of a container was read: without `strict` a parser lets scalars pass that are none.
  static bool ended(std::string_view rest) noexcept {
    return std::all_of(rest.begin(), rest.end(), [](char c) { return json::is_blank(c); });
  }
  void separate(const char* first) noexcept {
    if (out_ != first) add(',');
  }

  char* const begin_;
  char* out_;
  const FieldTarget& target_;
};

bool is_container(const FieldValue& value) noexcept {
  return value.type == ValueType::object || value.type == ValueType::array;
}

/// Between two names of the top level: the member stays where it stands.
bool rename_top(Batch& batch, Event& event, const FieldTarget& from, const FieldTarget& to) {
  if (!find(batch, event, from.top())) return false;
  const FieldPath::Step& old_step = from.path().steps().front();
  const FieldPath::Step& new_step = to.path().steps().front();
  if (old_step.key == new_step.key) return true;
  bool found = false;
  overlay::edit_members(batch, event, [&](const KeyRef& key, const FieldValue& value) -> Change {
    if (key.is(new_step.key, new_step.probe)) return {Change::Kind::drop, {}};
    if (!key.is(old_step.key, old_step.probe)) return {};
    if (found) return {Change::Kind::drop, {}};
    found = true;
    return {Change::Kind::member,
            overlay::member_text(to.json_name(0), overlay::json_of(value, batch.arena), batch.arena)};
  });
  return true;
}

}  // namespace

bool set(Batch& batch, Event& event, const FieldTarget& target, std::string_view json_value) {
  const auto& steps = target.path().steps();
  if (steps.empty()) return false;
  const FieldPath::Step& top = steps.front();
  if (steps.size() == 1) {
    overlay::set_member(batch, event, top.key, target.json_name(0), top.probe, json_value);
    return true;
  }
  const std::optional<FieldValue> now = find(batch, event, target.top());
  std::string_view text;
  if (now && now->type != ValueType::null) {
    if (!is_container(*now)) return false;
    text = now->text;
  }
  const std::size_t room = text.size() + json_value.size() + target.overhead();
  char* const place = batch.arena.allocate(room);
  Rewriter rewriter(place, target);
  const bool good = rewriter.set(text, 1, json_value);
  batch.arena.shrink_last(room - (good ? rewriter.size() : 0));
  if (!good) return false;
  overlay::set_member(batch, event, top.key, target.json_name(0), top.probe, {place, rewriter.size()});
  return true;
}

bool remove(Batch& batch, Event& event, const FieldTarget& target) {
  const auto& steps = target.path().steps();
  if (steps.empty()) return false;
  const FieldPath::Step& top = steps.front();
  bool removed = false;
  overlay::edit_members(batch, event, [&](const KeyRef& key, const FieldValue& value) -> Change {
    if (!key.is(top.key, top.probe)) return {};
    if (steps.size() == 1) {
      removed = true;
      return {Change::Kind::drop, {}};
    }
    if (!is_container(value)) return {};
    char* const place = batch.arena.allocate(value.text.size());
    Rewriter rewriter(place, target);
    const bool here = rewriter.remove(value.text, 1);
    batch.arena.shrink_last(value.text.size() - (here ? rewriter.size() : 0));
    if (!here) return {};
    removed = true;
    return {Change::Kind::value, {place, rewriter.size()}};
  });
  return removed;
}

bool move(Batch& batch, Event& event, const FieldTarget& from, const FieldTarget& to) {
  if (from.path().steps().empty() || to.path().steps().empty()) return false;
  if (!from.nested() && !to.nested()) return rename_top(batch, event, from, to);
  const std::optional<FieldValue> value = find(batch, event, from.path());
  if (!value) return false;
  const std::string_view text = overlay::json_of(*value, batch.arena);
  const std::uint32_t before = event.edits;
  overlay::copy_list(batch, event);
  (void)remove(batch, event, from);
  if (set(batch, event, to, text)) return true;
  event.edits = before;
  return false;
}

void FieldSelection::add(const FieldPath& path) {
  std::vector<Node>* level = &nodes_;
  for (std::size_t i = 0; i < path.steps().size(); ++i) {
    const FieldPath::Step& step = path.steps()[i];
    auto node = std::find_if(level->begin(), level->end(), [&](const Node& candidate) {
      return candidate.step.index == step.index && candidate.step.key == step.key;
    });
    if (node == level->end()) node = level->insert(level->end(), Node{step, false, {}});
    if (i + 1 == path.steps().size()) node->whole = true;
    level = &node->children;
  }
}

bool keep_only(Batch& batch, Event& event, const FieldSelection& selection) {
  const FieldTarget none;
  bool changed = false;
  overlay::edit_members(batch, event, [&](const KeyRef& key, const FieldValue& value) -> Change {
    for (const FieldSelection::Node& node : selection.nodes()) {
      if (!key.is(node.step.key, node.step.probe)) continue;
      if (node.whole) return {};
      changed = true;
      if (!is_container(value)) break;
      char* const place = batch.arena.allocate(value.text.size());
      Rewriter rewriter(place, none);
      const bool kept = rewriter.keep(value.text, node.children);
      batch.arena.shrink_last(value.text.size() - (kept ? rewriter.size() : 0));
      if (!kept) break;
      return {Change::Kind::value, {place, rewriter.size()}};
    }
    changed = true;
    return {Change::Kind::drop, {}};
  });
  return changed;
}

std::string_view json_text(const FieldValue& value, Arena& arena) {
  return overlay::json_of(value, arena);
}

}  // namespace logpipe
