#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace logpipe::test {

/// RFC 8259 as plainly as it can be written: decides whether a line is one JSON object, and yields its members.
class JsonReference {
 public:
  using Members = std::vector<std::pair<std::string, std::string>>;  ///< key and value, both as written

  static bool is_object(std::string_view line, Members* members = nullptr) {
    JsonReference reader(line);
    reader.blanks();
    if (!reader.object(members)) return false;
    reader.blanks();
    return reader.at_ == line.size();
  }

 private:
  explicit JsonReference(std::string_view text) : text_(text) {}
  int peek() const { return at_ < text_.size() ? static_cast<unsigned char>(text_[at_]) : -1; }
  bool eat(char c) {
    if (peek() != static_cast<unsigned char>(c)) return false;
    ++at_;
    return true;
  }
  bool eat(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  void blanks() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
  }
  bool object(Members* members = nullptr) {
    if (!eat('{')) return false;
    blanks();
    if (eat('}')) return true;
    do {
      blanks();
      const std::size_t key = at_;
      if (!string()) return false;
      const std::size_t key_end = at_;
      blanks();
      if (!eat(':')) return false;
      blanks();
      const std::size_t value_begin = at_;
      if (!value()) return false;
      if (members != nullptr) {
        members->emplace_back(text_.substr(key, key_end - key), text_.substr(value_begin, at_ - value_begin));
      }
      blanks();
    } while (eat(','));
    return eat('}');
  }
  bool array() {
    if (!eat('[')) return false;
    blanks();
    if (eat(']')) return true;
    do {
      blanks();
      if (!value()) return false;
      blanks();
    } while (eat(','));
    return eat(']');
  }
  bool value() {
    switch (peek()) {
      case '{':
        return object();
      case '[':
        return array();
      case '"':
        return string();
      case 't':
        return eat(std::string_view("true"));
      case 'f':
        return eat(std::string_view("false"));
      case 'n':
        return eat(std::string_view("null"));
      default:
        return number();
    }
  }
  bool digits() {
    const std::size_t begin = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ != begin;
  }
  bool number() {
    eat('-');
    if (!eat('0') && !digits()) return false;
    if (eat('.') && !digits()) return false;
    if (eat('e') || eat('E')) {
      if (!eat('+')) eat('-');
      if (!digits()) return false;
    }
    return true;
  }
  bool hex4() {
    for (int i = 0; i < 4; ++i, ++at_) {
      const int c = peek();
      if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))) return false;
    }
    return true;
  }
  bool continuation(int low = 0x80, int high = 0xBF) {
    if (peek() < low || peek() > high) return false;
    ++at_;
    return true;
  }
  bool string() {
    if (!eat('"')) return false;
    while (true) {
      const int c = peek();
      if (c < 0x20) return false;
      ++at_;
      if (c == '"') return true;
      if (c == '\\') {
        if (eat('u')) {
          if (!hex4()) return false;
        } else if (peek() < 0 ||
                   std::string_view("\"\\/bfnrt").find(static_cast<char>(peek())) == std::string_view::npos) {
          return false;
        } else {
          ++at_;
        }
      } else if (c >= 0x80) {
        bool good = false;
        if (c >= 0xC2 && c <= 0xDF) good = continuation();
        if (c >= 0xE0 && c <= 0xEF) {
          good = continuation(c == 0xE0 ? 0xA0 : 0x80, c == 0xED ? 0x9F : 0xBF) && continuation();
        }
        if (c >= 0xF0 && c <= 0xF4) {
          good = continuation(c == 0xF0 ? 0x90 : 0x80, c == 0xF4 ? 0x8F : 0xBF) && continuation() && continuation();
        }
        if (!good) return false;
      }
    }
  }

  std::string_view text_;
  std::size_t at_{0};
};

}  // namespace logpipe::test
