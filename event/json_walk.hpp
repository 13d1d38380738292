#pragma once

// Reading JSON where it stands: along the tape of a block, whose structure parse_json has checked, and in the short
// texts of edits, which have no tape. For the sources of event/ only.

#include <cstdint>
#include <cstring>
#include <string_view>

#include "event/batch.hpp"
#include "event/fields.hpp"
#include "event/json.hpp"

namespace logpipe::json {

inline bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/// Undoes escapes into `out`, which has room for as many bytes as `text`; returns how many were written.
std::size_t unescape(std::string_view text, char* out);
bool unescaped_equals(std::string_view raw, std::string_view name);
/// All escapes are ones that RFC 8259 section 7 knows.
bool escapes_valid(std::string_view text) noexcept;
/// Writes `text` escaped, without quotes; `out` has room for 6 bytes per byte and 8 more. Returns the new end.
char* escape(std::string_view text, char* out) noexcept;
/// The same for text that need not be UTF-8.
char* escape_repaired(std::string_view text, char* out) noexcept;
/// The same; a byte that is no part of UTF-8 is written as the text `\xNN`, so that it can be read.
char* escape_shown(std::string_view text, char* out) noexcept;
/// true, false, null or a number.
bool is_literal(std::string_view text) noexcept;
/// What a JSON value is; `escaped` is only looked for when `may_escape`.
FieldValue classify(std::string_view value, bool may_escape = true) noexcept;

/// One event's stretch of the tape.
struct Tape {
  const char* text;
  const std::uint32_t* entries;
  bool escaped;

  Tape(const Batch& batch, const Event& event) noexcept
      : text(batch.block().data()), entries(batch.tape().entries() + event.index_begin), escaped(event.escaped) {}

  char at(std::uint32_t i) const noexcept { return text[entries[i]]; }
  /// The entry behind the value that begins at entry `i`: its comma or the end of what holds it.
  std::uint32_t skip(std::uint32_t i) const noexcept {
    // '[' and '{', ']' and '}' differ in one bit, and no scalar begins with one of them.
    if ((at(i) & 0xDF) != '[') return i + 1;
    for (std::uint32_t depth = 1; depth != 0;) {
      const int kind = at(++i) & 0xDF;
      depth += (kind == '[') ? 1U : 0U;
      depth -= (kind == ']') ? 1U : 0U;
    }
    return i + 1;
  }
  /// The text from entry `i` up to entry `next`, which follows it, without blanks.
  std::string_view slice(std::uint32_t i, std::uint32_t next) const noexcept {
    const char* end = text + entries[next];
    while (is_blank(end[-1])) --end;
    return {text + entries[i], static_cast<std::size_t>(end - text - entries[i])};
  }
  /// The key at entry `i`, without quotes.
  std::string_view key(std::uint32_t i) const noexcept {
    const std::string_view quoted = slice(i, i + 1);
    return quoted.substr(1, quoted.size() - 2);
  }
  bool key_equals(std::uint32_t i, std::string_view name, const KeyProbe& probe) const noexcept {
    std::uint64_t word;
    std::memcpy(&word, text + entries[i] + 1, sizeof(word));  // within the block's padding
    if ((word & probe.mask) == probe.word && (name.size() < 8 || key(i) == name)) return true;
    if (!escaped) return false;
    const std::string_view raw = key(i);
    return std::memchr(raw.data(), '\\', raw.size()) != nullptr && unescaped_equals(raw, name);
  }
  /// Calls `visit(key entry, value entry, entry behind the value)` for the members of the object at entry `i` until it
  /// returns false.
  template <class Visit>
  void members(std::uint32_t i, Visit&& visit) const {
    if (at(++i) == '}') return;
    while (true) {
      const std::uint32_t next = skip(i + 2);
      if (!visit(i, i + 2, next) || at(next) == '}') return;
      i = next + 1;
    }
  }
};

/// One member of an object without a tape.
struct TextMember {
  std::string_view key;    ///< raw, without quotes
  std::string_view value;  ///< as written
};
/// Takes the next member (or, with `keys` false, array element) off `rest`, the inside of an object or a fragment of
/// one; false at the end or when it is not JSON.
bool next_member(std::string_view& rest, TextMember& member, bool keys = true) noexcept;
bool key_equals(std::string_view raw, std::string_view name);

}  // namespace logpipe::json
