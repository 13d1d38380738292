#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "event/batch.hpp"
#include "event/json.hpp"

namespace logpipe {

/// What a scanner writes to: fields at the end of a list, and text that does not stand in the line as it is meant.
struct ScanOut {
  std::vector<FieldRef>& fields;
  Arena& arena;

  void text(std::string_view key, std::string_view value) const { fields.push_back({key, value, true, false}); }
  /// A number, `true`, `false` or `null` where it reads as one, a string otherwise.
  void bare(std::string_view key, std::string_view value) const { fields.push_back({key, value, false, false}); }
  void json(std::string_view key, std::string_view value) const { fields.push_back({key, value, true, true}); }
};

/// A level that was looked for in vain before the event was parsed may stand in one of its fields.
inline void forget_unknown_level(Event& event) noexcept {
  if (event.level == Level::unknown) event.level_known = false;
}

/// Makes every `text` event whose line `scan(line, ScanOut)` accepts a `fields` event of what the scanner appended.
/// When it returns false, what it appended is taken back, and the event stays text and is marked parse_failed, as is
/// one that was edited as text.
template <class Scan>
ParseCount scan_lines(Batch& batch, Scan&& scan) {
  ParseCount count;
  for (Event& event : batch.events) {
    if (event.form != Form::text) continue;
    const std::size_t begin = batch.fields.size();
    if (event.edits == kNoEdit && scan(batch.text(event), ScanOut{batch.fields, batch.arena})) {
      event.form = Form::fields;
      event.index_begin = static_cast<std::uint32_t>(begin);
      event.index_count = static_cast<std::uint32_t>(batch.fields.size() - begin);
      event.parse_failed = false;
      forget_unknown_level(event);
      ++count.parsed;
    } else {
      batch.fields.resize(begin);
      event.parse_failed = true;
      ++count.failed;
    }
  }
  return count;
}

/// What an object may have for scan_json. It bounds the search for doubled keys, and what is set on an event.
inline constexpr std::size_t kMembersMax = 512;
/// Scans a text that is one JSON object (checked as parse_json does): its members, strings unescaped, of a key that
/// occurs twice the first. Nested values are on one line, whatever they were written on. False for more than
/// kMembersMax members.
bool scan_json(std::string_view text, bool strict, const ScanOut& out);

/// The value as JSON, in the arena where it is not JSON as it stands; bytes that are not UTF-8 are replaced.
std::string_view field_json(const FieldRef& field, Arena& arena);
/// One JSON object of all fields, `prefix` before each name, in the arena.
std::string_view fields_json(std::span<const FieldRef> fields, std::string_view prefix, Arena& arena);
/// Sets every field on the event as set() of event/fields.hpp does, `prefix` before each name; what is new is appended
/// in one edit. No two of the fields may have the same name.
void set_fields(Batch& batch, Event& event, std::span<const FieldRef> fields, std::string_view prefix);

}  // namespace logpipe
