#pragma once

#include <cctype>
#include <cstddef>
#include <string_view>

namespace logpipe::test {

/// Whether a text is one JSON value by RFC 8259, with nothing but white space after it. Says yes or no, keeps nothing.
class JsonCheck {
 public:
  static bool valid(std::string_view text) {
    JsonCheck check(text);
    return check.value() && (check.space(), check.text_.empty());
  }

 private:
  explicit JsonCheck(std::string_view text) : text_(text) {}

  void space() {
    while (!text_.empty() && std::string_view(" \t\r\n").find(text_.front()) != std::string_view::npos) take();
  }
  void take(std::size_t n = 1) { text_.remove_prefix(n); }
  bool literal(std::string_view word) {
    if (!text_.starts_with(word)) return false;
    take(word.size());
    return true;
  }
  bool digits() {
    std::size_t n = 0;
    while (n < text_.size() && std::isdigit(static_cast<unsigned char>(text_[n])) != 0) ++n;
    take(n);
    return n > 0;
  }
  bool number() {
    (void)literal("-");
    const bool zero = text_.starts_with("0");
    if (!(zero ? literal("0") : digits())) return false;
    if (literal(".") && !digits()) return false;
    if (literal("e") || literal("E")) {
      if (!literal("+")) (void)literal("-");
      return digits();
    }
    return true;
  }
  bool string() {
    if (!literal("\"")) return false;
    while (!text_.empty()) {
      const char c = text_.front();
      take();
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') continue;
      if (text_.empty()) return false;
      const char escape = text_.front();
      take();
      if (escape == 'u') {
        for (int i = 0; i < 4; ++i) {
          if (text_.empty() || std::isxdigit(static_cast<unsigned char>(text_.front())) == 0) return false;
          take();
        }
      } else if (std::string_view("\"\\/bfnrt").find(escape) == std::string_view::npos) {
        return false;
      }
    }
    return false;
  }
  bool members(char end, bool keys) {
    take();
    space();
    if (text_.starts_with(end)) return take(), true;
    for (;;) {
      space();
      if (keys && (!string() || (space(), !literal(":")))) return false;
      if (!value()) return false;
      space();
      if (text_.starts_with(end)) return take(), true;
      if (!literal(",")) return false;
    }
  }
  bool value() {
    space();
    if (text_.starts_with("{")) return members('}', true);
    if (text_.starts_with("[")) return members(']', false);
    if (text_.starts_with("\"")) return string();
    return literal("true") || literal("false") || literal("null") || number();
  }

  std::string_view text_;
};

}  // namespace logpipe::test
