#include <array>
#include <bit>
#include <cstring>
#include <string>

#include "event/json.hpp"
#include "event/json_walk.hpp"

namespace logpipe {

namespace json {

namespace {

constexpr char kHex[] = "0123456789abcdef";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr std::uint64_t kOnes = 0x0101010101010101;
constexpr std::uint64_t kHighs = 0x8080808080808080;

/// The first of 8 bytes that must be escaped, as the position of its high bit; 0: none. The usual test for a byte that
/// is zero or less than a bound; it can be wrong only above the first hit.
std::uint64_t must_escape(std::uint64_t word) noexcept {
  const std::uint64_t quotes = word ^ (kOnes * '"');
  const std::uint64_t slashes = word ^ (kOnes * '\\');
  return (((word - kOnes * 0x20) & ~word) | ((quotes - kOnes) & ~quotes) | ((slashes - kOnes) & ~slashes)) & kHighs;
}

std::uint64_t load(const char* text) noexcept {
  std::uint64_t word;
  std::memcpy(&word, text, sizeof(word));
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

char* escape_one(unsigned char c, char* out) noexcept {
  *out++ = '\\';
  switch (c) {
    case '"':
    case '\\':
      *out++ = static_cast<char>(c);
      return out;
    case '\b':
      *out++ = 'b';
      return out;
    case '\f':
      *out++ = 'f';
      return out;
    case '\n':
      *out++ = 'n';
      return out;
    case '\r':
      *out++ = 'r';
      return out;
    case '\t':
      *out++ = 't';
      return out;
    default:
      break;
  }
  std::memcpy(out, "u00", 3);
  out[3] = kHex[c >> 4];
  out[4] = kHex[c & 15];
  return out + 5;
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// The code unit of `\uXXXX` at `at`; -1 when there is none.
int code_unit(std::string_view text, std::size_t at) noexcept {
  if (text.size() - at < 6 || text[at] != '\\' || text[at + 1] != 'u') return -1;
  int unit = 0;
  for (std::size_t i = at + 2; i < at + 6; ++i) {
    const int digit = hex_digit(text[i]);
    if (digit < 0) return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

char* put_utf8(std::uint32_t point, char* out) noexcept {
  if (point < 0x80) {
    *out++ = static_cast<char>(point);
    return out;
  }
  if (point < 0x800) {
    *out++ = static_cast<char>(0xC0 | (point >> 6));
  } else {
    if (point < 0x10000) {
      *out++ = static_cast<char>(0xE0 | (point >> 12));
    } else {
      *out++ = static_cast<char>(0xF0 | (point >> 18));
      *out++ = static_cast<char>(0x80 | ((point >> 12) & 0x3F));
    }
    *out++ = static_cast<char>(0x80 | ((point >> 6) & 0x3F));
  }
  *out++ = static_cast<char>(0x80 | (point & 0x3F));
  return out;
}

/// How many bytes at the beginning of `text` are one well-formed character (`good`), or the longest beginning of one:
/// what the Unicode standard, section 3.9, replaces by one U+FFFD.
std::size_t utf8_step(std::string_view text, bool& good) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  good = true;
  if (lead < 0x80) return 1;
  good = false;
  if (lead < 0xC2 || lead > 0xF4) return 1;
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte excludes overlong forms, surrogates and what lies beyond U+10FFFF.
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return i;
    if (byte(i) < (i == 1 ? low : 0x80U) || byte(i) > (i == 1 ? high : 0xBFU)) return i;
  }
  good = true;
  return length;
}

}  // namespace

char* escape(std::string_view text, char* out) noexcept {
  const char* in = text.data();
  const char* const end = in + text.size();
  while (end - in >= 8) {
    const std::uint64_t hits = must_escape(load(in));
    std::memcpy(out, in, 8);
    const int clean = hits == 0 ? 8 : std::countr_zero(hits) / 8;
    in += clean;
    out += clean;
    if (hits != 0) out = escape_one(static_cast<unsigned char>(*in++), out);
  }
  for (; in != end; ++in) {
    const auto c = static_cast<unsigned char>(*in);
    if (c >= 0x20 && c != '"' && c != '\\') {
      *out++ = *in;
    } else {
      out = escape_one(c, out);
    }
  }
  return out;
}

char* escape_repaired(std::string_view text, char* out) noexcept {
  std::size_t run = 0;  // well-formed bytes at the beginning of `text`
  while (run != text.size()) {
    bool good = false;
    const std::size_t step = utf8_step(text.substr(run), good);
    if (good) {
      run += step;
      continue;
    }
    out = escape(text.substr(0, run), out);
    std::memcpy(out, kReplacement.data(), kReplacement.size());
    out += kReplacement.size();
    text.remove_prefix(run + step);
    run = 0;
  }
  return escape(text, out);
}

char* escape_shown(std::string_view text, char* out) noexcept {
  std::size_t run = 0;  // well-formed bytes at the beginning of `text`
  while (run != text.size()) {
    bool good = false;
    const std::size_t step = utf8_step(text.substr(run), good);
    if (good) {
      run += step;
      continue;
    }
    out = escape(text.substr(0, run), out);
    for (const char bad : text.substr(run, step)) {
      const auto byte = static_cast<unsigned char>(bad);
      std::memcpy(out, "\\\\x", 3);
      out[3] = kHex[byte >> 4];
      out[4] = kHex[byte & 15];
      out += 5;
    }
    text.remove_prefix(run + step);
    run = 0;
  }
  return escape(text, out);
}

std::size_t unescape(std::string_view text, char* out) {
  char* const begin = out;
  std::size_t at = 0;
  while (at < text.size()) {
    const auto* slash = static_cast<const char*>(std::memchr(text.data() + at, '\\', text.size() - at));
    const std::size_t run = (slash == nullptr ? text.size() : static_cast<std::size_t>(slash - text.data())) - at;
    std::memcpy(out, text.data() + at, run);
    out += run;
    at += run;
    if (slash == nullptr) break;
    const char kind = at + 1 < text.size() ? text[at + 1] : '\0';
    if (kind == 'u') {
      const int unit = code_unit(text, at);
      if (unit < 0) {
        *out++ = '\\';
        ++at;
        continue;
      }
      at += 6;
      auto point = static_cast<std::uint32_t>(unit);
      if (unit >= 0xD800 && unit < 0xDC00) {
        const int second = code_unit(text, at);
        if (second >= 0xDC00 && second < 0xE000) {
          point = 0x10000 + ((point - 0xD800) << 10) + (static_cast<std::uint32_t>(second) - 0xDC00);
          at += 6;
        }
      }
      if (point >= 0xD800 && point < 0xE000) point = 0xFFFD;
      out = put_utf8(point, out);
      continue;
    }
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeaning = "\"\\/\b\f\n\r\t";
    const std::size_t found = kind == '\0' ? std::string_view::npos : kLetters.find(kind);
    if (found == std::string_view::npos) {
      *out++ = '\\';
      ++at;
    } else {
      *out++ = kMeaning[found];
      at += 2;
    }
  }
  return static_cast<std::size_t>(out - begin);
}

bool unescaped_equals(std::string_view raw, std::string_view name) {
  if (raw.size() < name.size()) return false;
  std::array<char, 256> small;
  if (raw.size() <= small.size()) return std::string_view(small.data(), unescape(raw, small.data())) == name;
  std::string large(raw.size(), '\0');
  large.resize(unescape(raw, large.data()));
  return large == name;
}

bool escapes_valid(std::string_view text) noexcept {
  std::size_t at = 0;
  while ((at = text.find('\\', at)) != std::string_view::npos) {
    if (at + 1 == text.size()) return false;
    if (text[at + 1] == 'u') {
      if (code_unit(text, at) < 0) return false;
      at += 6;
    } else {
      if (std::string_view("\"\\/bfnrt").find(text[at + 1]) == std::string_view::npos) return false;
      at += 2;
    }
  }
  return true;
}

bool is_literal(std::string_view text) noexcept {
  return text == "true" || text == "false" || text == "null" || is_json_number(text);
}

FieldValue classify(std::string_view value, bool may_escape) noexcept {
  switch (value.empty() ? '\0' : value.front()) {
    case '"': {
      const std::string_view inside = value.size() < 2 ? std::string_view() : value.substr(1, value.size() - 2);
      return {ValueType::string, inside, may_escape && inside.find('\\') != std::string_view::npos};
    }
    case '{':
      return {ValueType::object, value};
    case '[':
      return {ValueType::array, value};
    case 't':
    case 'f':
      if (value == "true" || value == "false") return {ValueType::boolean, value};
      break;
    case 'n':
      if (value == "null") return {ValueType::null, value};
      break;
    default:
      if (is_json_number(value)) return {ValueType::number, value};
  }
  return {ValueType::string, value};
}

bool next_member(std::string_view& rest, TextMember& member, bool keys) noexcept {
  const char* p = rest.data();
  const char* const end = p + rest.size();
  const auto skip_blanks = [&] {
    while (p != end && is_blank(*p)) ++p;
  };
  // From an opening quote to behind the closing one.
  const auto skip_string = [&] {
    for (++p; p != end; ++p) {
      if (*p == '"') {
        ++p;
        return true;
      }
      if (*p == '\\' && ++p == end) break;
    }
    return false;
  };
  skip_blanks();
  if (p != end && *p == ',') ++p;
  skip_blanks();
  if (p == end) return false;
  if (keys) {
    const char* const key = p;
    if (*p != '"' || !skip_string()) return false;
    member.key = {key + 1, static_cast<std::size_t>(p - key - 2)};
    skip_blanks();
    if (p == end || *p++ != ':') return false;
    skip_blanks();
  }
  const char* const value = p;
  for (std::size_t depth = 0; p != end;) {
    const char c = *p;
    if (c == '"') {
      if (!skip_string()) return false;
      continue;
    }
    if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      if (depth == 0) break;
      --depth;
    } else if (c == ',' && depth == 0) {
      break;
    }
    ++p;
  }
  const char* value_end = p;
  while (value_end != value && is_blank(value_end[-1])) --value_end;
  if (value == value_end) return false;
  member.value = {value, static_cast<std::size_t>(value_end - value)};
  rest = {p, static_cast<std::size_t>(end - p)};
  return true;
}

bool key_equals(std::string_view raw, std::string_view name) {
  if (raw == name && raw.find('\\') == std::string_view::npos) return true;
  return raw.find('\\') != std::string_view::npos && unescaped_equals(raw, name);
}

}  // namespace json

bool is_json_number(std::string_view text) noexcept {
  const char* p = text.data();
  const char* const end = p + text.size();
  const auto digits = [&] {
    const char* const begin = p;
    while (p != end && *p >= '0' && *p <= '9') ++p;
    return p - begin;
  };
  if (p != end && *p == '-') ++p;
  const char* const whole = p;
  const auto whole_digits = digits();
  if (whole_digits == 0 || (whole_digits > 1 && *whole == '0')) return false;
  if (p != end && *p == '.') {
    ++p;
    if (digits() == 0) return false;
  }
  if (p != end && (*p == 'e' || *p == 'E')) {
    ++p;
    if (p != end && (*p == '+' || *p == '-')) ++p;
    if (digits() == 0) return false;
  }
  return p == end;
}

std::string_view json_string(std::string_view text, Arena& arena) {
  const std::size_t room = text.size() * 6 + 10;
  char* const begin = arena.allocate(room);
  *begin = '"';
  char* end = valid_utf8(text) ? json::escape(text, begin + 1) : json::escape_repaired(text, begin + 1);
  *end++ = '"';
  const auto length = static_cast<std::size_t>(end - begin);
  arena.shrink_last(room - length);
  return {begin, length};
}

std::string json_string(std::string_view text) {
  Arena arena;
  return std::string(json_string(text, arena));
}

std::string_view json_unescape(std::string_view text, Arena& arena) {
  if (text.find('\\') == std::string_view::npos) return text;
  char* const place = arena.allocate(text.size());
  const std::size_t length = json::unescape(text, place);
  arena.shrink_last(text.size() - length);
  return {place, length};
}

}  // namespace logpipe
