#include <doctest/doctest.h>
#include <simdjson.h>

#include <random>
#include <string>

#include "event/json.hpp"

using namespace logpipe;

namespace {

std::string appended(std::string_view text) {
  Encoded out;
  append_json_string(text, out);
  iovec slice;
  REQUIRE(out.iovecs(nullptr, 0, &slice, 1) == 1);
  return {static_cast<const char*>(slice.iov_base), slice.iov_len};
}

std::string unescaped(std::string_view text) {
  Arena arena;
  return std::string(json_unescape(text, arena));
}

}  // namespace

TEST_CASE("json string: what must be escaped is, and nothing else") {
  CHECK(json_string("") == "\"\"");
  CHECK(json_string("a\"b\\c/\b\f\n\r\t") == R"("a\"b\\c/\b\f\n\r\t")");
  CHECK(json_string(std::string_view("\0\x1f\x7f", 3)) == "\"\\u0000\\u001f\x7f\"");
  CHECK(json_string("grüße 日本 😀") == "\"grüße 日本 😀\"");
  for (std::size_t at = 0; at < 20; ++at) {
    for (int c = 0; c < 0x80; ++c) {
      std::string text(20, 'x');
      text[at] = static_cast<char>(c);
      const std::string json = json_string(text);
      const bool plain = c >= 0x20 && c != '"' && c != '\\';
      REQUIRE((json.size() == 22) == plain);
      REQUIRE(unescaped(std::string_view(json).substr(1, json.size() - 2)) == text);
    }
  }
}

TEST_CASE("json string: bytes that are not UTF-8 become U+FFFD, one per broken character") {
  const auto check = [](std::string_view text, std::string_view expected) {
    CAPTURE(text);
    CHECK(json_string(text) == '"' + std::string(expected) + '"');
    CHECK(appended(text) == '"' + std::string(expected) + '"');
  };
  check(
      "a\xff"
      "b",
      "a\uFFFD"
      "b");
  check("\xe2\x82", "\uFFFD");
  check("\xe2\x82\xac", "\xe2\x82\xac");
  check(
      "\xe2\x82"
      "A",
      "\uFFFD"
      "A");
  check("\xc0\xaf", "\uFFFD\uFFFD");
  check("\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD");
  check("\xf0\x80\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD");
  check("\xf4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD");
  check(
      "\xf1\x80\x80\xe1\x80\xc2"
      "b\x80",
      "\uFFFD\uFFFD\uFFFD"
      "b\uFFFD");
  check("\"\xff\n", "\\\"\uFFFD\\n");
}

TEST_CASE("json string: random bytes become a string the DOM accepts, in all three ways the same") {
  std::mt19937_64 random(31337);
  simdjson::dom::parser parser;
  for (int round = 0; round < 1500; ++round) {
    CAPTURE(round);
    std::string text;
    const std::size_t length = random() % (round % 20 == 0 ? 20'000 : 40);
    const int kind = static_cast<int>(random() % 3);
    while (text.size() < length) {
      const auto byte = static_cast<unsigned char>(random());
      if (kind == 0) {
        text += static_cast<char>(byte);
      } else if (kind == 1) {
        text += static_cast<char>(byte & 0x7F);
      } else {
        text += (byte % 4 == 0)   ? "\xf0\x9f\x98\x80"
                : (byte % 4 == 1) ? "\xe6\x97\xa5"
                : (byte % 4 == 2) ? "\xc3\xa9"
                                  : "x\n";
      }
    }
    Arena arena;
    const std::string json = json_string(text);
    REQUIRE(appended(text) == json);
    REQUIRE(json_string(text, arena) == json);
    simdjson::dom::element dom;
    REQUIRE(parser.parse(json).get(dom) == simdjson::SUCCESS);
    REQUIRE(valid_utf8(json));
    if (valid_utf8(text)) REQUIRE(std::string_view(dom) == text);
    REQUIRE(unescaped(std::string_view(json).substr(1, json.size() - 2)) == std::string_view(dom));
  }
}

TEST_CASE("json unescape: escapes, pairs, and what is none") {
  CHECK(unescaped("plain") == "plain");
  CHECK(unescaped(R"(\"\\\/\b\f\n\r\t)") == "\"\\/\b\f\n\r\t");
  CHECK(unescaped(R"(\u0041\u00e9\u20AC\ud83d\ude00)") == "Aé€😀");
  CHECK(unescaped(R"(\u0000)") == std::string(1, '\0'));
  CHECK(unescaped(R"(\ud83d)") == "\uFFFD");
  CHECK(unescaped(R"(\ude00x)") == "\uFFFDx");
  CHECK(unescaped(R"(\ud83d\u0041)") ==
        "\uFFFD"
        "A");
  CHECK(unescaped(R"(\ud83d\ud83d\ude00)") == "\uFFFD😀");
  CHECK(unescaped(R"(\x\u12\u12g4\)") == R"(\x\u12\u12g4\)");
  CHECK(unescaped(std::string_view("\\\0x", 3)) == std::string_view("\\\0x", 3));
  const std::string_view text = "no copy";
  Arena arena;
  CHECK(json_unescape(text, arena).data() == text.data());
}

TEST_CASE("json number: the grammar and nothing else") {
  for (const char* good : {"0", "-0", "10", "-12.50", "1e5", "1E+05", "0.1e-7", "123456789012345678901234567890"}) {
    CAPTURE(good);
    CHECK(is_json_number(good));
  }
  for (const char* bad :
       {"", "-", "01", "-01", "1.", ".5", "1e", "1e+", "+1", "0x1", "1 ", "NaN", "Infinity", "1.2.3", "1-2"}) {
    CAPTURE(bad);
    CHECK_FALSE(is_json_number(bad));
  }
}
