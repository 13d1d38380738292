#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace logpipe::test {

/// Random JSON lines and ways to break them, from a fixed seed.
class JsonCorpus {
 public:
  explicit JsonCorpus(std::uint64_t seed) : random_(seed) {}

  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

  std::string string() {
    static constexpr std::string_view kPieces[] = {
        "a", "level",    "error\\n",  "\\\"", "\\\\", "\\u00e9", "é",   "日本", "😀",   "\\/",     "\\ud83d\\ude00",
        " ", "{",        "}",         "[x]",  ",",    ":",       "key", "0",    "\\t", "\\u0041", "value",
        "-", "/var/log", "\\b\\f\\r", "'",    "#"};
    std::string text = "\"";
    for (std::uint64_t n = below(4); n > 0; --n) text += kPieces[below(std::size(kPieces))];
    return text + '"';
  }
  std::string key() {
    static constexpr std::string_view kKeys[] = {
        "\"level\"", "\"a\"",           "\"msg\"",      "\"user\"", "\"status\"",
        "\"\"",      "\"abcdefg\"",     "\"abcdefgh\"", "\"tags\"", "\"request_identifier\"",
        "\"lvl\"",   "\"l\\u0065vel\"", "\"a\\\"b\"",   "\"ключ\"", "\"request_identifiez\""};
    return one_in(12) ? string() : std::string(kKeys[below(std::size(kKeys))]);
  }
  std::string blank() {
    static constexpr std::string_view kBlanks[] = {" ", "  ", "\t", "\r", " \t "};
    return one_in(8) ? std::string(kBlanks[below(std::size(kBlanks))]) : std::string();
  }
  std::string scalar() {
    static constexpr std::string_view kScalars[] = {"true",   "false",    "null", "0",        "-1",    "12345",
                                                    "1.5e10", "-0.25E-3", "1E+2", "99999999", "0.000", "1700000000000"};
    return one_in(2) ? string() : std::string(kScalars[below(std::size(kScalars))]);
  }
  std::string value(int depth = 0) {
    if (depth > 3 || !one_in(4)) return scalar();
    if (one_in(2)) return object(depth + 1, 3);
    std::string text = "[" + blank();
    for (std::uint64_t n = below(4), i = 0; i < n; ++i) {
      if (i != 0) text += ',' + blank();
      text += value(depth + 1) + blank();
    }
    return text + ']';
  }
  std::string object(int depth = 0, std::uint64_t members_max = 12) {
    std::string text = "{" + blank();
    for (std::uint64_t n = below(members_max + 1), i = 0; i < n; ++i) {
      if (i != 0) text += ',' + blank();
      text += key() + blank() + ':' + blank() + value(depth) + blank();
    }
    return text + '}';
  }
  /// A whole object, blanks and a CR around it at times.
  std::string line() { return blank() + object() + blank() + (one_in(6) ? "\r" : ""); }
  std::string garbage() {
    static constexpr std::string_view kLines[] = {"",
                                                  " ",
                                                  "plain text",
                                                  "say \"hello",
                                                  "{",
                                                  "}",
                                                  "{}{}",
                                                  "{\"a\":1}{\"b\":2}",
                                                  "{\"a\":1} x",
                                                  "{\"a\":1,}",
                                                  "{,\"a\":1}",
                                                  "{\"a\"}",
                                                  "{\"a\":}",
                                                  "{\"a\" 1}",
                                                  "{\"a\":1 2}",
                                                  "{\"a\":[1,}]",
                                                  "{\"a\":[1}}",
                                                  "{\"a\":{\"b\":1]}",
                                                  "{a:1}",
                                                  "[1,2]",
                                                  "\"string\"",
                                                  "12",
                                                  "{\"a\":\"tab\there\"}",
                                                  "{\"a\":\"\xff\"}",
                                                  "\xe2\x82",
                                                  "{\"a\":INFO}",
                                                  "{\"a\":01}",
                                                  "{\"a\":\"\\x\"}",
                                                  "{\"a\":x\"y\"}",
                                                  "{\"a\":\"x\"y}",
                                                  "{\"a\":\"x\"\"y\"}",
                                                  "\\",
                                                  "{\"a\":1}\\",
                                                  "{\"a\":\"\\\"}",
                                                  "{\"a\":1}}",
                                                  "{{\"a\":1}",
                                                  "{\"a\":1:2}",
                                                  "{\"a\",\"b\"}",
                                                  "{\"a\":[,]}",
                                                  "{\"a\":[1,]}",
                                                  "{\"a\":[:]}"};
    return std::string(kLines[below(std::size(kLines))]);
  }
  /// Changes a few bytes anywhere.
  void mutate(std::string& text, std::uint64_t times) {
    static constexpr std::string_view kBytes = "{}[]:,\"\\ \n\r\t0a\x01\x80\xc3\xff-t";
    for (; times > 0 && !text.empty(); --times) {
      const std::size_t at = below(text.size());
      const char byte = one_in(4) ? static_cast<char>(below(256)) : kBytes[below(kBytes.size())];
      switch (below(4)) {
        case 0:
          text.erase(at, 1 + below(3));
          break;
        case 1:
          text.insert(at, 1, byte);
          break;
        case 2:
          text.insert(at, text.substr(below(text.size()), below(20)));
          break;
        default:
          text[at] = byte;
      }
    }
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace logpipe::test
