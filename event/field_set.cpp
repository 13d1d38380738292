#include <algorithm>
#include <cstring>
#include <utility>

#include "event/edit_list.hpp"
#include "event/fields.hpp"
#include "event/json.hpp"
#include "event/json_walk.hpp"
#include "event/plain_fields.hpp"
#include "event/scan_lines.hpp"

namespace logpipe {

void FieldSet::add(std::string name, std::string json_value) {
  const auto same = std::find_if(members_.begin(), members_.end(), [&](const Member& m) { return m.name == name; });
  if (same != members_.end()) {
    same->json_value = std::move(json_value);
  } else {
    const KeyProbe probe(name);
    std::string json_name = json_string(name);
    members_.push_back({std::move(name), std::move(json_name), std::move(json_value), probe});
  }
  fragment_.clear();
  for (const Member& member : members_) {
    if (!fragment_.empty()) fragment_ += ',';
    fragment_ += member.json_name + ':' + member.json_value;
  }
}

namespace {

/// How many members one walk looks for; more are set in several walks.
constexpr std::size_t kWalkMax = 64;

/// A FieldSet::Member for once.
struct Wanted {
  std::string_view name;
  std::string_view json_name;
  std::string_view json_value;
  KeyProbe probe;
};

/// The members for which `wanted(index)` holds, as text in the arena.
template <class Member, class Which>
std::string_view fragment_of(const Member* members, std::size_t count, Arena& arena, Which&& wanted) {
  std::size_t size = 0;
  for (std::size_t j = 0; j < count; ++j) {
    if (wanted(j)) size += members[j].json_name.size() + members[j].json_value.size() + 2;
  }
  char* const begin = arena.allocate(size);
  char* out = begin;
  const auto add = [&](std::string_view text) {
    std::memcpy(out, text.data(), text.size());
    out += text.size();
  };
  for (std::size_t j = 0; j < count; ++j) {
    if (!wanted(j)) continue;
    if (out != begin) *out++ = ',';
    add(members[j].json_name);
    *out++ = ':';
    add(members[j].json_value);
  }
  const auto length = static_cast<std::size_t>(out - begin);
  arena.shrink_last(size - length);
  return {begin, length};
}

template <class Member>
class Setter {
 public:
  Setter(Batch& batch, Event& event, const Member* wanted, std::size_t count)
      : batch_(batch), event_(event), wanted_(wanted), count_(count) {}

  /// `fragment`: all wanted members as text, or empty.
  void run(std::string_view fragment) {
    replace();
    const std::uint64_t all = count_ == kWalkMax ? ~std::uint64_t{0} : (std::uint64_t{1} << count_) - 1;
    if (found_ == all) return;
    overlay::put(batch_, event_,
                 {found_ == 0 && !fragment.empty() ? fragment : missing(), 0, 0, kNoEdit, Edit::Kind::append});
  }

  /// Sets those that are there. Which ones, the bits say.
  std::uint64_t replace() {
    if (event_.form == Form::json) {
      walk_json();
    } else {
      walk_plain();
    }
    if (event_.edits != kNoEdit) rewrite_appended();
    return found_;
  }

 private:
  /// Marks the member as there; false when it was already.
  bool take(std::size_t j) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << j;
    const bool first = (found_ & bit) == 0;
    found_ |= bit;
    return first;
  }

  /// A member, which is set by `first` when it is the first of its name, and else goes.
  void meet(std::size_t j, const Edit& first, const Edit& further) {
    const bool is_first = take(j);
    overlay::put(batch_, event_, is_first ? first : further);
  }

  /// A member whose key is in an edit already.
  void meet_renamed(const Edit& renamed) {
    const json::TextMember now = overlay::member_of(renamed);
    for (std::size_t j = 0; j < count_; ++j) {
      if (!json::key_equals(now.key, wanted_[j].name)) continue;
      Edit gone{{}, renamed.target, renamed.target_length, kNoEdit, Edit::Kind::remove};
      Edit changed = gone;
      changed.kind = Edit::Kind::member;
      if ((found_ >> j & 1) == 0) {
        changed.text = overlay::member_text(wanted_[j].json_name, wanted_[j].json_value, batch_.arena);
      }
      meet(j, changed, gone);
      return;
    }
  }

  void walk_json() {
    const json::Tape tape(batch_, event_);
    overlay::EditCursor cursor(batch_, event_);
    const bool edited = event_.edits != kNoEdit;
    tape.members(0, [&](std::uint32_t key, std::uint32_t value, std::uint32_t behind) {
      const std::uint32_t begin = tape.entries[key];
      if (edited) {
        if (const Edit* const edit = cursor.at(begin); edit != nullptr) {
          // What is gone stays gone; the first one that is left counts.
          if (edit->kind == Edit::Kind::member) meet_renamed(Edit(*edit));
          return true;
        }
      }
      for (std::size_t j = 0; j < count_; ++j) {
        if (!tape.key_equals(key, wanted_[j].name, wanted_[j].probe)) continue;
        const std::string_view old = tape.slice(value, behind);
        const auto old_begin = static_cast<std::uint32_t>(old.data() - tape.text);
        const auto old_length = static_cast<std::uint32_t>(old.size());
        meet(j, {wanted_[j].json_value, old_begin, old_length, kNoEdit, Edit::Kind::replace},
             {{}, begin, old_begin + old_length - begin, kNoEdit, Edit::Kind::remove});
        break;
      }
      return true;
    });
  }

  void walk_plain() {
    const overlay::PlainFields fields(batch_, event_);
    overlay::EditCursor cursor(batch_, event_);
    for (std::uint32_t i = 0; i < fields.size(); ++i) {
      const Edit* const edit = cursor.at(i);
      if (edit != nullptr && edit->kind == Edit::Kind::remove) continue;
      if (edit != nullptr && edit->kind == Edit::Kind::member) {
        meet_renamed(Edit(*edit));
        continue;
      }
      for (std::size_t j = 0; j < count_; ++j) {
        if (fields.key(i) != wanted_[j].name) continue;
        meet(j, {wanted_[j].json_value, i, 0, kNoEdit, Edit::Kind::replace}, {{}, i, 0, kNoEdit, Edit::Kind::remove});
        break;
      }
    }
  }

  /// Members that an earlier set appended get their new value where they are.
  void rewrite_appended() {
    for (std::uint32_t e = event_.edits; e != kNoEdit; e = batch_.edits[e].next) {
      if (batch_.edits[e].kind != Edit::Kind::append) continue;
      std::string_view text = batch_.edits[e].text;
      std::string_view rest = text;
      json::TextMember member;
      while (json::next_member(rest, member)) {
        for (std::size_t j = 0; j < count_; ++j) {
          if (!json::key_equals(member.key, wanted_[j].name)) continue;
          take(j);
          const auto head = static_cast<std::size_t>(member.value.data() - text.data());
          const std::string_view value = wanted_[j].json_value;
          const std::size_t size = head + value.size() + rest.size();
          char* const place = batch_.arena.allocate(size);
          std::memcpy(place, text.data(), head);
          std::memcpy(place + head, value.data(), value.size());
          if (!rest.empty()) std::memcpy(place + head + value.size(), rest.data(), rest.size());
          text = {place, size};
          rest = text.substr(head + value.size());
          break;
        }
      }
      batch_.edits[e].text = text;
    }
  }

  /// The members that were not there, as text.
  std::string_view missing() {
    return fragment_of(wanted_, count_, batch_.arena, [this](std::size_t j) { return (found_ >> j & 1) == 0; });
  }

  Batch& batch_;
  Event& event_;
  const Member* wanted_;
  std::size_t count_;
  std::uint64_t found_{0};
};

}  // namespace

void set(Batch& batch, Event& event, const FieldSet& members) {
  const std::vector<FieldSet::Member>& all = members.members();
  for (std::size_t begin = 0; begin < all.size(); begin += kWalkMax) {
    const std::size_t count = std::min(all.size() - begin, kWalkMax);
    Setter(batch, event, &all[begin], count).run(count == all.size() ? members.fragment() : std::string_view());
  }
}

void set(Batch& batch, Event& event, std::string_view name, std::string_view json_value) {
  overlay::set_member(batch, event, name, json_string(name, batch.arena), KeyProbe(name), json_value);
}

void set_fields(Batch& batch, Event& event, std::span<const FieldRef> fields, std::string_view prefix) {
  thread_local std::vector<Wanted> wanted;
  wanted.clear();
  Arena& arena = batch.arena;
  for (const FieldRef& field : fields) {
    std::string_view name = field.key;
    if (!prefix.empty()) {
      char* const place = arena.allocate(prefix.size() + name.size());
      prefix.copy(place, prefix.size());
      name.copy(place + prefix.size(), name.size());
      name = {place, prefix.size() + name.size()};
    }
    wanted.push_back({name, json_string(name, arena), field_json(field, arena), KeyProbe(name)});
  }
  // Those that are not there gather at the front, so that no walk goes over what another one appended.
  std::size_t missing = 0;
  for (std::size_t begin = 0; begin < wanted.size(); begin += kWalkMax) {
    const std::size_t count = std::min(wanted.size() - begin, kWalkMax);
    const std::uint64_t found = Setter(batch, event, &wanted[begin], count).replace();
    for (std::size_t j = 0; j < count; ++j) {
      if ((found >> j & 1) == 0) wanted[missing++] = wanted[begin + j];
    }
  }
  if (missing == 0) return;
  const std::string_view text = fragment_of(wanted.data(), missing, arena, [](std::size_t) { return true; });
  overlay::put(batch, event, {text, 0, 0, kNoEdit, Edit::Kind::append});
}

namespace overlay {

void set_member(Batch& batch, Event& event, std::string_view name, std::string_view json_name, const KeyProbe& probe,
                std::string_view json_value) {
  const Wanted wanted{name, json_name, json_value, probe};
  Setter(batch, event, &wanted, 1).run({});
}

void put(Batch& batch, Event& event, Edit edit) {
  std::uint32_t before = kNoEdit;
  std::uint32_t at = event.edits;
  while (at != kNoEdit) {
    Edit& old = batch.edits[at];
    if (edit.kind != Edit::Kind::append) {
      if (old.kind == Edit::Kind::append || old.target > edit.target) break;
      if (old.target == edit.target) {
        edit.next = old.next;
        old = edit;
        return;
      }
    }
    before = at;
    at = old.next;
  }
  const auto index = static_cast<std::uint32_t>(batch.edits.size());
  edit.next = at;
  batch.edits.push_back(edit);
  (before == kNoEdit ? event.edits : batch.edits[before].next) = index;
}

void copy_list(Batch& batch, Event& event) {
  std::uint32_t last = kNoEdit;
  for (std::uint32_t from = event.edits; from != kNoEdit; from = batch.edits[from].next) {
    const auto index = static_cast<std::uint32_t>(batch.edits.size());
    const Edit copy = batch.edits[from];
    batch.edits.push_back(copy);
    (last == kNoEdit ? event.edits : batch.edits[last].next) = index;
    last = index;
  }
}

std::string_view member_text(std::string_view json_key, std::string_view json_value, Arena& arena) {
  const std::size_t size = json_key.size() + 1 + json_value.size();
  char* const place = arena.allocate(size);
  std::memcpy(place, json_key.data(), json_key.size());
  place[json_key.size()] = ':';
  std::memcpy(place + json_key.size() + 1, json_value.data(), json_value.size());
  return {place, size};
}

std::string_view json_of(const FieldValue& value, Arena& arena) {
  if (value.type != ValueType::string) return value.text;
  if (!value.escaped) return json_string(value.text, arena);
  char* const place = arena.allocate(value.text.size() + 2);
  place[0] = '"';
  std::memcpy(place + 1, value.text.data(), value.text.size());
  place[value.text.size() + 1] = '"';
  return {place, value.text.size() + 2};
}

}  // namespace overlay

}  // namespace logpipe
