#include <algorithm>
#include <cstring>
#include <utility>

#include "event/fields.hpp"
#include "event/json.hpp"
#include "event/json_walk.hpp"

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

template <class Member>
class Setter {
 public:
  Setter(Batch& batch, Event& event, const Member* wanted, std::size_t count)
      : batch_(batch), event_(event), wanted_(wanted), count_(count) {}

  /// `fragment`: all wanted members as text, or empty.
  void run(std::string_view fragment) {
    if (event_.form == Form::json) {
      walk_json();
    } else {
      walk_plain();
    }
    if (event_.edits != kNoEdit) rewrite_appended();
    const std::uint64_t all = count_ == kWalkMax ? ~std::uint64_t{0} : (std::uint64_t{1} << count_) - 1;
    if (found_ == all) return;
    put({found_ == 0 && !fragment.empty() ? fragment : missing(), 0, 0, kNoEdit, Edit::Kind::append});
  }

 private:
  /// Marks the member as there; false when it was already.
  bool take(std::size_t j) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << j;
    const bool first = (found_ & bit) == 0;
    found_ |= bit;
    return first;
  }

  void walk_json() {
    const json::Tape tape(batch_, event_);
    tape.members(0, [&](std::uint32_t key, std::uint32_t value, std::uint32_t behind) {
      for (std::size_t j = 0; j < count_; ++j) {
        if (!tape.key_equals(key, wanted_[j].name, wanted_[j].probe)) continue;
        const std::uint32_t begin = tape.entries[key];
        const std::string_view old = tape.slice(value, behind);
        const auto old_begin = static_cast<std::uint32_t>(old.data() - tape.text);
        const auto old_length = static_cast<std::uint32_t>(old.size());
        if (removed(begin)) {
          // It is gone already; the first one that is left counts.
        } else if (take(j)) {
          put({wanted_[j].json_value, old_begin, old_length, kNoEdit, Edit::Kind::replace});
        } else {
          put({{}, begin, old_begin + old_length - begin, kNoEdit, Edit::Kind::remove});
        }
        break;
      }
      return true;
    });
  }

  void walk_plain() {
    const std::uint32_t size = event_.form == Form::fields ? event_.index_count : 1;
    for (std::uint32_t i = 0; i < size; ++i) {
      const std::string_view key = event_.form == Form::fields ? batch_.fields[event_.index_begin + i].key : "message";
      for (std::size_t j = 0; j < count_; ++j) {
        if (key != wanted_[j].name) continue;
        if (removed(i)) {
          // As above.
        } else if (take(j)) {
          put({wanted_[j].json_value, i, 0, kNoEdit, Edit::Kind::replace});
        } else {
          put({{}, i, 0, kNoEdit, Edit::Kind::remove});
        }
        break;
      }
    }
  }

  bool removed(std::uint32_t target) const noexcept {
    for (std::uint32_t e = event_.edits; e != kNoEdit; e = batch_.edits[e].next) {
      if (batch_.edits[e].kind == Edit::Kind::remove && batch_.edits[e].target == target) return true;
    }
    return false;
  }

  /// Puts an edit where it belongs, in place of one for the same target.
  void put(const Edit& edit) {
    std::uint32_t before = kNoEdit;
    std::uint32_t at = event_.edits;
    while (at != kNoEdit) {
      Edit& old = batch_.edits[at];
      if (edit.kind != Edit::Kind::append) {
        if (old.kind == Edit::Kind::append || old.target > edit.target) break;
        if (old.target == edit.target) {
          const std::uint32_t next = old.next;
          old = edit;
          old.next = next;
          return;
        }
      }
      before = at;
      at = old.next;
    }
    const auto index = static_cast<std::uint32_t>(batch_.edits.size());
    batch_.edits.push_back(edit);
    batch_.edits.back().next = at;
    (before == kNoEdit ? event_.edits : batch_.edits[before].next) = index;
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
    std::size_t size = 0;
    for (std::size_t j = 0; j < count_; ++j) {
      if ((found_ >> j & 1) == 0) size += wanted_[j].json_name.size() + wanted_[j].json_value.size() + 2;
    }
    char* const begin = batch_.arena.allocate(size);
    char* out = begin;
    const auto add = [&](std::string_view text) {
      std::memcpy(out, text.data(), text.size());
      out += text.size();
    };
    for (std::size_t j = 0; j < count_; ++j) {
      if ((found_ >> j & 1) != 0) continue;
      if (out != begin) *out++ = ',';
      add(wanted_[j].json_name);
      *out++ = ':';
      add(wanted_[j].json_value);
    }
    const auto length = static_cast<std::size_t>(out - begin);
    batch_.arena.shrink_last(size - length);
    return {begin, length};
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
  const Wanted wanted{name, json_string(name, batch.arena), json_value, KeyProbe(name)};
  Setter(batch, event, &wanted, 1).run({});
}

}  // namespace logpipe
