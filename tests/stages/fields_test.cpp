#include <doctest/doctest.h>

#include <string>

#include "tests/stages/support.hpp"

// The stages that change fields: set, rename, move, remove, keep, convert, add_level.

using namespace logpipe;

namespace {

/// What JSON lines become.
std::string through(const std::string& stages, std::string_view lines) {
  return test::Pipeline("stages: [{parse: json}, " + stages + "]").run(lines);
}

double metric(const MetricsRegistry& metrics, std::string_view name, const std::string& component) {
  return metrics.value(name, {{"component", component}}).value_or(-1);
}

}  // namespace

TEST_CASE("set: constants keep their types, at any depth") {
  CHECK(through("{set: {a: 1.50, b: true, c: null, d: 'true', e: 010, f: [1, {x: y}], .g.h: {}}}", "{}\n") ==
        "{\"a\":1.50,\"b\":true,\"c\":null,\"d\":\"true\",\"e\":\"010\",\"f\":[1,{\"x\":\"y\"}],\"g\":{\"h\":{}}}\n");
}

TEST_CASE("set: a text with fields is escaped, and sees what was set before it") {
  CHECK(through("{set: {a: 'x\"y', b: '{a}-{.o.n}-{{}}', .o.n: '{b}'}}", "{\"o\":{\"n\":5,\"q\":\"\\u00e9\"}}\n") ==
        "{\"o\":{\"n\":\"x\\\"y-5-{}\",\"q\":\"\\u00e9\"},\"a\":\"x\\\"y\",\"b\":\"x\\\"y-5-{}\"}\n");
}

TEST_CASE("set: what a text names and is not there is empty, or keeps the field from being set") {
  CHECK(through("{set: {a: '<{no}>', b: {copy: no}}}", "{\"x\":1}\n") == "{\"x\":1,\"a\":\"<>\",\"b\":\"\"}\n");
  CHECK(through("{set: {fields: {a: '<{no}>', b: {copy: no}, c: {copy: x}}, on_missing: skip}}", "{\"x\":[1, 2]}\n") ==
        "{\"x\":[1, 2],\"c\":[1, 2]}\n");
}

TEST_CASE("set: an expression gives a value of its type, or sets nothing") {
  CHECK(through("{set: {s: {expr: 'ms / 1000'}, slow: {expr: 's > 1'}, u: {expr: 'upper(name)'}}}",
                "{\"ms\":1500,\"name\":\"x\"}\n{\"name\":\"y\"}\n") ==
        "{\"ms\":1500,\"name\":\"x\",\"s\":1.5,\"slow\":true,\"u\":\"X\"}\n"
        "{\"name\":\"y\",\"slow\":false,\"u\":\"Y\"}\n");
}

TEST_CASE("set: fields that are there can be left alone") {
  CHECK(through("{set: {fields: {a: 1, b: 2, .c.d: 3}, existing: keep}}", "{\"a\":0,\"b\":null,\"c\":{\"d\":0}}\n") ==
        "{\"a\":0,\"b\":2,\"c\":{\"d\":0}}\n");
}

TEST_CASE("set: a level that is set is the level from there on") {
  test::Pipeline pipeline("stages: [{parse: json}, {level: {min: info}}, {set: {level: debug}}, {level: {min: info}}]");
  CHECK(pipeline.run("{\"level\":\"error\"}\n").empty());
}

TEST_CASE("set: what cannot be set is counted, and the event stays as it is") {
  test::Pipeline pipeline("stages: [{parse: json}, {set: {.a.b: 1}}]");
  CHECK(pipeline.run("{\"a\":\"text\"}\n{\"a\":{}}\n") == "{\"a\":\"text\"}\n{\"a\":{\"b\":1}}\n");
  CHECK(metric(pipeline.metrics, "logpipe_transform_failed_total", "set") == 1);
  CHECK(metric(pipeline.metrics, "logpipe_transform_changed_events_total", "set") == 1);
}

TEST_CASE("set: lines of text and of logfmt become objects with the field") {
  test::Pipeline pipeline("stages: [{parse: auto}, {set: {host: web1, .k.v: '{a}'}}]");
  CHECK(pipeline.run("plain\na=1 b=\"two words\"\n") ==
        "{\"message\":\"plain\",\"host\":\"web1\",\"k\":{\"v\":\"\"}}\n"
        "{\"a\":1,\"b\":\"two words\",\"host\":\"web1\",\"k\":{\"v\":\"1\"}}\n");
}

TEST_CASE("rename, move: what is in the way is replaced, and what cannot be moved stays") {
  CHECK(through("{rename: {a: b, .n.x: .m.y}}", "{\"b\":0,\"a\":1,\"n\":{\"x\":2},\"m\":{\"y\":3,\"z\":4}}\n") ==
        "{\"b\":1,\"n\":{},\"m\":{\"y\":2,\"z\":4}}\n");
  test::Pipeline pipeline("stages: [{parse: json}, {move: {fields: [a, b], to: into}}]");
  CHECK(pipeline.run("{\"a\":1,\"into\":5}\n{\"b\":1}\n{\"c\":1}\n") ==
        "{\"a\":1,\"into\":5}\n{\"into\":{\"b\":1}}\n{\"c\":1}\n");
  CHECK(metric(pipeline.metrics, "logpipe_transform_failed_total", "move") == 1);
  CHECK(metric(pipeline.metrics, "logpipe_transform_changed_events_total", "move") == 1);
}

TEST_CASE("convert: numbers of every spelling, and what is none") {
  const auto converted = [](const std::string& type, const std::string& value) {
    return through("{convert: {v: " + type + "}}", "{\"v\":" + value + "}\n");
  };
  CHECK(converted("int", "\" +007 \"") == "{\"v\":7}\n");
  CHECK(converted("int", "\"-3.99\"") == "{\"v\":-3}\n");
  CHECK(converted("int", "2.5e3") == "{\"v\":2500}\n");
  CHECK(converted("int", "123456789012345678901234567890") == "{\"v\":123456789012345678901234567890}\n");
  CHECK(converted("int", "\"9223372036854775807\"") == "{\"v\":9223372036854775807}\n");
  CHECK(converted("int", "\"1e30\"") == "{\"v\":\"1e30\"}\n");
  CHECK(converted("int", "\"0x10\"") == "{\"v\":\"0x10\"}\n");
  CHECK(converted("int", "\"\"") == "{\"v\":\"\"}\n");
  CHECK(converted("int", "[1]") == "{\"v\":[1]}\n");
  CHECK(converted("float", "\"1.25\"") == "{\"v\":1.25}\n");
  CHECK(converted("float", "\".5\"") == "{\"v\":0.5}\n");
  CHECK(converted("float", "1.50") == "{\"v\":1.50}\n");
  CHECK(converted("float", "\"inf\"") == "{\"v\":\"inf\"}\n");
  CHECK(converted("float", "\"nan\"") == "{\"v\":\"nan\"}\n");
  CHECK(converted("bool", "\"Off\"") == "{\"v\":false}\n");
  CHECK(converted("bool", "2") == "{\"v\":2}\n");
  CHECK(converted("string", "{\"a\":\"b\"}") == "{\"v\":\"{\\\"a\\\":\\\"b\\\"}\"}\n");
  CHECK(converted("string", "1.0") == "{\"v\":\"1.0\"}\n");
  CHECK(converted("seconds", "\"1m30s\"") == "{\"v\":90}\n");
  CHECK(converted("seconds", "\"-250ms\"") == "{\"v\":-0.25}\n");
  CHECK(converted("milliseconds", "\"2s\"") == "{\"v\":2000}\n");
  CHECK(converted("bytes", "\"1.5MiB\"") == "{\"v\":1572864}\n");
  CHECK(converted("bytes", "\"many\"") == "{\"v\":\"many\"}\n");
}

TEST_CASE("convert: what cannot be converted can be removed") {
  test::Pipeline pipeline("stages: [{parse: json}, {convert: {fields: {.a.b: int}, on_failure: remove}}]");
  CHECK(pipeline.run("{\"a\":{\"b\":\"x\"}}\n{\"a\":{\"b\":\"1\"}}\n{\"a\":{\"b\":2}}\n") ==
        "{\"a\":{}}\n{\"a\":{\"b\":1}}\n{\"a\":{\"b\":2}}\n");
  CHECK(metric(pipeline.metrics, "logpipe_transform_failed_total", "convert") == 1);
  CHECK(metric(pipeline.metrics, "logpipe_transform_changed_events_total", "convert") == 1);
}

TEST_CASE("add_level: as a number of OpenTelemetry or of syslog") {
  const std::string lines = "{\"level\":\"warn\"}\n{\"level\":\"fatal\"}\n{\"level\":\"trace\"}\n{\"x\":1}\n";
  CHECK(through("{add_level: {field: n, as: number}}", lines) ==
        "{\"level\":\"warn\",\"n\":13}\n{\"level\":\"fatal\",\"n\":21}\n{\"level\":\"trace\",\"n\":1}\n{\"x\":1}\n");
  CHECK(through("{add_level: {as: syslog}}", lines) == "{\"level\":4}\n{\"level\":0}\n{\"level\":7}\n{\"x\":1}\n");
}

TEST_CASE("field stages: what is wrong with a name is said where it stands") {
  CHECK(test::findings("stages: [{set: {.a..b: 1}}]").find("expected a name behind the dot") != std::string::npos);
  CHECK(test::findings("stages: [{set: {fields: {a: 1}, host: 2}}]").find("host") != std::string::npos);
  CHECK(test::findings("stages: [{set: {a: '{b'}}]").find("`{` is not closed") != std::string::npos);
  CHECK(test::findings("stages: [{rename: {a: ''}}]").find("must not be empty") != std::string::npos);
  CHECK(test::findings("stages: [{convert: {a: integer}}]").find("int") != std::string::npos);
  CHECK(test::findings("stages: [{move: {fields: '.a[0]', to: b}}]").find("does not end in a name") !=
        std::string::npos);
  CHECK_FALSE(test::findings("stages: [remove]").empty());
  std::string deep;
  for (int i = 0; i < 65; ++i) deep += ".a";
  CHECK(test::findings("stages: [{set: {" + deep + ": 1}}]").find("at most 64 steps") != std::string::npos);
}
