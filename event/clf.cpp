#include "event/clf.hpp"

#include <cstddef>

#include "event/byte_search.hpp"

namespace logpipe {
namespace {

constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

int hex_digit(char c) noexcept {
  if (is_digit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

char unescaped(char c) noexcept {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    default:
      return c;
  }
}

std::string_view unescape(std::string_view text, Arena& arena) {
  char* const begin = arena.allocate(text.size());
  char* out = begin;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      *out++ = text[i];
      continue;
    }
    const char kind = text[++i];
    if (kind == 'x' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
      *out++ = static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      if (kind == 'x') *out++ = '\\';
      *out++ = unescaped(kind);
    }
  }
  const std::string_view done = slice(begin, out);
  arena.shrink_last(text.size() - done.size());
  return done;
}

/// Takes a line apart from left to right.
class Reader {
 public:
  Reader(std::string_view line, const ScanOut& out) noexcept
      : at_(line.data()), end_(line.data() + line.size()), out_(out) {}

  bool run() {
    return word("client") && word("ident") && user_and_time() && request() && number("status", 3) &&
           (at_ == end_ || (number("bytes", 19) && rest()));
  }

 private:
  void put(std::string_view key, std::string_view value) const {
    if (value != "-") out_.text(key, value);
  }

  /// The blank behind a value, or the end.
  bool separated() noexcept {
    if (at_ == end_) return true;
    return *at_++ == ' ';
  }

  bool word(std::string_view key) {
    const char* const stop = find_byte(at_, end_, ' ');
    if (stop == end_ || stop == at_) return false;
    put(key, slice(at_, stop));
    at_ = stop + 1;
    return true;
  }

  /// A user's name may have blanks in it; what ends it is the bracket.
  bool user_and_time() {
    const char* const bracket = find_text(at_, end_, " [");
    if (bracket == end_ || bracket == at_) return false;
    put("user", slice(at_, bracket));
    const char* const time = bracket + 2;
    const char* const stop = find_byte(time, end_, ']');
    if (stop == end_ || stop == time) return false;
    put("time", slice(time, stop));
    at_ = stop + 1;
    return separated();
  }

  /// A text in quotes, without them.
  bool quoted(std::string_view& text, bool& escaped) noexcept {
    if (at_ == end_ || *at_ != '"') return false;
    const char* const begin = ++at_;
    escaped = false;
    while (true) {
      const char* const stop = find_byte(at_, end_, '"', '\\');
      if (stop == end_) return false;
      if (*stop == '"') {
        text = slice(begin, stop);
        at_ = stop + 1;
        return separated();
      }
      escaped = true;
      if (stop + 1 == end_) return false;
      at_ = stop + 2;
    }
  }

  bool request() {
    std::string_view text;
    bool escaped = false;
    if (!quoted(text, escaped)) return false;
    if (escaped) text = unescape(text, out_.arena);
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    const char* const method = find_byte(begin, end, ' ');
    const char* protocol = end;
    while (protocol != begin && protocol[-1] != ' ') --protocol;
    if (is_method(slice(begin, method)) && protocol > method + 1 && slice(protocol, end).starts_with("HTTP/")) {
      out_.text("method", slice(begin, method));
      out_.text("path", slice(method + 1, protocol - 1));
      out_.text("protocol", slice(protocol, end));
    } else {
      put("request", text);
    }
    return true;
  }

  static bool is_method(std::string_view text) noexcept {
    for (const char c : text) {
      if ((c < 'A' || c > 'Z') && c != '-' && c != '_') return false;
    }
    return !text.empty() && text != "-";
  }

  bool number(std::string_view key, std::ptrdiff_t digits_max) {
    const char* stop = at_;
    while (stop != end_ && is_digit(*stop)) ++stop;
    if (stop == at_) {
      if (at_ == end_ || *at_ != '-') return false;
      ++at_;
      return separated();
    }
    if (stop - at_ > digits_max) return false;
    out_.bare(key, slice(at_, stop));
    at_ = stop;
    return separated();
  }

  bool rest() {
    if (at_ != end_ && *at_ == '"' && !text_in_quotes("referer")) return false;
    if (at_ != end_ && *at_ == '"' && !text_in_quotes("agent")) return false;
    if (at_ != end_) out_.text("rest", slice(at_, end_));
    return true;
  }

  bool text_in_quotes(std::string_view key) {
    std::string_view text;
    bool escaped = false;
    if (!quoted(text, escaped)) return false;
    put(key, escaped ? unescape(text, out_.arena) : text);
    return true;
  }

  const char* at_;
  const char* const end_;
  const ScanOut& out_;
};

}  // namespace

bool scan_clf(std::string_view line, const ScanOut& out) {
  return Reader(line, out).run();
}

}  // namespace logpipe
