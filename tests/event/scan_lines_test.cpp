#include "event/scan_lines.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "event/byte_search.hpp"
#include "tests/event/scanned.hpp"
#include "tests/support/blocks.hpp"

using namespace logpipe;
using test::kRefused;

TEST_CASE("scan_lines: what a scanner refuses stays text, and what it left behind is gone") {
  BlockPool pool(1 << 20);
  Batch batch;
  batch.open(freeze(test::block_of(pool, "good\nbad\ngood\n")));
  const ParseCount count = scan_lines(batch, [](std::string_view line, const ScanOut& out) {
    out.text("line", line);
    return line == "good";
  });
  CHECK(count.parsed == 2);
  CHECK(count.failed == 1);
  CHECK(batch.fields.size() == 2);
  CHECK(batch.events[1].form == Form::text);
  CHECK(batch.events[1].parse_failed);
  CHECK(batch.events[2].form == Form::fields);
  CHECK(batch.events[2].index_begin == 1);
  batch.close();
}

TEST_CASE("scan_json: the members of an object become fields") {
  const auto scan = [](std::string_view text, const ScanOut& out) { return scan_json(text, true, out); };
  struct Row {
    std::string_view text;
    std::string_view fields;
  };
  const Row rows[] = {
      {R"({"a":1,"b":"x\ny","c":{"d":[1,2]},"e":null})", R"({"a":1,"b":"x\ny","c":{"d":[1,2]},"e":null})"},
      {R"( { "a" : 1.50 , "b" : "1.50" } )", R"({"a":1.50,"b":"1.50"})"},
      {R"({"a":1,"a":2})", R"({"a":1})"},
      {R"({"a\"b":true})", R"({"a\"b":true})"},
      {"{}", "{}"},
      {"", kRefused},
      {"[1]", kRefused},
      {"{\"a\":1", kRefused},
      {"{\"a\":1}}", kRefused},
      {"{\"a\":01}", kRefused},
      {"{\"a\":{\"b\":}}", kRefused},
      {"{\"a\":\"\xFF\"}", kRefused},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(test::scanned(row.text, scan) == row.fields);
  }
}

TEST_CASE("scan_json: a value that was written over several lines is on one") {
  const auto scan = [](std::string_view text, const ScanOut& out) { return scan_json(text, false, out); };
  CHECK(test::scanned("{\n  \"a\": {\n\"b\":\"\\n\"},\r\n \"c\":[1,\n2]}", scan) == R"({"a":{ "b":"\n"},"c":[1, 2]})");
}

TEST_CASE("scan_json: an object may have so many members and no more, doubled ones among them") {
  const auto scan = [](std::string_view text, const ScanOut& out) { return scan_json(text, false, out); };
  std::string distinct;
  std::string same;
  for (std::size_t i = 0; i < kMembersMax; ++i) {
    distinct += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":1";
    same += i == 0 ? "\"k\":1" : ",\"k\":1";
  }
  CHECK(test::scanned("{" + distinct + "}", scan) == "{" + distinct + "}");
  CHECK(test::scanned("{" + distinct + ",\"k0\":1}", scan) == test::kRefused);
  CHECK(test::scanned("{" + same + "}", scan) == "{\"k\":1}");
}

TEST_CASE("fields_json: names are prefixed and escaped, bytes that are not UTF-8 replaced") {
  Arena arena;
  const std::vector<FieldRef> fields = {{"a\"", "x", true, false},
                                        {"n", "1", false, false},
                                        {"s", "1", true, false},
                                        {"j", "[1]", true, true},
                                        {"bad", "\xFF", false, false}};
  CHECK(fields_json(fields, "p.", arena) ==
        "{\"p.a\\\"\":\"x\",\"p.n\":1,\"p.s\":\"1\",\"p.j\":[1],\"p.bad\":\"\xEF\xBF\xBD\"}");
  CHECK(fields_json({}, "p.", arena) == "{}");
}

TEST_CASE("byte_search: finds what a plain search finds, at every distance") {
  for (std::size_t length = 0; length < 70; ++length) {
    for (std::size_t place = 0; place <= length; ++place) {
      std::vector<char> text(length, 'a');
      if (place < length) text[place] = ',';
      const char* const begin = text.data();
      const char* const end = begin + length;
      REQUIRE(find_byte(begin, end, ',') == begin + place);
      REQUIRE(find_byte(begin, end, '\\', ',') == begin + place);
      if (place + 1 >= length) continue;
      text[place + 1] = ';';
      REQUIRE(find_text(begin, end, ",;") == begin + place);
      REQUIRE(find_text(begin, end, ";;") == end);
      REQUIRE(find_text(begin, end, ",;a") == (place + 2 < length ? begin + place : end));
    }
  }
}
