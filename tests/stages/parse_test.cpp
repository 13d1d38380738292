#include "stages/parse.hpp"

#include <algorithm>
#include <string>

#include "tests/stages/support.hpp"

using namespace logpipe;
using test::Pipeline;

TEST_CASE("parse: JSON lines become fields, others stay text and are counted") {
  Pipeline pipeline("stages: [{parse: json}]");
  CHECK(pipeline.run("{\"a\":1}\nplain\n{\"b\":2\n{\"c\":[3]}\n") ==
        "{\"a\":1}\n{\"message\":\"plain\"}\n{\"message\":\"{\\\"b\\\":2\"}\n{\"c\":[3]}\n");
  CHECK(pipeline.tallies().empty());
  CHECK(pipeline.metrics.value("logpipe_parse_failed_events_total", {{"component", "parse"}, {"reason", "format"}}) ==
        2);
  CHECK(pipeline.batch.events[0].form == Form::json);
  CHECK(pipeline.batch.events[1].parse_failed);
  pipeline.run("x\n");
  CHECK(pipeline.metrics.value("logpipe_parse_failed_events_total", {{"component", "parse"}, {"reason", "format"}}) ==
        3);
}

TEST_CASE("parse: a failed line is discarded when asked, and counted as failed") {
  Pipeline pipeline("stages: [{parse: {format: json, on_failure: discard}}]");
  CHECK(pipeline.run("{\"a\":1}\nplain\r\n{\"b\":2}\n") == "{\"a\":1}\n{\"b\":2}\n");
  CHECK(pipeline.tallies() == "0/parse/failed 1 7\n");
}

TEST_CASE("parse: strict refuses what is no JSON in detail") {
  const std::string_view line = "{\"a\":01}\n";
  Pipeline lenient("stages: [{parse: json}]");
  lenient.run(line);
  CHECK(lenient.batch.events[0].form == Form::json);
  Pipeline strict("stages: [{parse: {json: {strict: true}}}]");
  strict.run(line);
  CHECK(strict.batch.events[0].form == Form::text);
}

TEST_CASE("parse: logfmt lines become fields") {
  Pipeline pipeline("stages: [{parse: logfmt}]");
  CHECK(pipeline.run("a=1 b=\"x y\"\nplain words\n") == "{\"a\":1,\"b\":\"x y\"}\n{\"message\":\"plain words\"}\n");
  CHECK(pipeline.metrics.value("logpipe_parse_failed_events_total", {{"component", "parse"}, {"reason", "format"}}) ==
        1);
}

TEST_CASE("parse: auto decides line by line, and text is no failure") {
  Pipeline pipeline("stages: [{parse: {format: auto, on_failure: discard}}]");
  CHECK(pipeline.run("{\"a\":1}\na=1 b=2\nlogin of user=bob failed\n{torn\n\n  {\"c\":3}\n") ==
        "{\"a\":1}\n{\"a\":1,\"b\":2}\n{\"message\":\"login of user=bob failed\"}\n{\"message\":\"\"}\n{\"c\":3}\n");
  CHECK(pipeline.tallies() == "0/parse/failed 1 6\n");
  CHECK(pipeline.batch.events[1].form == Form::fields);
  CHECK(pipeline.batch.events[2].form == Form::text);
}

TEST_CASE("parse: the failures of an earlier stage are not counted again") {
  Pipeline pipeline("stages: [{parse: json}, {parse: {format: auto, on_failure: discard}}]");
  CHECK(pipeline.run("plain\na=1\n") == "{\"message\":\"plain\"}\n{\"a\":1}\n");
  CHECK(pipeline.tallies().empty());
}

TEST_CASE("parse: access logs and lines cut at literal texts become fields") {
  Pipeline clf("stages: [{parse: clf}]");
  CHECK(clf.run("::1 - - [t] \"GET / HTTP/1.1\" 200 5\nno\n") ==
        "{\"client\":\"::1\",\"time\":\"t\",\"method\":\"GET\",\"path\":\"/\",\"protocol\":\"HTTP/1.1\","
        "\"status\":200,\"bytes\":5}\n{\"message\":\"no\"}\n");
  Pipeline dissect("stages: [{parse: {dissect: '%{a}: %{b}', prefix: d_}}]");
  CHECK(dissect.run("x: y\r\nno\n") == "{\"d_a\":\"x\",\"d_b\":\"y\"}\n{\"message\":\"no\"}\n");
  CHECK(dissect.metrics.value("logpipe_parse_failed_events_total", {{"component", "parse"}, {"reason", "format"}}) ==
        1);
}

TEST_CASE("parse: of several patterns the first that matches makes the fields, and each is counted") {
  Pipeline pipeline("stages: [{parse: {regex: ['^(?<n>\\d+) (?<b>x)?', '^(?<word>\\w+)$', '(?<n>never)']}}]");
  CHECK(pipeline.run("12 x\n7 y\nword\n--\n") ==
        "{\"n\":12,\"b\":\"x\"}\n{\"n\":7}\n{\"word\":\"word\"}\n{\"message\":\"--\"}\n");
  const auto matched = [&](std::string_view pattern) {
    return pipeline.metrics.value("logpipe_parse_pattern_matched_total",
                                  {{"component", "parse"}, {"pattern", std::string(pattern)}});
  };
  CHECK(matched("1") == 2);
  CHECK(matched("2") == 1);
  CHECK(matched("3") == 0);
  CHECK(pipeline.metrics.value("logpipe_parse_pattern_gave_up_total", {{"component", "parse"}, {"pattern", "1"}}) == 0);
}

TEST_CASE("parse: a pattern that gives up is counted") {
  Pipeline pipeline("stages: [{parse: {regex: '^(?<a>(x+x+)+)$'}}]");
  CHECK(pipeline.run(std::string(60, 'x') + "y\n") == "{\"message\":\"" + std::string(60, 'x') + "y\"}\n");
  CHECK(pipeline.metrics.value("logpipe_parse_pattern_gave_up_total", {{"component", "parse"}, {"pattern", "1"}}) == 1);
  for (int i = 0; i < 32; ++i) pipeline.run("xx\n");
  CHECK(pipeline.metrics.value("logpipe_parse_pattern_seconds_total", {{"component", "parse"}, {"pattern", "1"}}) > 0);
}

TEST_CASE("parse: the severity of a syslog line is its level") {
  Pipeline pipeline("stages: [{parse: syslog}, {level: warn}]");
  CHECK(pipeline.run("<27>Nov 21 13:00:02 h a[1]: x\n<30>Nov 21 13:00:02 h a[1]: y\n") ==
        "{\"facility\":\"daemon\",\"severity\":\"err\",\"time\":\"Nov 21 13:00:02\",\"host\":\"h\",\"app\":\"a\","
        "\"pid\":1,\"message\":\"x\"}\n");
}

TEST_CASE("parse: columns, pairs and lines of containers become fields") {
  Pipeline csv("stages: [{parse: {csv: [a, b]}}]");
  CHECK(csv.run("1,\"x,y\"\n1\n") == "{\"a\":1,\"b\":\"x,y\"}\n{\"message\":\"1\"}\n");
  Pipeline tabs("stages: [{parse: {csv: {columns: [a], separator: \"\\t\", mismatch: allow}}}]");
  CHECK(tabs.run("1\t2\n") == "{\"a\":1,\"column2\":2}\n");
  Pipeline kv("stages: [{parse: {kv: {field_separator: ';', pair_separator: ':'}}}]");
  CHECK(kv.run("a: 1; b: 'x'\n") == "{\"a\":1,\"b\":\"x\"}\n");
  Pipeline plain("stages: [{parse: kv}]");
  CHECK(plain.run("words a=1\n") == "{\"a\":1}\n");
  Pipeline cri("stages: [{parse: cri}, {parse: {field: message, format: json}}]");
  CHECK(cri.run("2016-10-06T00:17:09Z stdout F {\"a\":1}\n") ==
        "{\"time\":\"2016-10-06T00:17:09Z\",\"stream\":\"stdout\",\"tag\":\"F\",\"message\":\"{\\\"a\\\":1}\",\"a\":1}"
        "\n");
}

TEST_CASE("parse: a time in a field becomes the timestamp") {
  const auto stamped = [](std::string_view options, std::string_view value) {
    Pipeline pipeline("stages: [{parse: {json: {}, timestamp: " + std::string(options) + "}}]");
    const std::string out = pipeline.run("{\"time\":" + std::string(value) + "}\n");
    const std::size_t at = out.find(",\"timestamp\":");
    return at == std::string::npos ? "-" : out.substr(at + 13, out.size() - at - 15);
  };
  CHECK(stamped("time", "\"2026-11-21T13:00:00.5+01:00\"") == "\"2026-11-21T13:00:00.5+01:00\"");
  CHECK(stamped("time", "\"2026-11-21 13:00:00\"") == "\"2026-11-21T13:00:00Z\"");
  CHECK(stamped("{zone: '+01:00'}", "\"2026-11-21 13:00:00\"") == "\"2026-11-21T12:00:00Z\"");
  CHECK(stamped("time", "\"10/Oct/2000:13:55:36 -0700\"") == "\"2000-10-10T20:55:36Z\"");
  CHECK(stamped("time", "\"2024 Feb 29 01:02:03\"") == "\"2024-02-29T01:02:03Z\"");
  CHECK(stamped("time", "1795262400.5") == "\"2026-11-21T12:00:00.500Z\"");
  CHECK(stamped("{format: epoch_ms}", "1") == "\"1970-01-01T00:00:00.001Z\"");
  CHECK(stamped("{format: epoch_us}", "\"1\"") == "\"1970-01-01T00:00:00.000001Z\"");
  CHECK(stamped("{format: '%d.%m.%Y %H:%M', zone: '-01:00'}", "\"21.11.2026 13:00\"") == "\"2026-11-21T14:00:00Z\"");
  CHECK(stamped("{format: clf}", "\"2026-11-21T13:00:00Z\"") == "-");
  CHECK(stamped("time", "\"yesterday\"") == "-");
  CHECK(stamped("time", "null") == "-");
}

TEST_CASE("parse: a timestamp that is one keeps its place and spelling, and what is none is counted") {
  Pipeline pipeline("stages: [{parse: {format: logfmt, timestamp: timestamp, level: sev}}]");
  CHECK(pipeline.run("timestamp=2026-11-21T13:00:00+01:00 sev=4\ntimestamp=1795262400 sev=E\nx=1\nwords\n") ==
        "{\"timestamp\":\"2026-11-21T13:00:00+01:00\",\"sev\":4}\n{\"timestamp\":\"2026-11-21T12:00:00Z\",\"sev\":"
        "\"E\"}\n"
        "{\"x\":1}\n{\"message\":\"words\"}\n");
  CHECK(pipeline.metrics.value("logpipe_parse_timestamp_failed_events_total", {{"component", "parse"}}) == 1);
  CHECK(pipeline.batch.events[0].edits == kNoEdit);
  CHECK(pipeline.batch.events[0].level == Level::warn);
  CHECK(pipeline.batch.events[2].level == Level::unknown);
  CHECK(pipeline.batch.events[2].level_known);
  CHECK_FALSE(pipeline.batch.events[3].level_known);
}

TEST_CASE("parse: a field is parsed, its fields put beside it or into an object") {
  const std::string_view lines = "{\"log\":\"a=1 b=\\\"x\\ny\\\"\",\"a\":0}\n";
  Pipeline beside("stages: [{parse: json}, {parse: {field: log, format: logfmt}}]");
  CHECK(beside.run(lines) == "{\"log\":\"a=1 b=\\\"x\\ny\\\"\",\"a\":1,\"b\":\"x\\ny\"}\n");
  Pipeline prefixed("stages: [{parse: json}, {parse: {field: log, format: logfmt, prefix: l.}}]");
  CHECK(prefixed.run(lines) == "{\"log\":\"a=1 b=\\\"x\\ny\\\"\",\"a\":0,\"l.a\":1,\"l.b\":\"x\\ny\"}\n");
  Pipeline into("stages: [{parse: json}, {parse: {field: log, format: logfmt, into: log}}]");
  CHECK(into.run(lines) == "{\"log\":{\"a\":1,\"b\":\"x\\ny\"},\"a\":0}\n");
  Pipeline nested("stages: [{parse: json}, {parse: {field: .o.j, format: json, into: j}}]");
  CHECK(nested.run("{\"o\":{\"j\":\"{\\\"k\\\":[1.0]}\"}}\n") ==
        "{\"o\":{\"j\":\"{\\\"k\\\":[1.0]}\"},\"j\":{\"k\":[1.0]}}\n");
  Pipeline line("stages: [{parse: {format: logfmt, into: pairs}}]");
  CHECK(line.run("a=1\n") == "{\"message\":\"a=1\",\"pairs\":{\"a\":1}}\n");
}

TEST_CASE("parse: an event without the field, and one that is not in the format, are told apart") {
  Pipeline keep("stages: [{parse: json}, {parse: {field: log, format: auto}}]");
  CHECK(keep.run("{\"log\":\"{\\\"b\\\":2}\"}\n{\"x\":1}\n{\"log\":null}\n{\"log\":\"words\"}\n") ==
        "{\"log\":\"{\\\"b\\\":2}\",\"b\":2}\n{\"x\":1}\n{\"log\":null}\n{\"log\":\"words\"}\n");
  const auto failed = [](Pipeline& pipeline, std::string_view reason) {
    return pipeline.metrics.value("logpipe_parse_failed_events_total",
                                  {{"component", "parse"}, {"reason", std::string(reason)}});
  };
  CHECK(failed(keep, "missing") == 2);
  CHECK(failed(keep, "format") == 1);
  CHECK(keep.batch.events[1].parse_failed);
  Pipeline discard("stages: [{parse: {json: {}}}, {parse: {field: log, format: json, on_failure: discard}}]");
  CHECK(discard.run("{\"log\":\"{}\"}\n{\"x\":1}\n") == "{\"log\":\"{}\"}\n");
  CHECK(discard.tallies() == "1/parse/failed 1 8\n");
}

TEST_CASE("parse: what another stage kept is not discarded by one that parses lines") {
  Pipeline pipeline(
      "stages: [{parse: logfmt}, {parse: {field: a, format: json}}, {parse: {format: clf, on_failure: discard}}]");
  CHECK(pipeline.run("a=1\nwords\n") == "{\"a\":1}\n");
  CHECK(pipeline.tallies() == "2/parse/failed 1 6\n");
}

TEST_CASE("parse: JSON of several lines in a field makes an event of one") {
  const std::string_view line = "{\"body\":\"{\\n  \\\"a\\\": {\\n \\\"b\\\":1}}\"}\n";
  for (const std::string_view into : {"", ", into: o"}) {
    CAPTURE(into);
    Pipeline pipeline("stages: [{parse: json}, {parse: {field: body, format: json" + std::string(into) + "}}]");
    const std::string out = pipeline.run(line);
    CHECK(std::count(out.begin(), out.end(), '\n') == 1);
    CHECK(out.find("\"a\":{  \"b\":1}") != std::string::npos);
  }
}

TEST_CASE("parse: many fields of a field are put in one edit, behind those they replace") {
  std::string pairs;
  std::string expected;
  for (int i = 0; i < 200; ++i) {
    const std::string name = "k" + std::to_string(i);
    pairs += (i == 0 ? "" : " ") + name + "=" + std::to_string(i);
    if (i != 7 && i != 130) expected += ",\"" + name + "\":" + std::to_string(i);
  }
  Pipeline pipeline("stages: [{parse: json}, {parse: {field: log, format: logfmt}}]");
  CHECK(pipeline.run("{\"k130\":0,\"log\":\"" + pairs + "\",\"k7\":0,\"k7\":1}\n") ==
        "{\"k130\":130,\"log\":\"" + pairs + "\",\"k7\":7" + expected + "}\n");
  CHECK(pipeline.batch.edits.size() == 4);
  // Once more, into what was appended.
  Pipeline twice(
      "stages: [{parse: json}, {parse: {field: log, format: logfmt}}, {parse: {field: more, format: json}}]");
  CHECK(twice.run("{\"log\":\"a=1 b=2\",\"more\":\"{\\\"b\\\":3,\\\"c\\\":4}\"}\n") ==
        "{\"log\":\"a=1 b=2\",\"more\":\"{\\\"b\\\":3,\\\"c\\\":4}\",\"a\":1,\"b\":3,\"c\":4}\n");
}

TEST_CASE("parse: the time and the level of what another stage parsed stay") {
  Pipeline pipeline(
      "stages: [{parse: json}, {level: trace}, {parse: {format: logfmt, level: severity, timestamp: time}}]");
  CHECK(pipeline.run("{\"level\":\"error\",\"timestamp\":\"x\",\"time\":1}\nlevel=warn time=1\n") ==
        "{\"level\":\"error\",\"timestamp\":\"x\",\"time\":1}\n"
        "{\"level\":\"warn\",\"time\":1,\"timestamp\":\"1970-01-01T00:00:01Z\"}\n");
  CHECK(pipeline.metrics.value("logpipe_parse_timestamp_failed_events_total", {{"component", "parse"}}) == 0);
  CHECK(pipeline.batch.events[0].level == Level::error);
  CHECK(pipeline.batch.events[1].level == Level::warn);
}

TEST_CASE("parse: a level that the text did not have is looked for again in the fields") {
  Pipeline csv("stages: [{level: {min: debug, unknown: keep}}, {parse: {csv: [level, msg]}}, {level: error}]");
  CHECK(csv.run("error,boom\ninfo,fine\n") == "{\"level\":\"error\",\"msg\":\"boom\"}\n");
  Pipeline field(
      "stages: [{parse: json}, {level: {min: debug, unknown: keep}}, {parse: {field: m, format: json}}, {level: "
      "error}]");
  CHECK(field.run("{\"m\":\"{\\\"level\\\":\\\"info\\\"}\"}\n").empty());
}

TEST_CASE("parse: with `into` alone a text is parsed as it was set") {
  Pipeline pipeline("stages: [{enrich: {set: {message: 'a=2'}}}, {parse: {format: logfmt, into: pairs}}]");
  CHECK(pipeline.run("a=1\n") == "{\"message\":\"a=2\",\"pairs\":{\"a\":2}}\n");
}

TEST_CASE("parse: a wrong configuration is told with its place") {
  CHECK(test::findings("stages:\n  - parse: jsno\n") ==
        "2:12 LP0105 stages[0].parse: expected json, logfmt, syslog, clf, cri, csv, kv, dissect, regex or auto, got "
        "\"jsno\" | did "
        "you mean "
        "\"json\"?\n");
  CHECK(test::findings("stages:\n  - parse:\n") ==
        "2:5 LP0102 stages[0].parse: expected a format | write `parse: json`, `parse: auto` or `parse: {dissect: "
        "'%{time} %{text}'}`\n");
  CHECK(test::findings("stages:\n  - parse: {format: logfmt, json: {strict: true}}\n") ==
        "2:35 LP0106 stages[0].parse.json: options for json, but the format is logfmt\n");
  CHECK(test::findings("stages:\n  - parse: {json: {stict: true}}\n") ==
        "2:20 LP0101 stages[0].parse.json.stict: unknown option | did you mean \"strict\"?\n");
  CHECK(test::findings("stages:\n  - parse: dissect\n") ==
        "2:12 LP0102 stages[0].parse.format: the format dissect needs its options | write `dissect: …`\n");
  CHECK(test::findings("stages:\n  - parse: {dissect: '%{a}%{b}'}\n") ==
        "2:27 LP0401 stages[0].parse.dissect: no text stands between this field and the one before it | fields "
        "are told apart by the texts between them\n");
  CHECK(test::findings("stages:\n  - parse: {format: json, prefix: x}\n") ==
        "2:35 LP0106 stages[0].parse.prefix: lines of JSON keep their names | a prefix goes with `field`, `into` or "
        "another format\n");
  CHECK(test::findings("stages:\n  - parse: {regex: '(x'}\n").find("stages[0].parse.regex: regular expression: ") !=
        std::string::npos);
  CHECK(test::findings("stages:\n  - parse: {regex: 'x'}\n") ==
        "2:13 LP0103 stages[0].parse.regex.patterns: a pattern without named groups makes no fields | name a group: "
        "(?<status>\\d+)\n");
  CHECK(test::findings("stages:\n  - parse: {csv: [a, b, a]}\n") ==
        "2:13 LP0103 stages[0].parse.csv.columns: the name \"a\" is there twice\n");
  CHECK(test::findings("stages:\n  - parse: {json: {}, timestamp: {format: '%Q'}}\n").find("no such conversion") !=
        std::string::npos);
  CHECK(test::findings("stages:\n  - parse: {json: {}, timestamp: {format: '%H:%M:%S'}}\n").find("no date in it") !=
        std::string::npos);
  CHECK(test::findings("stages:\n  - parse: {csv: {columns: [column3, b], mismatch: allow}}\n")
            .find("a further value would be named \"column3\" too") != std::string::npos);
  CHECK(test::findings("stages:\n  - parse: {csv: {columns: [column2, b, column03], mismatch: allow}}\n").empty());
  CHECK(test::findings("stages:\n  - parse: {regex: '(?J)(?<a>\\w+) (?<a>\\w+)'}\n")
            .find("two groups of a pattern have the name \"a\"") != std::string::npos);
  CHECK(test::findings("stages:\n  - parse: {json: {}, timestamp: {zone: Mars}}\n")
            .find("expected UTC or an offset such as +01:00, got \"Mars\"") != std::string::npos);
}
