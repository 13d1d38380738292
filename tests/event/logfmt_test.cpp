#include "event/logfmt.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "event/fields.hpp"
#include "event/level_detect.hpp"
#include "tests/support/blocks.hpp"

using namespace logpipe;

namespace {

/// One batch over a text, with the pool it lives in.
struct Lines {
  explicit Lines(std::string_view text) { batch.open(freeze(test::block_of(pool, text))); }
  ~Lines() { batch.close(); }

  BlockPool pool{64 * 1024 * 1024};
  Batch batch;
  Arena scratch;

  std::string logfmt(const Event& event) {
    return written([&](Encoded& out) { write_logfmt(batch, event, scratch, out); });
  }
  std::string json(const Event& event) {
    return written([&](Encoded& out) { write_json(batch, event, out); });
  }

 private:
  template <class Write>
  std::string written(Write write) {
    Encoded out;
    write(out);
    std::string text;
    iovec parts[16];
    for (std::size_t done = 0; done < out.size();) {
      const std::size_t count = out.iovecs(&batch.block(), done, parts, 16);
      for (std::size_t i = 0; i < count; ++i) {
        text.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
        done += parts[i].iov_len;
      }
    }
    return text;
  }
};

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// The fields of a line as `key`, `value`, a quoted value with a leading `'`; "?" alone when it is not logfmt.
Pairs fields_of(std::string_view line) {
  Lines lines(std::string(line) + "\n");
  const ParseCount count = parse_logfmt(lines.batch);
  const Event& event = lines.batch.events.front();
  CHECK(count.parsed + count.failed == 1);
  CHECK((event.form == Form::fields) == (count.parsed == 1));
  CHECK(event.parse_failed == (count.failed == 1));
  if (event.form != Form::fields) return {{"?", ""}};
  Pairs pairs;
  for (std::uint32_t i = 0; i < event.index_count; ++i) {
    const FieldRef& field = lines.batch.fields[event.index_begin + i];
    pairs.emplace_back(std::string(field.key), (field.quoted ? "'" : "") + std::string(field.value));
  }
  return pairs;
}

const Pairs kRefused = {{"?", ""}};

}  // namespace

TEST_CASE("logfmt: pairs, quotes and bare keys are found") {
  struct Row {
    std::string_view line;
    Pairs fields;
  };
  const Row rows[] = {
      {"a=1", {{"a", "1"}}},
      {"a=1 b=two c=3.5", {{"a", "1"}, {"b", "two"}, {"c", "3.5"}}},
      {"  a=1 \t b=2  ", {{"a", "1"}, {"b", "2"}}},
      {"a=\"b c\" d=e", {{"a", "'b c"}, {"d", "e"}}},
      {R"(a="say \"hi\"" b=1)", {{"a", R"('say "hi")"}, {"b", "1"}}},
      {R"(a="line\nbreak\ttab\\")", {{"a", "'line\nbreak\ttab\\"}}},
      {R"(a="\u00e9\ud83d\ude00")", {{"a", "'\xC3\xA9\xF0\x9F\x98\x80"}}},
      {R"(a="")", {{"a", "'"}}},
      {"a= b=2", {{"a", ""}, {"b", "2"}}},
      {"a=", {{"a", ""}}},
      {"flag a=1 other", {{"flag", "true"}, {"a", "1"}, {"other", "true"}}},
      {"url=/search?q=x&r=y z=1", {{"url", "/search?q=x&r=y"}, {"z", "1"}}},
      {"a==b", {{"a", "=b"}}},
      {"key.with-odd/chars@x=1", {{"key.with-odd/chars@x", "1"}}},
      {"größe=12 b=ok", {{"größe", "12"}, {"b", "ok"}}},
      {"a=1 a=2 b=3 a=4", {{"a", "1"}, {"b", "3"}}},
      {"ab=1 ba=2", {{"ab", "1"}, {"ba", "2"}}},
      {"averyverylongkeyname=averyverylongvaluehere x=y",
       {{"averyverylongkeyname", "averyverylongvaluehere"}, {"x", "y"}}},
      // Heroku's router.
      {"at=info method=GET path=\"/\" host=app.example.com fwd=\"204.204.204.204\" dyno=web.1 connect=1ms status=200",
       {{"at", "info"},
        {"method", "GET"},
        {"path", "'/"},
        {"host", "app.example.com"},
        {"fwd", "'204.204.204.204"},
        {"dyno", "web.1"},
        {"connect", "1ms"},
        {"status", "200"}}},
      // logrus, go-kit.
      {R"(time="2026-11-21T13:00:00Z" level=info msg="A group of walrus emerges" animal=walrus size=10)",
       {{"time", "'2026-11-21T13:00:00Z"},
        {"level", "info"},
        {"msg", "'A group of walrus emerges"},
        {"animal", "walrus"},
        {"size", "10"}}},
      {"ts=2026-11-21T13:00:00.1Z caller=main.go:12 err=\"dial: \\\"x\\\"\"",
       {{"ts", "2026-11-21T13:00:00.1Z"}, {"caller", "main.go:12"}, {"err", "'dial: \"x\""}}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.line);
    CHECK(fields_of(row.line) == row.fields);
  }
}

TEST_CASE("logfmt: other lines stay text and are marked") {
  for (const std::string_view line :
       {"", "   ", "just some words", "=1", "a=1 =2", "\"a\"=1", "a\"b=1", "a=b\"c", "a=\"unclosed", "a=\"x\\\"",
        "a=\"x\"y", "a=\"x\"b=1", "{\"a\":1}", "a=1 \"quoted words\""}) {
    CAPTURE(line);
    CHECK(fields_of(line) == kRefused);
  }
}

TEST_CASE("logfmt: the CR of a CRLF line end is no part of a value") {
  Lines lines("a=1\r\nb=\"2\"\r\n");
  CHECK(parse_logfmt(lines.batch).parsed == 2);
  CHECK(lines.batch.fields[0].value == "1");
  CHECK(lines.batch.fields[1].value == "2");
}

TEST_CASE("logfmt: more than 512 pairs are no line") {
  std::string line;
  for (int i = 0; i < 512; ++i) line += "k" + std::to_string(i) + "=1 ";
  CHECK(fields_of(line).size() == 512);
  line += "one_more=1";
  CHECK(fields_of(line) == kRefused);
}

TEST_CASE("logfmt: a bad line leaves its neighbours and their fields alone") {
  Lines lines("a=1 b=2\nc=3 d=\"open\ne=5\n");
  const ParseCount count = parse_logfmt(lines.batch);
  CHECK(count.parsed == 2);
  CHECK(count.failed == 1);
  REQUIRE(lines.batch.events.size() == 3);
  CHECK(lines.batch.fields.size() == 3);
  CHECK(lines.batch.events[1].form == Form::text);
  CHECK(lines.batch.events[1].parse_failed);
  CHECK(find(lines.batch, lines.batch.events[2], *FieldPath::parse("e"))->text == "5");
}

TEST_CASE("logfmt: failures are marked only when asked") {
  Lines lines("words only\n");
  CHECK(parse_logfmt(lines.batch, false).failed == 1);
  CHECK_FALSE(lines.batch.events[0].parse_failed);
}

TEST_CASE("logfmt: lines that read like prose do not look like logfmt") {
  for (const std::string_view line : {"a=1", "level=info msg=\"x y\" done", "_x=1 @y=2", "a=1 flag"}) {
    CAPTURE(line);
    CHECK(looks_like_logfmt(line));
  }
  for (const std::string_view line : {"", "login failed for user=bob", "PATH=/bin is what we searched", "1=2", "plain",
                                      "{\"a\":1}", "a=\"open", "2026-11-21 level=info", "<13>x=1", "a=1 -> b=2 ->"}) {
    CAPTURE(line);
    CHECK_FALSE(looks_like_logfmt(line));
  }
}

TEST_CASE("logfmt: parsed lines become JSON with the types they show") {
  Lines lines("n=1 s=\"1\" t=true f=x e= flag bad=01\n");
  REQUIRE(parse_logfmt(lines.batch).parsed == 1);
  CHECK(lines.json(lines.batch.events[0]) == R"({"n":1,"s":"1","t":true,"f":"x","e":"","flag":true,"bad":"01"})");
}

TEST_CASE("logfmt: levels are found in parsed lines") {
  Lines lines("msg=x lvl=warn\nlevel=30 x=1\nmsg=\"level=error\"\n");
  REQUIRE(parse_logfmt(lines.batch).parsed == 3);
  LevelDetector().detect_all(lines.batch);
  CHECK(lines.batch.events[0].level == Level::warn);
  CHECK(lines.batch.events[1].level == Level::info);
  CHECK(lines.batch.events[2].level == Level::unknown);
  CHECK(lines.batch.events[2].level_known);
}

TEST_CASE("detector: parsed JSON is asked key by key, one field when told") {
  Lines lines(R"({"severity":"error","level":"debug"}
{"inner":{"level":"fatal"}}
{"sev":{"name":"WARN"},"level":7}
plain ERROR: text
)");
  CHECK(parse_json(lines.batch, false).parsed == 3);
  auto& events = lines.batch.events;
  const LevelDetector any;
  CHECK(any.detect(lines.batch, events[0]) == Level::debug);
  CHECK(any.detect(lines.batch, events[1]) == Level::unknown);
  CHECK(any.detect(lines.batch, events[2]) == Level::debug);
  CHECK(any.detect(lines.batch, events[3]) == Level::error);
  CHECK_FALSE(events[0].level_known);

  const LevelDetector nested(*FieldPath::parse(".sev.name"));
  CHECK(nested.detect(lines.batch, events[0]) == Level::unknown);
  CHECK(nested.detect(lines.batch, events[2]) == Level::warn);
  CHECK(nested.detect(lines.batch, events[3]) == Level::unknown);
}

TEST_CASE("detector: an unparsed line has the level of its parsed self") {
  const std::string text = R"({"severity":"error","level":"debug"}
{"lvl":"x","levelname":"INFO","severity_text":"WARN"}
{"inner":{"level":"fatal"},"PRIORITY":"2"}
{"le\u0076el":"notice","severity":"fatal"}
{"level":50}
{"msg":"ERROR: none"}
{"level":INFO}
)";
  Lines raw(text);
  Lines parsed(text);
  CHECK(parse_json(parsed.batch, false).failed == 0);
  LevelDetector().detect_all(raw.batch);
  LevelDetector().detect_all(parsed.batch);
  for (std::size_t i = 0; i < raw.batch.events.size(); ++i) {
    CAPTURE(i);
    CHECK(level_name(raw.batch.events[i].level) == level_name(parsed.batch.events[i].level));
  }
}

TEST_CASE("write logfmt: values are quoted where they need it") {
  struct Row {
    const char* json;
    const char* logfmt;
  };
  for (const Row& row : {
           Row{R"({"a":1,"b":"two"})", "a=1 b=two"},
           Row{R"({"a":"x y","b":"","c":"q\"q","d":"a=b","e":"back\\slash"})",
               R"(a="x y" b="" c="q\"q" d="a=b" e="back\\slash")"},
           Row{R"({"a":"1","b":"true","c":"null","d":"1e5","e":"01"})", R"(a="1" b="true" c="null" d="1e5" e=01)"},
           Row{R"({"a":true,"b":null,"c":-1.50e+3})", "a=true b=null c=-1.50e+3"},
           Row{R"({"a":{"b":[1,"x"]},"c":[]})", R"(a="{\"b\":[1,\"x\"]}" c="[]")"},
           Row{R"({"a b":1,"c=d":2,"":3,"e\"f":4})", "a_b=1 c_d=2 _=3 e_f=4"},
           Row{R"({"a":"line\nbreak","b":"tab\t","c":"\u0001"})", R"(a="line\nbreak" b="tab\t" c="\u0001")"},
           Row{R"({"a":"größe"})", "a=größe"},
           Row{R"({})", ""},
           Row{"plain text", R"(message="plain text")"},
           Row{"word", "message=word"},
       }) {
    CAPTURE(row.json);
    Lines lines(std::string(row.json) + "\n");
    (void)parse_json(lines.batch, false);
    CHECK(lines.logfmt(lines.batch.events[0]) == row.logfmt);
  }
}

TEST_CASE("write logfmt: a line that was not edited leaves as it came") {
  Lines lines("a=1   b=\"x\"  flag c=\"quoted\\u0041\" a=2\r\n");
  REQUIRE(parse_logfmt(lines.batch).parsed == 1);
  CHECK(lines.logfmt(lines.batch.events[0]) == "a=1   b=\"x\"  flag c=\"quoted\\u0041\" a=2");
}

TEST_CASE("write logfmt: an edited line carries the edit") {
  Lines lines("a=1 b=\"x y\" flag\n");
  REQUIRE(parse_logfmt(lines.batch).parsed == 1);
  FieldSet members;
  members.add("a", "\"new\"");
  members.add("host", "\"web 1\"");
  set(lines.batch, lines.batch.events[0], members);
  CHECK(lines.logfmt(lines.batch.events[0]) == "a=new b=\"x y\" flag=true host=\"web 1\"");
}

TEST_CASE("logfmt: what was written reads back the same") {
  std::mt19937 random(7);
  const std::string_view pieces[] = {"a", "B9",   " ", "=",  "\\\"",    "\\\\", "\\n",
                                     "é", "true", "1", ".5", "\\u0007", ":",    "{"};
  for (int round = 0; round < 2000; ++round) {
    std::string line = "{";
    const std::size_t count = 1 + random() % 6;
    for (std::size_t i = 0; i < count; ++i) {
      if (i) line += ",";
      line += "\"k" + std::to_string(i) + "\":\"";
      for (std::size_t n = random() % 5; n > 0; --n) line += pieces[random() % std::size(pieces)];
      line += "\"";
    }
    line += "}";
    CAPTURE(line);
    Lines first(line + "\n");
    REQUIRE(parse_json(first.batch, true).parsed == 1);
    const std::string logfmt = first.logfmt(first.batch.events[0]);
    Lines second(logfmt + "\n");
    REQUIRE_MESSAGE(parse_logfmt(second.batch).parsed == 1, logfmt);
    REQUIRE(second.batch.events[0].index_count == count);
    for (std::size_t i = 0; i < count; ++i) {
      const FieldPath key = *FieldPath::parse("k" + std::to_string(i));
      const auto before = find(first.batch, first.batch.events[0], key);
      const auto after = find(second.batch, second.batch.events[0], key);
      REQUIRE(before);
      REQUIRE(after);
      CHECK(after->type == ValueType::string);
      CHECK(value_text(*before, first.scratch) == value_text(*after, second.scratch));
    }
  }
}

TEST_CASE("logfmt: any bytes are read within their bounds") {
  std::mt19937 random(99);
  const std::string_view pieces[] = {"a",  "key", "=",    "=",        "\"",         "\\", " ",     " ",
                                     "\t", "\n",  "\x01", "\xff\xfe", "value12345", "\r", "\\u00", "level=warn"};
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (std::size_t n = random() % 20; n > 0; --n) text += pieces[random() % std::size(pieces)];
    for (const std::size_t end : {text.size(), text.size() / 2}) {
      // Exactly as large as the text, so that the address sanitizer sees a read behind it.
      const std::vector<char> exact(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end));
      const std::string_view view(exact.data(), exact.size());
      const bool looks = looks_like_logfmt(view);
      if (view.find('\n') != view.npos || view.empty()) continue;
      const bool parsed = fields_of(view) != kRefused;
      CHECK_MESSAGE((parsed || !looks), text);
    }
  }
}
