#include <algorithm>
#include <cstring>

#include "event/json.hpp"
#include "event/json_walk.hpp"

namespace logpipe {

namespace {

/// Appends into room that was reserved before.
struct Writer {
  char* begin;
  char* out;
  explicit Writer(char* place) noexcept : begin(place), out(place) {}
  void add(const char* from, const char* to) noexcept {
    const auto length = static_cast<std::size_t>(to - from);
    std::memcpy(out, from, length);
    out += length;
  }
  void add(std::string_view text) noexcept { add(text.data(), text.data() + text.size()); }
  /// Takes back the blanks at the end; the last byte that stays.
  char trim() noexcept {
    while (json::is_blank(out[-1])) --out;
    return out[-1];
  }
  std::size_t size() const noexcept { return static_cast<std::size_t>(out - begin); }
};

std::size_t room_for_edits(const Batch& batch, const Event& event) noexcept {
  std::size_t room = 0;
  for (std::uint32_t e = event.edits; e != kNoEdit; e = batch.edits[e].next) room += batch.edits[e].text.size() + 1;
  return room;
}

void write_object(const Batch& batch, const Event& event, Encoded& out) {
  const json::Tape tape(batch, event);
  const char* at = tape.text + tape.entries[0];
  const char* const close = tape.text + tape.entries[event.index_count - 1];
  const auto length = static_cast<std::size_t>(close + 1 - at);
  if (event.edits == kNoEdit) {
    out.append({at, length});
    return;
  }
  Writer writer(out.grow(length + room_for_edits(batch, event)));
  std::uint32_t e = event.edits;
  for (; e != kNoEdit && batch.edits[e].kind != Edit::Kind::append; e = batch.edits[e].next) {
    const Edit& edit = batch.edits[e];
    if (tape.text + edit.target < at) continue;  // within a member that was removed
    writer.add(at, tape.text + edit.target);
    at = tape.text + edit.target + edit.target_length;
    if (edit.kind != Edit::Kind::remove) {
      writer.add(edit.text);
    } else if (writer.trim() == ',') {
      --writer.out;
    } else {
      // No member is left before it, so the comma behind it goes.
      while (json::is_blank(*at)) ++at;
      if (*at == ',') ++at;
    }
  }
  writer.add(at, close);
  if (e != kNoEdit) {
    bool comma = writer.trim() != '{';
    for (; e != kNoEdit; e = batch.edits[e].next) {
      if (comma) *writer.out++ = ',';
      writer.add(batch.edits[e].text);
      comma = true;
    }
  }
  *writer.out++ = '}';
  out.commit(writer.size());
}

void append_string(std::string_view text, bool valid, InvalidUtf8 invalid, Encoded& out) {
  valid = valid || invalid == InvalidUtf8::keep;
  // Bounded pieces: a string may grow sixfold, but does not.
  constexpr std::size_t kPiece = 4096;
  out.append('"');
  while (!text.empty()) {
    std::size_t length = std::min(text.size(), kPiece);
    // Not within a character, unless it is a broken one that has no beginning.
    for (int back = 0; back < 3 && length < text.size() && (text[length] & 0xC0) == 0x80; ++back) --length;
    char* const begin = out.grow(length * 6 + 8);
    const std::string_view piece = text.substr(0, length);
    char* const end = valid                             ? json::escape(piece, begin)
                      : invalid == InvalidUtf8::replace ? json::escape_repaired(piece, begin)
                                                        : json::escape_shown(piece, begin);
    out.commit(static_cast<std::size_t>(end - begin));
    text.remove_prefix(length);
  }
  out.append('"');
}

void write_plain(const Batch& batch, const Event& event, InvalidUtf8 invalid, Encoded& out) {
  const std::string_view body = batch.text(event);
  const bool valid = valid_utf8(body);
  // What a scanner put into the arena while it unescaped was not part of the body that was looked at.
  const auto put = [&](std::string_view text) {
    const bool inside = text.data() >= body.data() && text.data() + text.size() <= body.data() + body.size();
    append_string(text, inside ? valid : valid_utf8(text), invalid, out);
  };
  std::uint32_t e = event.edits;
  bool comma = false;
  const std::uint32_t size = event.form == Form::fields ? event.index_count : 1;
  out.append('{');
  for (std::uint32_t i = 0; i < size; ++i) {
    const Edit* edit = nullptr;
    if (e != kNoEdit && batch.edits[e].kind != Edit::Kind::append && batch.edits[e].target == i) {
      edit = &batch.edits[e];
      e = edit->next;
    }
    if (edit != nullptr && edit->kind == Edit::Kind::remove) continue;
    if (comma) out.append(',');
    comma = true;
    if (edit != nullptr && edit->kind == Edit::Kind::member) {
      out.append(edit->text);
      continue;
    }
    const FieldRef* field = event.form == Form::fields ? &batch.fields[event.index_begin + i] : nullptr;
    if (field != nullptr) {
      put(field->key);
      out.append(':');
    } else {
      out.append("\"message\":");
    }
    if (edit != nullptr) {
      out.append(edit->text);
    } else if (field == nullptr) {
      put(body);
    } else if (field->json || (!field->quoted && json::is_literal(field->value))) {
      out.append(field->value);
    } else {
      put(field->value);
    }
  }
  for (; e != kNoEdit; e = batch.edits[e].next) {
    if (comma) out.append(',');
    comma = true;
    out.append(batch.edits[e].text);
  }
  out.append('}');
}

}  // namespace

void append_json_string(std::string_view text, Encoded& out) {
  append_string(text, valid_utf8(text), InvalidUtf8::replace, out);
}

void write_json(const Batch& batch, const Event& event, Encoded& out, InvalidUtf8 invalid) {
  if (event.form == Form::json) {
    write_object(batch, event, out);
  } else {
    write_plain(batch, event, invalid, out);
  }
}

}  // namespace logpipe
