#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "event/fields.hpp"
#include "event/json.hpp"
#include "tests/event/json_corpus.hpp"
#include "tests/event/json_reference.hpp"
#include "tests/support/blocks.hpp"

using namespace logpipe;
using test::JsonCorpus;
using test::JsonReference;

namespace {

BlockPool& pool() {
  static BlockPool shared(64 << 20);
  return shared;
}

void open(Batch& batch, std::string_view text) {
  batch.open(freeze(test::block_of(pool(), text)));
}

bool parsed_alone(Batch& batch, std::string_view line, bool strict) {
  open(batch, line);
  if (batch.events.empty()) return false;
  return parse_json(batch, strict).parsed == 1;
}

std::string written(const Batch& batch, const Event& event) {
  Encoded out;
  write_json(batch, event, out);
  iovec slices[8];
  const std::size_t count = out.iovecs(&batch.block(), 0, slices, 8);
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text.append(static_cast<const char*>(slices[i].iov_base), slices[i].iov_len);
  return text;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

}  // namespace

TEST_CASE("parse json: which lines are one object, loosely and strictly") {
  struct Case {
    std::string_view line;
    bool loose;
    bool strict;
  };
  const Case cases[] = {
      {"{}", true, true},
      {" { } \r", true, true},
      {R"({"a":1})", true, true},
      {R"({"a":"x\u0041\n"})", true, true},
      {R"({"a":1e400,"b":123456789012345678901234567890})", true, true},
      {R"({"a":"\ud800"})", true, true},
      {R"({"a":[[],{},[{}]]})", true, true},
      {R"({"a":INFO})", true, false},
      {R"({"a":01})", true, false},
      {R"({"a":"\x"})", true, false},
      {R"({"\x":1})", true, false},
      {R"({"a":x"y"})", true, false},
      {"", false, false},
      {"  ", false, false},
      {"[1]", false, false},
      {"7", false, false},
      {R"({"a":1}{"b":2})", false, false},
      {R"({"a":1} {"b":2})", false, false},
      {R"({"a":1} x)", false, false},
      {R"(x {"a":1})", false, false},
      {R"({"a":1,})", false, false},
      {R"({,})", false, false},
      {R"({"a"})", false, false},
      {R"({"a":})", false, false},
      {R"({"a":1 2})", false, false},
      {R"({"a" "b"})", false, false},
      {R"({a:1})", false, false},
      {R"({"a":[1,]})", false, false},
      {R"({"a":[1}})", false, false},
      {R"({"a":{"b":1]})", false, false},
      {R"({"a":"x"y})", false, false},
      {R"({"a":"x""y"})", false, false},
      {R"({"a":"x})", false, false},
      {R"({"a":"x\"})", false, false},
      {"{\"a\":\"\x01\"}", false, false},
      {"{\"a\":\"\xc3\"}", false, false},
      {"{\"a\":\xff}", false, false},
      {"\xef\xbb\xbf{}", false, false},
      {std::string_view("{\"a\":1}\0", 8), false, false},
  };
  Batch batch;
  for (const Case& c : cases) {
    CAPTURE(c.line);
    CHECK(parsed_alone(batch, c.line, false) == c.loose);
    CHECK(parsed_alone(batch, c.line, true) == c.strict);
  }
}

TEST_CASE("parse json: a bad line costs only itself, and is marked when asked for") {
  Batch batch;
  open(batch, "{\"a\":1}\nsay \"hello\n\n{\"b\":2}\r\n{\"c\":\"\xff\"}\n{\"d\":4}");
  ParseCount count = parse_json(batch, false, true);
  CHECK(count.parsed == 3);
  CHECK(count.failed == 3);
  const bool json[] = {true, false, false, true, false, true};
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK((batch.events[i].form == Form::json) == json[i]);
    CHECK(batch.events[i].parse_failed != json[i]);
  }
  CHECK(written(batch, batch.events[3]) == "{\"b\":2}");
  open(batch, "{\"a\":1}\nx\n");
  parse_json(batch, false, false);
  CHECK_FALSE(batch.events[1].parse_failed);
}

TEST_CASE("parse json: lines that end without a line end do not run into the next segment") {
  BlockPtr block = test::block_of(pool(), R"({"a":1}{"b":2})");
  Segment second = block->segments[0];
  block->segments[0].end = second.begin = 7;
  block->segments.push_back(second);
  Batch batch;
  batch.open(freeze(std::move(block)));
  CHECK(parse_json(batch, false).parsed == 2);
  CHECK(written(batch, batch.events[0]) == R"({"a":1})");
  CHECK(written(batch, batch.events[1]) == R"({"b":2})");
}

TEST_CASE("parse json: parsing again leaves what is parsed alone, and parses what is new") {
  Batch batch;
  open(batch, "{\"a\":1}\nx\n{\"b\":[1,2]}\n");
  CHECK(parse_json(batch, false).parsed == 2);
  Event& odd = batch.events[1];
  const std::string first = written(batch, batch.events[2]);
  CHECK(parse_json(batch, false).parsed == 0);
  CHECK(odd.form == Form::text);
  CHECK(written(batch, batch.events[2]) == first);
  // As if another stage had made a text of it again.
  batch.events[0].form = Form::text;
  CHECK(parse_json(batch, false).parsed == 1);
  CHECK(written(batch, batch.events[0]) == "{\"a\":1}");
  CHECK(written(batch, batch.events[2]) == first);
}

TEST_CASE("parse json: parsing again leaves what was routed its place on the tape") {
  Batch batch;
  batch.open(freeze(test::block_of(pool(), "{\"k\":\"x\"}\n{\"b\":\"torn\n{\"c\":\"torn\n")));
  CHECK(parse_json(batch, false).parsed == 1);
  const Event routed = batch.events.front();
  batch.events.erase(batch.events.begin());
  CHECK(parse_json(batch, false).failed == 2);
  const auto value = find(batch, routed, *FieldPath::parse("k"));
  REQUIRE(value.has_value());
  CHECK(value->text == "x");
  batch.close();
}

TEST_CASE("parse json: an event that was edited as text stays text") {
  Batch batch;
  open(batch, "{\"a\":1}\n{\"a\":2}\n");
  set(batch, batch.events[0], "k", "1");
  const ParseCount count = parse_json(batch, false);
  CHECK(count.parsed == 1);
  CHECK(count.failed == 1);
  CHECK(written(batch, batch.events[0]) == R"({"message":"{\"a\":1}","k":1})");
}

TEST_CASE("parse json: filtered batches keep their ranges") {
  JsonCorpus corpus(99);
  Batch batch;
  for (int round = 0; round < 50; ++round) {
    std::string text;
    std::vector<std::string> kept;
    std::vector<bool> keep;
    for (int i = 0; i < 60; ++i) {
      const std::string line = corpus.line();
      keep.push_back(corpus.below(10) < (round % 2 == 0 ? 8U : 2U));
      if (keep.back()) kept.push_back(line);
      text += line + '\n';
    }
    open(batch, text);
    std::size_t at = 0;
    batch.retain(0, true, [&](Event&) { return keep[at++] ? std::nullopt : std::optional<Reason>(Reason::level); });
    REQUIRE(parse_json(batch, false).parsed == kept.size());
    for (std::size_t i = 0; i < kept.size(); ++i) REQUIRE(written(batch, batch.events[i]) == trimmed(kept[i]));
  }
}

TEST_CASE("parse json: nesting is bounded and deep lines do no harm") {
  Batch batch;
  for (const int depth : {10, 63, 64, 65, 1022, 1023, 1024, 5000}) {
    CAPTURE(depth);
    std::string line = "{\"a\":";
    line += std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']') + "}";
    CHECK(parsed_alone(batch, line, false) == (depth <= 1023));
    std::string open_only = "{\"a\":" + std::string(static_cast<std::size_t>(depth), '[') + "}";
    CHECK_FALSE(parsed_alone(batch, open_only, false));
  }
  std::string mixed;
  for (int i = 0; i < 300; ++i) mixed += i % 2 == 0 ? "{\"k\":" : "[1,";
  mixed += "0";
  for (int i = 299; i >= 0; --i) mixed += i % 2 == 0 ? "}" : "]";
  CHECK(parsed_alone(batch, mixed, true));
}

TEST_CASE("parse json: a line larger than any block before is parsed, and the memory goes back") {
  std::string line = "{\"big\":[0";
  while (line.size() < (3U << 20)) line += ",12345";
  line += "]}";
  Batch batch;
  open(batch, line + "\n{\"a\":1}\n");
  CHECK(parse_json(batch, true).parsed == 2);
  CHECK(batch.tape().size() > 900'000);
  for (int i = 0; i < 3; ++i) {
    open(batch, "{\"a\":1}\n");
    CHECK(parse_json(batch, false).parsed == 1);
  }
}

TEST_CASE("parse json: random lines are judged as the grammar says, in blocks and alone") {
  Batch batch;
  Batch alone;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    JsonCorpus corpus(seed);
    std::vector<std::string> lines;
    std::string text;
    for (int i = 0; i < 60; ++i) {
      std::string line = corpus.line();
      if (seed % 2 == 0 && corpus.one_in(4)) line = corpus.garbage();
      if (seed % 3 == 0 && corpus.one_in(3)) {
        corpus.mutate(line, 1 + corpus.below(3));
        std::erase(line, '\n');
      }
      text += line + '\n';
      lines.push_back(std::move(line));
    }
    const bool strict = seed % 4 < 2;
    open(batch, text);
    parse_json(batch, strict);
    REQUIRE(batch.events.size() == lines.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      CAPTURE(lines[i]);
      const bool json = batch.events[i].form == Form::json;
      const bool valid = JsonReference::is_object(lines[i]);
      if (strict) {
        REQUIRE(json == valid);
      } else if (valid) {
        REQUIRE(json);
      }
      REQUIRE(json == parsed_alone(alone, lines[i], strict));
      if (json) REQUIRE(written(batch, batch.events[i]) == trimmed(lines[i]));
    }
  }
}

TEST_CASE("parse json: broken blocks do no damage beyond their broken lines") {
  Batch batch;
  Batch alone;
  FieldSet members;
  members.add("host", "\"web1\"");
  members.add("level", "\"warn\"");
  const FieldPath level = *FieldPath::parse("level");
  const FieldPath nested = *FieldPath::parse(".user.tags[1]");
  std::uint64_t accepted = 0;
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    CAPTURE(seed);
    JsonCorpus corpus(seed * 7919);
    std::string text;
    for (int i = 0; i < 12; ++i) text += (corpus.one_in(10) ? corpus.garbage() : corpus.line()) + '\n';
    corpus.mutate(text, 1 + corpus.below(6));
    const bool strict = corpus.one_in(3);
    open(batch, text);
    parse_json(batch, strict);
    for (Event& event : batch.events) {
      const std::string line(batch.raw(event));
      CAPTURE(line);
      REQUIRE((event.form == Form::json) == parsed_alone(alone, line, strict));
      find(batch, event, level);
      find(batch, event, nested);
      if (event.form != Form::json) continue;
      ++accepted;
      set(batch, event, members);
      const std::string edited = written(batch, event);
      REQUIRE(edited.find('\n') == std::string::npos);
      REQUIRE(parsed_alone(alone, edited, strict));
      const auto found = find(alone, alone.events[0], level);
      REQUIRE(found.has_value());
      REQUIRE(found->text == "warn");
      REQUIRE(find(batch, event, level)->text == "warn");
    }
  }
  CHECK(accepted > 10'000);
}
