#include "sinks/encoder.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "event/fields.hpp"
#include "event/json.hpp"
#include "event/logfmt.hpp"
#include "sinks/pretty.hpp"
#include "tests/sinks/support.hpp"

using namespace logpipe;

namespace {

struct Opened {
  explicit Opened(std::string_view text) { batch.open(freeze(test::block_of(pool, text))); }
  std::string encode(Encoding encoding, Colors colors = Colors::off) {
    encoded.clear();
    encode_events(batch, batch.events, encoding, encoded, colors);
    return test::written(encoded, &batch.block());
  }
  void set_on(std::size_t index, std::string_view key, std::string_view json) {
    set(batch, batch.events[index], key, json);
  }
  void keep(const std::vector<bool>& which) {
    std::size_t i = 0;
    batch.retain(0, true, [&](Event&) { return which[i++] ? std::nullopt : std::optional(Reason::level); });
  }
  BlockPool pool{64 << 20};
  Batch batch;
  Encoded encoded;
};

std::string lines_of(std::size_t count, std::size_t length) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    std::string line = std::to_string(i) + " ";
    line.resize(length - 1, 'x');
    text += line + '\n';
  }
  return text;
}

}  // namespace

TEST_CASE("encoder: a batch that nobody touched leaves as one run of the block") {
  const std::string text = lines_of(100, 64);
  Opened opened(text);
  CHECK(opened.encode(Encoding::automatic) == text);
  REQUIRE(opened.encoded.slices().size() == 1);
  CHECK_FALSE(opened.encoded.slices()[0].own);
  CHECK(opened.encoded.slices()[0].offset == 0);
  CHECK(opened.encoded.slices()[0].length == text.size());
  CHECK(opened.encoded.own_size() == 0);
}

TEST_CASE("encoder: neighbours that are left after filtering leave as one run each") {
  const std::string text = lines_of(100, 64);
  Opened opened(text);
  std::vector<bool> which(100, true);
  which[0] = which[50] = which[99] = false;
  opened.keep(which);
  std::string expected = text.substr(64, 49 * 64) + text.substr(51 * 64, 48 * 64);
  CHECK(opened.encode(Encoding::raw) == expected);
  REQUIRE(opened.encoded.slices().size() == 2);
  CHECK(opened.encoded.slices()[0].offset == 64);
  CHECK(opened.encoded.slices()[0].length == 49 * 64);
  CHECK(opened.encoded.slices()[1].offset == 51 * 64);
  CHECK(opened.encoded.slices()[1].length == 48 * 64);
}

TEST_CASE("encoder: the last line gets its missing line end, in both ways to write a run") {
  for (const bool filtered : {false, true}) {
    CAPTURE(filtered);
    Opened opened("first\nsecond\nlast without");
    if (filtered) opened.keep({false, true, true});
    CHECK(opened.encode(Encoding::automatic) ==
          (filtered ? "second\nlast without\n" : "first\nsecond\nlast without\n"));
  }
}

TEST_CASE("encoder: raw keeps what came, carriage returns, empty lines and NULs included") {
  const std::string text("a\r\n\n\n\0b\n \n", 10);
  Opened whole(text);
  CHECK(whole.encode(Encoding::raw) == text);
  Opened some(text);
  some.keep({true, false, true, true, true});
  CHECK(some.encode(Encoding::raw) == std::string("a\r\n\n\0b\n \n", 9));
}

TEST_CASE("encoder: pieces of a split line are events of their own and get line ends") {
  BlockPool pool(1 << 20);
  BlockPtr block = test::block_of(pool, "aaabbbccc\n");
  Segment whole = block->segments[0];
  block->segments.clear();
  for (std::uint32_t begin = 0; begin < 9; begin += 3) {
    Segment piece = whole;
    piece.begin = begin;
    piece.end = begin == 6 ? 10 : begin + 3;
    piece.file_begin = piece.begin;
    piece.file_end = piece.end;
    block->segments.push_back(piece);
  }
  Batch batch;
  batch.open(freeze(std::move(block)));
  REQUIRE(batch.events.size() == 3);
  Encoded out;
  encode_events(batch, batch.events, Encoding::raw, out);
  CHECK(test::written(out, &batch.block()) == "aaa\nbbb\nccc\n");
  out.clear();
  encode_events(batch, std::span(batch.events).subspan(1), Encoding::raw, out);
  CHECK(test::written(out, &batch.block()) == "bbb\nccc\n");
}

TEST_CASE("encoder: auto writes what a stage changed as JSON and the rest as it came") {
  Opened opened("{\"a\":1}\nplain\n{\"a\": 2}\n");
  parse_json(opened.batch, false);
  opened.set_on(1, "env", "\"prod\"");
  opened.set_on(2, "env", "\"prod\"");
  CHECK(opened.encode(Encoding::automatic) ==
        "{\"a\":1}\n{\"message\":\"plain\",\"env\":\"prod\"}\n{\"a\": 2,\"env\":\"prod\"}\n");
  CHECK(opened.encode(Encoding::raw) == "{\"a\":1}\nplain\n{\"a\": 2}\n");
}

TEST_CASE("encoder: auto sees every kind of change to a logfmt event") {
  Opened opened("level=warn msg=hi\nlevel=info msg=there\n");
  parse_logfmt(opened.batch);
  opened.set_on(0, "level", "\"error\"");  // a field that was there
  CHECK(opened.encode(Encoding::automatic) == "{\"level\":\"error\",\"msg\":\"hi\"}\nlevel=info msg=there\n");
}

TEST_CASE("encoder: every form can be written in every encoding") {
  struct Case {
    const char* in;
    const char* raw;
    const char* json;
    const char* logfmt;
  };
  const Case cases[] = {
      {"just text\n", "just text\n", "{\"message\":\"just text\"}\n", "message=\"just text\"\n"},
      {"{\"a\":1,\"b\":\"x y\"}\n", "{\"a\":1,\"b\":\"x y\"}\n", "{\"a\":1,\"b\":\"x y\"}\n", "a=1 b=\"x y\"\n"},
      {"a=1 b=\"x y\"\n", "a=1 b=\"x y\"\n", "{\"a\":1,\"b\":\"x y\"}\n", "a=1 b=\"x y\"\n"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.in);
    Opened opened(c.in);
    if (c.in[0] == '{') parse_json(opened.batch, false);
    if (c.in[1] == '=') parse_logfmt(opened.batch);
    CHECK(opened.encode(Encoding::automatic) == c.raw);
    CHECK(opened.encode(Encoding::raw) == c.raw);
    CHECK(opened.encode(Encoding::json) == c.json);
    CHECK(opened.encode(Encoding::logfmt) == c.logfmt);
  }
}

TEST_CASE("encoder: no events make no bytes") {
  Opened opened("a\n");
  opened.keep({false});
  for (const Encoding encoding :
       {Encoding::automatic, Encoding::raw, Encoding::json, Encoding::logfmt, Encoding::pretty}) {
    CHECK(opened.encode(encoding).empty());
  }
}

TEST_CASE("pretty: time, level and message come first, the others follow as pairs") {
  Opened opened(
      "{\"level\":\"warn\",\"a\":1,\"msg\":\"disk low\",\"ts\":\"2026-01-02T03:04:05Z\",\"path\":\"/var x\"}\n");
  parse_json(opened.batch, false);
  CHECK(opened.encode(Encoding::pretty) == "2026-01-02T03:04:05Z WARN  disk low a=1 path=\"/var x\"\n");
}

TEST_CASE("pretty: numbers are times by their size") {
  CHECK(time_of_number("1767323045") == "2026-01-02T03:04:05.000Z");
  CHECK(time_of_number("1767323045.678") == "2026-01-02T03:04:05.678Z");
  CHECK(time_of_number("1767323045678") == "2026-01-02T03:04:05.678Z");
  CHECK(time_of_number("1767323045678901") == "2026-01-02T03:04:05.678Z");
  CHECK(time_of_number("1767323045678901234") == "2026-01-02T03:04:05.678Z");
  CHECK(time_of_number("12").empty());
  CHECK(time_of_number("1e300").empty());
  CHECK(time_of_number("nan").empty());
  CHECK(time_of_number("-5").empty());
}

TEST_CASE("pretty: a plain line stays as it is") {
  Opened opened("ERROR: it broke\r\n");
  CHECK(opened.encode(Encoding::pretty) == "ERROR: it broke\n");
}

TEST_CASE("pretty: colours follow the level, and only when asked for") {
  Opened opened("{\"level\":\"error\",\"message\":\"m\",\"k\":\"v\"}\n");
  parse_json(opened.batch, false);
  CHECK(opened.encode(Encoding::pretty).find('\x1b') == std::string::npos);
  CHECK(opened.encode(Encoding::pretty, Colors::on) == "\x1b[31mERROR\x1b[0m m \x1b[2mk=v\x1b[0m\n");
}

TEST_CASE("pretty: a log line cannot drive the terminal") {
  Opened opened("{\"message\":\"a\\u001b[2Jb\\nc\\u009b\",\"k\":\"\\u0007\\\"x\"}\nraw \x1b]0;title\x07\n");
  parse_json(opened.batch, false);
  CHECK(opened.encode(Encoding::pretty) == "a\\x1b[2Jb\n    c\\xc2\\x9b k=\"\\x07\\\"x\"\nraw \\x1b]0;title\\x07\n");
}

namespace {

/// One block of these events.
struct OpenedEvents {
  explicit OpenedEvents(const std::vector<std::string>& events) {
    std::string text;
    std::vector<std::uint32_t> begins;
    for (const std::string& event : events) {
      begins.push_back(static_cast<std::uint32_t>(text.size()));
      text += event + "\n";
    }
    BlockPtr block = test::block_of(pool, text);
    block->segments[0].kind = SegmentKind::events;
    block->event_begins = begins;
    batch.open(freeze(std::move(block)));
  }
  std::string encode(Encoding encoding) {
    encoded.clear();
    encode_events(batch, batch.events, encoding, encoded);
    return test::written(encoded, &batch.block());
  }
  BlockPool pool{64 << 20};
  Batch batch;
  Encoded encoded;
};

}  // namespace

TEST_CASE("encoder: an event of several lines keeps them as it came, and is one line of JSON or logfmt") {
  OpenedEvents opened({"one\n  two\r\n\tthree", "four"});
  CHECK(opened.encode(Encoding::raw) == "one\n  two\r\n\tthree\nfour\n");
  CHECK(opened.encode(Encoding::json) == R"({"message":"one\n  two\r\n\tthree"})"
                                         "\n"
                                         R"({"message":"four"})"
                                         "\n");
  CHECK(opened.encode(Encoding::logfmt) == R"(message="one\n  two\r\n\tthree")"
                                           "\nmessage=four\n");
  opened.batch.retain(0, true,
                      [](Event& event) { return event.several_lines ? std::nullopt : std::optional(Reason::level); });
  CHECK(opened.encode(Encoding::automatic) == "one\n  two\r\n\tthree\n");
}

TEST_CASE("encoder: an object that was written over several lines is one line of JSON") {
  OpenedEvents opened({"{\n  \"a\": 1,\r\n  \"b\": \"x\\n\"\n}", "{\"c\":2}"});
  parse_json(opened.batch, true, true);
  REQUIRE(opened.batch.events[0].form == Form::json);
  CHECK(opened.encode(Encoding::raw) == "{\n  \"a\": 1,\r\n  \"b\": \"x\\n\"\n}\n{\"c\":2}\n");
  CHECK(opened.encode(Encoding::json) == "{   \"a\": 1,    \"b\": \"x\\n\" }\n{\"c\":2}\n");
  set(opened.batch, opened.batch.events[0], "d", "true");
  CHECK(opened.encode(Encoding::automatic) == "{   \"a\": 1,    \"b\": \"x\\n\",\"d\":true}\n{\"c\":2}\n");
}

TEST_CASE("encoder: bytes that are not UTF-8 are replaced, shown or kept in JSON, and always kept in raw") {
  const std::string text = "a\xFF\xC3(\xE2\x82 \xED\xA0\x80 \xC3\xA9\\\n";
  Opened opened(text);
  const auto json = [&](InvalidUtf8 invalid) {
    opened.encoded.clear();
    encode_events(opened.batch, opened.batch.events, Encoding::json, opened.encoded, Colors::off, invalid);
    return test::written(opened.encoded, &opened.batch.block());
  };
  const std::string mark = "\xEF\xBF\xBD";
  CHECK(json(InvalidUtf8::replace) ==
        "{\"message\":\"a" + mark + mark + "(" + mark + " " + mark + mark + mark + " \xC3\xA9\\\\\"}\n");
  CHECK(json(InvalidUtf8::hex) ==
        "{\"message\":\"a\\\\xff\\\\xc3(\\\\xe2\\\\x82 \\\\xed\\\\xa0\\\\x80 \xC3\xA9\\\\\"}\n");
  CHECK(json(InvalidUtf8::keep) == "{\"message\":\"a\xFF\xC3(\xE2\x82 \xED\xA0\x80 \xC3\xA9\\\\\"}\n");
  CHECK(opened.encode(Encoding::raw) == text);
}

TEST_CASE("encoder: a long line of nothing but bad bytes is escaped within bounds") {
  const std::string bad(20'000, '\xFF');
  Opened opened(bad + "\n");
  encode_events(opened.batch, opened.batch.events, Encoding::json, opened.encoded, Colors::off, InvalidUtf8::hex);
  CHECK(opened.encoded.size() == std::string("{\"message\":\"\"}\n").size() + bad.size() * 5);
}

TEST_CASE("encoder: what was redacted never leaves as it came") {
  Opened opened("a secret line\nanother line\n{\"a\":\"secret\"}\nb=secret c=\"x\"\nsecret with more\n");
  parse_json(opened.batch, false, false);
  parse_logfmt(opened.batch, false);
  opened.set_on(0, "message", "\"a [x] \\\"line\\\"\"");
  opened.set_on(2, "a", "\"[x]\"");
  opened.set_on(3, "b", "\"[x]\"");
  opened.set_on(4, "message", "\"[x] with more\"");
  opened.set_on(4, "host", "\"web1\"");
  for (const std::size_t i : {0, 2, 3, 4}) opened.batch.events[i].redacted = true;
  const std::string expected =
      "a [x] \"line\"\nanother line\n{\"a\":\"[x]\"}\n{\"b\":\"[x]\",\"c\":\"x\"}\n"
      "{\"message\":\"[x] with more\",\"host\":\"web1\"}\n";
  CHECK(opened.encode(Encoding::raw) == expected);
  CHECK(opened.encode(Encoding::automatic) == expected);
}

TEST_CASE("encoder: otel has the names of the OpenTelemetry log data model") {
  Opened opened(
      "{\"time\":\"2026-01-02T03:04:05.5Z\",\"lvl\":\"WRN\",\"msg\":\"a "
      "\\\"b\\\"\",\"trace_id\":\"t1\",\"span_id\":\"s1\","
      "\"service.name\":\"shop\",\"n\":1.50,\"o\":{\"x\":[1, 2]}}\nplain\n{\"ts\":\"never\",\"level\":7.5}\n");
  parse_json(opened.batch, false, false);
  const auto read =
      std::chrono::duration_cast<std::chrono::nanoseconds>(opened.batch.block().read_at.time_since_epoch());
  const std::string observed = "\"ObservedTimestamp\":\"" + std::to_string(read.count()) + "\"";
  CHECK(opened.encode(Encoding::otel) ==
        "{\"Timestamp\":\"1767323045500000000\"," + observed +
            ",\"TraceId\":\"t1\",\"SpanId\":\"s1\",\"SeverityText\":\"warn\",\"SeverityNumber\":13,"
            "\"Body\":\"a \\\"b\\\"\",\"Resource\":{\"service.name\":\"shop\"},"
            "\"Attributes\":{\"n\":1.50,\"o\":{\"x\":[1, 2]}}}\n{" +
            observed + ",\"Body\":\"plain\",\"Attributes\":{}}\n{" + observed +
            ",\"Attributes\":{\"ts\":\"never\",\"level\":7.5}}\n");
}

TEST_CASE("encoder: ecs has the names of the Elastic Common Schema, none of them twice") {
  Opened opened(
      "{\"ts\":1767323045,\"level\":\"error\",\"msg\":\"down\",\"message\":\"up\",\"ecs.version\":\"1\",\"host.name\":"
      "\"h\"}\n");
  parse_json(opened.batch, false, false);
  CHECK(
      opened.encode(Encoding::ecs) ==
      "{\"@timestamp\":\"2026-01-02T03:04:05Z\",\"log.level\":\"error\",\"message\":\"up\",\"ecs.version\":\"8.11.0\","
      "\"msg\":\"down\",\"host.name\":\"h\"}\n");
}
