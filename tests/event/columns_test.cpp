#include "event/columns.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/event/scanned.hpp"

using namespace logpipe;
using test::kRefused;

namespace {

std::string csv(std::string_view line, CsvScanner::Columns columns = CsvScanner::Columns::strict,
                char separator = ',') {
  const CsvScanner scanner({"a", "b", "c"}, separator, columns);
  return test::scanned(line, [&](std::string_view text, const ScanOut& out) { return scanner.scan(text, out); });
}

std::string pairs(std::string_view line, std::string fields = " ", std::string pair = "=") {
  const KeyValueScanner scanner(std::move(fields), std::move(pair));
  return test::scanned(line, [&](std::string_view text, const ScanOut& out) { return scanner.scan(text, out); });
}

}  // namespace

TEST_CASE("csv: values in their columns, quotes as RFC 4180 has them") {
  CHECK(csv("1,x,true") == R"({"a":1,"b":"x","c":true})");
  CHECK(csv("\"1\",\"x,y\",\"say \"\"hi\"\"\"") == R"({"a":"1","b":"x,y","c":"say \"hi\""})");
  CHECK(csv(",,") == "{}");
  CHECK(csv("\"\",,\" \"") == R"({"a":"","c":" "})");
  CHECK(csv(" 1,x y, z") == R"({"a":" 1","b":"x y","c":" z"})");
  CHECK(csv("a\"b,x,\"two\nlines\"") == R"({"a":"a\"b","b":"x","c":"two\nlines"})");
  CHECK(csv("1;2;3", CsvScanner::Columns::strict, ';') == R"({"a":1,"b":2,"c":3})");
  CHECK(csv("1\t2,5\t3", CsvScanner::Columns::strict, '\t') == R"({"a":1,"b":"2,5","c":3})");
  for (const std::string_view bad : {"", "1,2", "1,2,3,4", "\"open,2,3", "\"1\"x,2,3", "1,2,3,"}) {
    CAPTURE(bad);
    CHECK(csv(bad) == kRefused);
  }
}

TEST_CASE("csv: fewer and more columns than names, where that is allowed") {
  const auto loose = CsvScanner::Columns::loose;
  CHECK(csv("1", loose) == R"({"a":1})");
  CHECK(csv("1,2,3,4,\"5\"", loose) == R"({"a":1,"b":2,"c":3,"column4":4,"column5":"5"})");
  CHECK(csv("", loose) == "{}");
  CHECK(csv("\"open", loose) == kRefused);
  CHECK(csv(std::string(CsvScanner::kColumnsMax - 1, ','), loose) == "{}");
  CHECK(csv(std::string(CsvScanner::kColumnsMax, ','), loose) == kRefused);
}

TEST_CASE("csv: what was written comes back") {
  std::mt19937_64 random(2);
  const std::string alphabet = "ab,\"\n\r; ";
  for (int round = 0; round < 10'000; ++round) {
    std::string line;
    std::string expected = "{";
    for (const char* name : {"a", "b", "c"}) {
      std::string value;
      for (std::size_t i = random() % 12; i > 0; --i) value += alphabet[random() % alphabet.size()];
      if (!line.empty() || name[0] != 'a') line += ',';
      line += '"';
      for (const char c : value) line += c == '"' ? std::string("\"\"") : std::string(1, c);
      line += '"';
      expected += (expected.size() > 1 ? ",\"" : "\"") + std::string(name) + "\":" + json_string(value);
    }
    CAPTURE(line);
    REQUIRE(csv(line) == expected + "}");
  }
}

TEST_CASE("kv: pairs with separators of one's own") {
  CHECK(pairs("a=1 b=x c=") == R"({"a":1,"b":"x","c":""})");
  CHECK(pairs("a=1   b=\"x y\" c='it\\'s'") == R"({"a":1,"b":"x y","c":"it's"})");
  CHECK(pairs("a: 1; b: \"x; y\" ; c : z ", ";", ":") == R"({"a":1,"b":"x; y","c":"z"})");
  CHECK(pairs("a=>1||b=>2||", "||", "=>") == R"({"a":1,"b":2})");
  CHECK(pairs("flag a=1 =x other") == R"({"a":1})");
  CHECK(pairs("a=1 a=2") == R"({"a":1})");
  CHECK(pairs("u=/x?q=1 v=a=b") == R"({"u":"/x?q=1","v":"a=b"})");
  CHECK(pairs("a=\"open b=2") == R"({"a":"\"open","b":2})");
  CHECK(pairs("a=\"x\"y b=2") == R"({"a":"x","b":2})");
  CHECK(pairs("a=\"\\") == R"({"a":"\"\\"})");
  for (const std::string_view bad : {"", " ", "words only", "=", "=x"}) {
    CAPTURE(bad);
    CHECK(pairs(bad) == kRefused);
  }
  std::string many;
  for (int i = 0; i < 513; ++i) many += "k" + std::to_string(i) + "=1 ";
  CHECK(pairs(many) == kRefused);
  // Doubled keys count, since each is compared with all that are there.
  many.clear();
  for (int i = 0; i < 513; ++i) many += "k=1 ";
  CHECK(pairs(many) == kRefused);
  CHECK(pairs("a:" + std::string(1 << 20, ' ') + "1;b:2", ";", ":") == R"({"a":1,"b":2})");
}

TEST_CASE("cri: lines of containers") {
  const auto cri = [](std::string_view line) { return test::scanned(line, scan_cri); };
  CHECK(cri("2016-10-06T00:17:09.669794202Z stdout P log content 1") ==
        R"({"time":"2016-10-06T00:17:09.669794202Z","stream":"stdout","tag":"P","message":"log content 1"})");
  CHECK(cri("2016-10-06T00:17:09.669794202+02:00 stderr F:x:y  two") ==
        R"({"time":"2016-10-06T00:17:09.669794202+02:00","stream":"stderr","tag":"F","message":" two"})");
  CHECK(cri("2016-10-06T00:17:09Z stdout F ") ==
        R"({"time":"2016-10-06T00:17:09Z","stream":"stdout","tag":"F","message":""})");
  CHECK(cri("2016-10-06T00:17:09Z stdout F") ==
        R"({"time":"2016-10-06T00:17:09Z","stream":"stdout","tag":"F","message":""})");
  for (const std::string_view bad : {"", "x", "2016-10-06T00:17:09Z", "2016-10-06T00:17:09Z stdout", "2016 stdin F x",
                                     "2016 stdout X x", "x stdout F y", " stdout F y"}) {
    CAPTURE(bad);
    CHECK(cri(bad) == kRefused);
  }
}
