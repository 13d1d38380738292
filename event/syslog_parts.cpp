#include "event/syslog_parts.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "event/byte_search.hpp"
#include "event/json_walk.hpp"

namespace logpipe::syslog {
namespace {

bool is_month(const char* at) noexcept {
  static constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  for (std::size_t i = 0; i < kMonths.size(); i += 3) {
    if (std::memcmp(at, kMonths.data() + i, 3) == 0) return true;
  }
  return false;
}

bool digits(const char* at, int count) noexcept {
  for (int i = 0; i < count; ++i) {
    if (!is_digit(at[i])) return false;
  }
  return true;
}

/// `22:14:15[.123456]`; nullptr: it is none.
const char* clock(const char* at, const char* end) noexcept {
  if (end - at < 8 || !digits(at, 2) || at[2] != ':' || !digits(at + 3, 2) || at[5] != ':' || !digits(at + 6, 2)) {
    return nullptr;
  }
  at += 8;
  if (end - at >= 2 && (*at == '.' || *at == ',') && is_digit(at[1])) {
    ++at;
    while (at != end && is_digit(*at)) ++at;
  }
  return at;
}

/// `2026 `
const char* year(const char* at, const char* end) noexcept {
  return end - at > 4 && digits(at, 4) && at[4] == ' ' ? at + 5 : nullptr;
}

/// `Oct 11 `, `Oct  1 `, `Oct 1 `
const char* month_and_day(const char* at, const char* end) noexcept {
  if (end - at < 6 || at[3] != ' ' || !is_month(at)) return nullptr;
  at += 4;
  if (*at == ' ') ++at;
  if (!is_digit(*at)) return nullptr;
  ++at;
  if (at != end && is_digit(*at)) ++at;
  return at != end && *at == ' ' ? at + 1 : nullptr;
}

const char* traditional(const char* at, const char* end) noexcept {
  if (const char* behind = year(at, end)) at = behind;
  at = month_and_day(at, end);
  if (at == nullptr) return nullptr;
  if (const char* behind = year(at, end)) at = behind;
  return clock(at, end);
}

/// RFC 3339, the offset written in any of its ways or not at all.
const char* iso(const char* at, const char* end) noexcept {
  if (end - at < 19 || !digits(at, 4) || at[4] != '-' || !digits(at + 5, 2) || at[7] != '-' || !digits(at + 8, 2) ||
      (at[10] != 'T' && at[10] != ' ' && at[10] != 't')) {
    return nullptr;
  }
  at = clock(at + 11, end);
  if (at == nullptr || at == end) return at;
  if (*at == 'Z' || *at == 'z') return at + 1;
  if ((*at == '+' || *at == '-') && end - at >= 5 && digits(at + 1, 2)) {
    if (at[3] == ':' && end - at >= 6 && digits(at + 4, 2)) return at + 6;
    if (digits(at + 3, 2)) return at + 5;
  }
  return at;
}

constexpr bool is_name_char(char c) noexcept {
  return c > ' ' && c < 0x7F && c != '=' && c != ']' && c != '"';
}

}  // namespace

TimeText read_time(const char* at, const char* end) noexcept {
  if (at == end) return {};
  const char* const found = is_digit(*at) ? iso(at, end) : nullptr;
  return {found != nullptr ? found : traditional(at, end)};
}

const char* zone_and_colon(const char* at, const char* end) noexcept {
  if (at == end || *at != ' ') return nullptr;
  const char* letter = at + 1;
  while (letter != end && *letter >= 'A' && *letter <= 'Z') ++letter;
  const std::ptrdiff_t length = letter - at - 1;
  return length >= 2 && length <= 5 && letter != end && *letter == ':' ? letter : nullptr;
}

Tag tag_end(const char* at, const char* end) noexcept {
  constexpr std::ptrdiff_t kTagMax = 128;
  const char* const limit = end - at > kTagMax ? at + kTagMax : end;
  const char* c = at;
  while (c != limit && static_cast<unsigned char>(*c) > ' ' && *c != ':' && *c != '[') ++c;
  // Names such as `a::b` have colons of their own.
  while (limit - c >= 2 && *c == ':' && static_cast<unsigned char>(c[1]) > ' ') {
    for (++c; c != limit && static_cast<unsigned char>(*c) > ' ' && *c != ':' && *c != '[';) ++c;
  }
  Tag tag;
  if (c == at || c == limit || *c == ' ') return tag;
  tag.name_end = c;
  if (*c == '[') {
    const char* const close = find_byte(c, limit, ']');
    if (close == limit || close == c + 1) return {};
    tag.pid = slice(c + 1, close);
    if (tag.pid.find(' ') != std::string_view::npos) return {};
    c = close + 1;
    if (c != end && *c == ':') ++c;
  } else if (*c == ':') {
    ++c;
  } else {
    return {};
  }
  if (c != end && *c != ' ' && *c != '\t') return {};
  tag.message = c == end ? c : c + 1;
  return tag;
}

const char* StructuredData::read() {
  const char* const begin = at_;
  if (!check()) return nullptr;
  write(begin, at_);
  return at_;
}

/// Goes over all of it, so that writing need not look again.
bool StructuredData::check() {
  // Compared with each other for doubled ones, so bounded.
  constexpr std::size_t kElementsMax = 256;
  thread_local std::vector<std::string_view> ids;
  ids.clear();
  while (at_ != end_ && *at_ == '[') {
    const char* const begin = ++at_;
    if (!name()) return false;
    const std::string_view id = slice(begin, at_);
    if (ids.size() == kElementsMax || std::find(ids.begin(), ids.end(), id) != ids.end()) return false;
    ids.push_back(id);
    while (true) {
      if (at_ == end_) return false;
      if (*at_ == ']') break;
      if (*at_++ != ' ') return false;
      if (!name() || end_ - at_ < 2 || at_[0] != '=' || at_[1] != '"') return false;
      at_ += 2;
      if (!value()) return false;
    }
    ++at_;
  }
  return true;
}

bool StructuredData::name() noexcept {
  const char* const begin = at_;
  while (at_ != end_ && is_name_char(*at_)) ++at_;
  return at_ != begin && at_ - begin < 256;
}

bool StructuredData::value() noexcept {
  while (true) {
    at_ = find_byte(at_, end_, '"', '\\');
    if (at_ == end_) return false;
    if (*at_ == '"') {
      ++at_;
      return true;
    }
    if (++at_ == end_) return false;
    ++at_;
  }
}

namespace {

/// `\"`, `\\` and `\]` stand for what follows; another backslash is one (RFC 5424 section 6.3.3). What is not as it
/// stands is written to `spare`.
std::string_view undo_escapes(std::string_view text, char*& spare) {
  if (text.find('\\') == std::string_view::npos) return text;
  char* const begin = spare;
  char*& out = spare;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '\\' && i + 1 < text.size();
    if (escape && (text[i + 1] == '"' || text[i + 1] == '\\' || text[i + 1] == ']')) ++i;
    *out++ = text[i];
  }
  return slice(begin, out);
}

struct Parameter {
  std::string_view name;
  std::string_view value;
  bool written{false};
};

/// Takes `name` or ` name="value"` apart, which check() has seen.
std::string_view take_name(const char*& at) noexcept {
  const char* const begin = at;
  while (is_name_char(*at)) ++at;
  return slice(begin, at);
}

std::string_view take_value(const char*& at) noexcept {
  const char* const begin = at;
  while (*at != '"') at += *at == '\\' ? 2 : 1;
  return slice(begin, at++);
}

char* put_string(std::string_view text, char* out) noexcept {
  *out++ = '"';
  out = json::escape_repaired(text, out);
  *out++ = '"';
  return out;
}

/// One element: its parameters, those of one name together.
char* put_element(std::vector<Parameter>& all, char* out, char*& spare) {
  *out++ = '{';
  bool comma = false;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].written) continue;
    if (comma) *out++ = ',';
    comma = true;
    out = put_string(all[i].name, out);
    *out++ = ':';
    const auto again = [&](std::size_t from) {
      while (from < all.size() && (all[from].written || all[from].name != all[i].name)) ++from;
      return from;
    };
    std::size_t next = again(i + 1);
    const bool several = next < all.size();
    if (several) *out++ = '[';
    out = put_string(undo_escapes(all[i].value, spare), out);
    for (; next < all.size(); next = again(next + 1)) {
      all[next].written = true;
      *out++ = ',';
      out = put_string(undo_escapes(all[next].value, spare), out);
    }
    if (several) *out++ = ']';
  }
  *out++ = '}';
  return out;
}

}  // namespace

void StructuredData::write(const char* begin, const char* end) {
  // Compared with each other for doubled names, so bounded.
  constexpr std::size_t kParametersMax = 256;
  thread_local std::vector<Parameter> parameters;
  const auto size = static_cast<std::size_t>(end - begin);
  // Every byte may become six; quotes and brackets take no more than what they replace, and 8 per name.
  const std::size_t room = size * 8 + 64;
  char* spare = slice(begin, end).find('\\') == std::string_view::npos ? nullptr : arena_.allocate(size);
  char* const memory = arena_.allocate(room);
  char* out = memory;
  *out++ = '{';
  for (const char* at = begin; at != end; ++at) {
    ++at;  // the bracket
    if (out != memory + 1) *out++ = ',';
    out = put_string(take_name(at), out);
    *out++ = ':';
    parameters.clear();
    while (*at == ' ') {
      ++at;
      const std::string_view name = take_name(at);
      at += 2;
      const std::string_view value = take_value(at);
      if (parameters.size() < kParametersMax) parameters.push_back({name, value});
    }
    out = put_element(parameters, out, spare);
  }
  *out++ = '}';
  json_ = slice(memory, out);
  arena_.shrink_last(room - json_.size());
}

}  // namespace logpipe::syslog
