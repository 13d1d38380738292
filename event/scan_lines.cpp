#include "event/scan_lines.hpp"

#include <cstring>

#include "event/json_walk.hpp"

namespace logpipe {
namespace {

bool stands_as_json(const FieldRef& field) noexcept {
  return field.json || (!field.quoted && json::is_literal(field.value));
}

char* put(std::string_view text, char* out) noexcept {
  if (!text.empty()) std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

/// What `json::escape_repaired` may need: six bytes for each, and quotes.
constexpr std::size_t room_for(std::string_view text) noexcept {
  return text.size() * 6 + 16;
}

}  // namespace

std::string_view field_json(const FieldRef& field, Arena& arena) {
  return stands_as_json(field) ? field.value : json_string(field.value, arena);
}

std::string_view fields_json(std::span<const FieldRef> fields, std::string_view prefix, Arena& arena) {
  std::size_t room = 2;
  for (const FieldRef& field : fields) {
    room += room_for(prefix) + room_for(field.key) +
            (stands_as_json(field) ? field.value.size() : room_for(field.value)) + 4;
  }
  char* const begin = arena.allocate(room);
  char* out = begin;
  *out++ = '{';
  for (const FieldRef& field : fields) {
    if (out != begin + 1) *out++ = ',';
    *out++ = '"';
    out = json::escape_repaired(prefix, out);
    out = json::escape_repaired(field.key, out);
    out = put("\":", out);
    if (stands_as_json(field)) {
      out = put(field.value, out);
    } else {
      *out++ = '"';
      out = json::escape_repaired(field.value, out);
      *out++ = '"';
    }
  }
  *out++ = '}';
  const auto length = static_cast<std::size_t>(out - begin);
  arena.shrink_last(room - length);
  return {begin, length};
}

}  // namespace logpipe
