#include "stages/level.hpp"

#include "tests/stages/support.hpp"

using namespace logpipe;
using test::Pipeline;

TEST_CASE("level: what is below the minimum is discarded, what has no level is kept") {
  Pipeline pipeline("stages: [{level: warn}]");
  CHECK(pipeline.run("INFO a\nWARN b\nplain\nDEBUG c\r\nERROR d") ==
        "{\"message\":\"WARN b\"}\n{\"message\":\"plain\"}\n{\"message\":\"ERROR d\"}\n");
  CHECK(pipeline.tallies() == "0/level/discarded 2 16\n");
  CHECK(pipeline.metrics.value("logpipe_level_unknown_events_total", {{"component", "level"}}) == 1);
  for (const Event& event : pipeline.batch.events) CHECK(event.level_known);
  CHECK(pipeline.batch.events[0].level == Level::warn);
}

TEST_CASE("level: events without a level are discarded when asked, under a reason of their own") {
  Pipeline pipeline("stages: [{parse: auto}, {level: {min: notice, unknown: discard}}]");
  CHECK(pipeline.run("{\"level\":\"info\"}\n{\"level\":\"notice\"}\nlevel=error x=1\nplain\n{\"x\":1}\n") ==
        "{\"level\":\"notice\"}\n{\"level\":\"error\",\"x\":1}\n");
  CHECK(pipeline.tallies() == "1/level/discarded 1 17\n1/unknown_level/discarded 2 14\n");
}

TEST_CASE("level: the same lines are kept, parsed or not") {
  const std::string_view lines =
      "{\"level\":\"info\"}\n{\"msg\":\"level\",\"severity\":\"ERROR\"}\n{\"a\":{\"level\":\"fatal\"},\"lvl\":20}"
      "\nlevel=warn x=1\n";
  Pipeline raw("stages: [{level: {min: warn, unknown: discard}}]");
  Pipeline parsed("stages: [{parse: auto}, {level: {min: warn, unknown: discard}}]");
  raw.run(lines);
  parsed.run(lines);
  REQUIRE(raw.batch.events.size() == 2);
  REQUIRE(parsed.batch.events.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) CHECK(raw.batch.events[i].offset == parsed.batch.events[i].offset);
}

TEST_CASE("level: a field of one's own is the only one looked at") {
  Pipeline pipeline("stages: [{parse: json}, {level: {min: error, field: .log.sev, unknown: discard}}]");
  CHECK(
      pipeline.run("{\"level\":\"fatal\"}\n{\"level\":\"info\",\"log\":{\"sev\":\"err\"}}\n{\"log\":{\"sev\":3}}\n") ==
      "{\"level\":\"info\",\"log\":{\"sev\":\"err\"}}\n{\"log\":{\"sev\":3}}\n");
}

TEST_CASE("level: a field of one's own overrides what an earlier stage found") {
  Pipeline pipeline("stages: [{level: trace}, {parse: json}, {level: {min: error, field: sev}}]");
  CHECK(pipeline.run("{\"level\":\"fatal\",\"sev\":\"info\"}\n{\"level\":\"debug\",\"sev\":\"crit\"}\n") ==
        "{\"level\":\"debug\",\"sev\":\"crit\"}\n");
}

TEST_CASE("level: other names of levels are understood in the configuration") {
  Pipeline pipeline("stages: [{level: {min: WARNING}}]");
  CHECK(pipeline.run("INFO a\nWARN b\n") == "{\"message\":\"WARN b\"}\n");
}

TEST_CASE("level: a wrong configuration is told with its place") {
  CHECK(test::findings("stages:\n  - level: wran\n") ==
        "2:12 LP0105 stages[0].level: unknown level \"wran\" | did you mean \"warn\"?\n");
  CHECK(test::findings("stages:\n  - level: {unknown: keep}\n") ==
        "2:12 LP0102 stages[0].level: missing option \"min\" | Events below this level are discarded. `level: warn` is "
        "short for `level: {min: warn}`.\n");
  const std::string path = test::findings("stages:\n  - level: {min: warn, field: .a..b}\n");
  CHECK_MESSAGE(path.starts_with("2:31 LP0401 stages[0].level.field: "), path);
}
