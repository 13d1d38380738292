#include "stages/parse.hpp"

#include "tests/stages/support.hpp"

using namespace logpipe;
using test::Pipeline;

TEST_CASE("parse: JSON lines become fields, others stay text and are counted") {
  Pipeline pipeline("stages: [{parse: json}]");
  CHECK(pipeline.run("{\"a\":1}\nplain\n{\"b\":2\n{\"c\":[3]}\n") ==
        "{\"a\":1}\n{\"message\":\"plain\"}\n{\"message\":\"{\\\"b\\\":2\"}\n{\"c\":[3]}\n");
  CHECK(pipeline.tallies().empty());
  CHECK(pipeline.metrics.value("logpipe_parse_failed_events_total", {{"component", "parse"}}) == 2);
  CHECK(pipeline.batch.events[0].form == Form::json);
  CHECK(pipeline.batch.events[1].parse_failed);
  pipeline.run("x\n");
  CHECK(pipeline.metrics.value("logpipe_parse_failed_events_total", {{"component", "parse"}}) == 3);
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
  CHECK(pipeline.metrics.value("logpipe_parse_failed_events_total", {{"component", "parse"}}) == 1);
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

TEST_CASE("parse: a wrong configuration is told with its place") {
  CHECK(test::findings("stages:\n  - parse: jsno\n") ==
        "2:12 LP0105 stages[0].parse: expected json, logfmt or auto, got \"jsno\" | did you mean \"json\"?\n");
  CHECK(test::findings("stages:\n  - parse:\n") ==
        "2:5 LP0102 stages[0].parse: expected a format | write `parse: json`, `parse: logfmt` or `parse: auto`\n");
  CHECK(test::findings("stages:\n  - parse: {format: logfmt, json: {strict: true}}\n") ==
        "2:35 LP0106 stages[0].parse.json: options for JSON, but the format is logfmt\n");
  CHECK(test::findings("stages:\n  - parse: {json: {stict: true}}\n") ==
        "2:20 LP0101 stages[0].parse.json.stict: unknown option | did you mean \"strict\"?\n");
}
