#pragma once

// The edits of one event as a list, and its top-level members as they stand after them. For the sources of event/ only.

#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "event/batch.hpp"
#include "event/fields.hpp"
#include "event/json_walk.hpp"
#include "event/plain_fields.hpp"

namespace logpipe::overlay {

/// Finds the edits of targets that are asked for in ascending order. Edits may be put while it walks.
class EditCursor {
 public:
  EditCursor(const Batch& batch, const Event& event) noexcept : batch_(batch), at_(event.edits) {}
  /// Valid until the next edit is put.
  const Edit* at(std::uint32_t target) noexcept {
    while (at_ != kNoEdit) {
      const Edit& edit = batch_.edits[at_];
      if (edit.kind == Edit::Kind::append || edit.target > target) return nullptr;
      if (edit.target == target) return &edit;
      at_ = edit.next;
    }
    return nullptr;
  }

 private:
  const Batch& batch_;
  std::uint32_t at_;
};

/// Puts an edit where it belongs, in place of one for the same target; an append behind all others.
void put(Batch& batch, Event& event, Edit edit);
/// Gives the event a list of its own: what changes from here on leaves the one it had as it is.
void copy_list(Batch& batch, Event& event);

/// The member in the text of an edit of kind `member`.
inline json::TextMember member_of(const Edit& edit) noexcept {
  json::TextMember member;
  std::string_view rest = edit.text;
  (void)json::next_member(rest, member);
  return member;
}

/// `"key":value` in the arena; `json_key` with its quotes.
std::string_view member_text(std::string_view json_key, std::string_view json_value, Arena& arena);

/// The value as JSON text: strings get their quotes, what stands there as JSON keeps its spelling.
std::string_view json_of(const FieldValue& value, Arena& arena);

/// Sets one top-level member; see set() in fields.hpp.
void set_member(Batch& batch, Event& event, std::string_view name, std::string_view json_name, const KeyProbe& probe,
                std::string_view json_value);

/// A key as it stands somewhere: on the tape, in the text of an edit, or as plain text.
class KeyRef {
 public:
  KeyRef(const json::Tape& tape, std::uint32_t entry) noexcept : tape_(&tape), entry_(entry) {}
  static KeyRef raw(std::string_view text) noexcept { return {text, true}; }
  static KeyRef plain(std::string_view text) noexcept { return {text, false}; }
  bool is(std::string_view name, const KeyProbe& probe) const {
    if (tape_ != nullptr) return tape_->key_equals(entry_, name, probe);
    return raw_ ? json::key_equals(text_, name) : text_ == name;
  }

 private:
  KeyRef(std::string_view text, bool is_raw) noexcept : text_(text), raw_(is_raw) {}
  const json::Tape* tape_{nullptr};
  std::uint32_t entry_{0};
  std::string_view text_;
  bool raw_{false};
};

/// What becomes of a member.
struct Change {
  enum class Kind : std::uint8_t { leave, drop, value, member };
  Kind kind{Kind::leave};
  std::string_view text;  ///< the new value, or the whole new member; JSON that lives as long as the batch's work
};

/// Calls `change(const KeyRef&, const FieldValue&) -> Change` for every top-level member as it stands, in order, and
/// makes what it returns the case.
template <class Visit>
class MemberEditor {
 public:
  MemberEditor(Batch& batch, Event& event, Visit& visit) noexcept : batch_(batch), event_(event), visit_(visit) {}

  void run() {
    if (event_.form == Form::json) {
      in_json();
    } else {
      in_plain();
    }
    std::uint32_t* link = &event_.edits;
    while (*link != kNoEdit) {
      const std::uint32_t index = *link;
      if (batch_.edits[index].kind == Edit::Kind::append && !in_appended(index)) {
        *link = batch_.edits[index].next;
        continue;
      }
      link = &batch_.edits[index].next;
    }
  }

 private:
  /// `replace`: the edit that changes only the value; without a length where the targets are counted.
  void make(const Change& change, Edit member, Edit replace, const Edit* renamed) {
    switch (change.kind) {
      case Change::Kind::leave:
        return;
      case Change::Kind::drop:
        member.kind = Edit::Kind::remove;
        put(batch_, event_, member);
        return;
      case Change::Kind::member:
        member.text = change.text;
        put(batch_, event_, member);
        return;
      case Change::Kind::value:
        if (renamed == nullptr) {
          replace.text = change.text;
          put(batch_, event_, replace);
          return;
        }
        member.text = with_value(member_of(*renamed), change.text);
        put(batch_, event_, member);
        return;
    }
  }

  std::string_view with_value(const json::TextMember& member, std::string_view value) {
    return member_text({member.key.data() - 1, member.key.size() + 2}, value, batch_.arena);
  }

  void in_json() {
    const json::Tape tape(batch_, event_);
    EditCursor cursor(batch_, event_);
    tape.members(0, [&](std::uint32_t key, std::uint32_t value, std::uint32_t behind) {
      const Edit* const on_key = cursor.at(tape.entries[key]);
      if (on_key != nullptr && on_key->kind == Edit::Kind::remove) return true;
      const std::string_view body = tape.slice(value, behind);
      const auto value_begin = static_cast<std::uint32_t>(body.data() - tape.text);
      const auto value_length = static_cast<std::uint32_t>(body.size());
      const std::uint32_t begin = tape.entries[key];
      const Edit member{{}, begin, value_begin + value_length - begin, kNoEdit, Edit::Kind::member};
      const Edit replace{{}, value_begin, value_length, kNoEdit, Edit::Kind::replace};
      if (on_key != nullptr) {
        const Edit renamed = *on_key;
        const json::TextMember now = member_of(renamed);
        make(visit_(KeyRef::raw(now.key), json::classify(now.value)), member, replace, &renamed);
        return true;
      }
      const Edit* const on_value = cursor.at(value_begin);
      make(visit_(KeyRef(tape, key),
                  on_value != nullptr ? json::classify(on_value->text) : json::classify(body, tape.escaped)),
           member, replace, nullptr);
      return true;
    });
  }

  void in_plain() {
    EditCursor cursor(batch_, event_);
    const PlainFields fields(batch_, event_);
    for (std::uint32_t i = 0; i < fields.size(); ++i) {
      const Edit* const edit = cursor.at(i);
      if (edit != nullptr && edit->kind == Edit::Kind::remove) continue;
      const Edit member{{}, i, 0, kNoEdit, Edit::Kind::member};
      const Edit replace{{}, i, 0, kNoEdit, Edit::Kind::replace};
      if (edit != nullptr && edit->kind == Edit::Kind::member) {
        const Edit renamed = *edit;
        const json::TextMember now = member_of(renamed);
        make(visit_(KeyRef::raw(now.key), json::classify(now.value)), member, replace, &renamed);
        continue;
      }
      make(visit_(KeyRef::plain(fields.key(i)), edit != nullptr ? json::classify(edit->text) : fields.value(i)), member,
           replace, nullptr);
    }
  }

  /// False when nothing is left of it.
  bool in_appended(std::uint32_t index) {
    std::string_view text = batch_.edits[index].text;
    std::string_view rest = text;
    json::TextMember member;
    std::size_t at = 0;  // of the member in `text`
    while (json::next_member(rest, member)) {
      const char* const begin = member.key.data() - 1;
      const Change change = visit_(KeyRef::raw(member.key), json::classify(member.value));
      if (change.kind == Change::Kind::leave) continue;
      at = static_cast<std::size_t>(begin - text.data());
      std::string_view with;
      if (change.kind == Change::Kind::value) with = with_value(member, change.text);
      if (change.kind == Change::Kind::member) with = change.text;
      std::string_view head = text.substr(0, at);
      std::string_view tail = rest;
      if (with.empty()) {
        // The comma before it goes with it, or the one behind it.
        while (!head.empty() && (json::is_blank(head.back()) || head.back() == ',')) {
          const bool comma = head.back() == ',';
          head.remove_suffix(1);
          if (comma) break;
        }
        if (head.empty()) {
          while (!tail.empty() && json::is_blank(tail.front())) tail.remove_prefix(1);
          if (!tail.empty() && tail.front() == ',') tail.remove_prefix(1);
        }
      }
      const std::size_t size = head.size() + with.size() + tail.size();
      char* out = batch_.arena.allocate(size);
      text = {out, size};
      for (const std::string_view part : {head, with, tail}) {
        if (!part.empty()) std::memcpy(out, part.data(), part.size());
        out += part.size();
      }
      rest = text.substr(head.size() + with.size());
    }
    batch_.edits[index].text = text;
    return !text.empty();
  }

  Batch& batch_;
  Event& event_;
  Visit& visit_;
};

template <class Visit>
void edit_members(Batch& batch, Event& event, Visit&& visit) {
  MemberEditor<std::remove_reference_t<Visit>>(batch, event, visit).run();
}

}  // namespace logpipe::overlay
