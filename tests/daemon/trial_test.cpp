#include "daemon/trial.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "daemon/cases.hpp"
#include "daemon/explain.hpp"
#include "tests/daemon/support.hpp"

using namespace logpipe;
using namespace logpipe::test;
using Outcome = TrialStep::Outcome;

namespace {

const std::string kParts =
    "sources:\n  a: {type: file, include: a.log}\n  b: {type: file, include: b.log}\n"
    "sinks:\n  x: {type: file, path: x.out, encoding: json}\n  y: {type: file, path: y.out, when: level >= error}\n";

/// A configuration together with what its marks point into.
struct Pipeline {
  config::Diagnostics marks;
  Settings settings;
  explicit Pipeline(const std::string& yaml) {
    settings = decode_settings(config::load_text("p.yaml", yaml, config::FixedEnvironment(), marks), marks);
    const std::string wrong = config::render_text(marks);
    REQUIRE(wrong == "");
  }
};

std::string words(const Trial& trial) {
  std::string text;
  for (const TrialStep& step : trial.steps) {
    text += (text.empty() ? "" : " ") + step.part + ":" + std::string(outcome_name(step.outcome));
    if (!step.reason.empty()) text += "(" + step.reason + ")";
  }
  return text;
}

Case case_of(const std::string& yaml) {
  config::Diagnostics diagnostics;
  const config::Node root = config::load_text("c.yaml", yaml, config::FixedEnvironment(), diagnostics);
  const auto file = config::decode<CaseFile>(root, diagnostics);
  const std::string wrong = config::render_text(diagnostics);
  REQUIRE(wrong == "");
  REQUIRE(file.cases.size() == 1);
  return file.cases.front();
}

std::string flat(const std::vector<FlatValue>& values) {
  std::string text;
  for (const FlatValue& value : values) text += value.path + "=" + value.json + ";";
  return text;
}

}  // namespace

TEST_CASE("trial: every step says what it did, with its place in the configuration") {
  const Pipeline pipeline(kParts + "stages:\n  - parse: json\n  - level: warn\n  - enrich: {set: {env: prod}}\n");
  TrialRun run(pipeline.settings);
  const Trial trial = run(0, "a", R"({"level":"warn","env":"x","gone":1})");
  CHECK(words(trial) == "parse:changed level:passed enrich:changed x:delivered y:withheld(when)");
  CHECK(explain_text(trial, pipeline.marks, "> ") ==
        "> parse (p.yaml:8): changed\n"
        ">     + level = \"warn\"\n"
        ">     + env = \"x\"\n"
        ">     + gone = 1\n"
        "> level (p.yaml:9): passed, level warn >= warn\n"
        "> enrich (p.yaml:10): changed\n"
        ">     ~ env = \"prod\", was \"x\"\n"
        "> x (p.yaml:5): delivered\n"
        ">     {\"level\":\"warn\",\"env\":\"prod\",\"gone\":1}\n"
        "> y (p.yaml:6): withheld, level >= error does not hold, level is warn\n");
  REQUIRE(trial.passed.size() == 1);
  CHECK(trial.passed[0].json == R"({"level":"warn","env":"prod","gone":1})");
}

TEST_CASE("trial: what is discarded says why, and goes no further") {
  const Pipeline pipeline(kParts + "stages:\n  - parse: json\n  - level: warn\n  - enrich: {set: {env: prod}}\n");
  TrialRun run(pipeline.settings);
  const Trial trial = run(0, "a", R"({"level":"debug"})");
  CHECK(words(trial) == "parse:changed level:discarded(level)");
  CHECK(trial.steps.back().why == "level debug < warn");
  CHECK(trial.passed.empty());
  CHECK(
      explain_json("e", trial, pipeline.marks)
          .ends_with(
              R"({"pipeline":"main","part":"level","file":"p.yaml","line":9,"outcome":"discarded","reason":"level","why":"level debug < warn"}]})"));
}

TEST_CASE("trial: a line that is not in the format says so once") {
  const Pipeline pipeline(kParts + "stages:\n  - parse: json\n  - enrich: {set: {env: prod}}\n");
  TrialRun run(pipeline.settings);
  const std::string text = explain_text(run(0, "a", "no json"), pipeline.marks, "");
  CHECK(text.find("parse (p.yaml:8): passed, not in the format, kept as text\n") != std::string::npos);
  CHECK(text.find("enrich (p.yaml:9): changed\n") != std::string::npos);

  const Pipeline strict(kParts + "stages: [{parse: {format: json, on_failure: discard}}]\n");
  TrialRun other(strict.settings);
  CHECK(words(other(0, "a", "no json")) == "parse:failed(parse)");
}

TEST_CASE("trial: stages remember from event to event, and several lines are one event") {
  const Pipeline pipeline(kParts + "stages: [{dedupe: {}}]\n");
  TrialRun run(pipeline.settings);
  CHECK(words(run(0, "a", "one\nand more")) == "dedupe:passed x:delivered y:withheld(when)");
  CHECK(words(run(0, "a", "one")) == "dedupe:passed x:delivered y:withheld(when)");
  CHECK(words(run(0, "a", "one\nand more")) == "dedupe:discarded(duplicate)");
}

TEST_CASE("trial: what is published goes on in the pipelines that subscribe") {
  const Pipeline pipeline(
      kParts +
      "pipelines:\n"
      "  first: {sources: [a, b], stages: [{parse: json}, {enrich: {set: {n: 1}}}], publish: 'logs.{service}'}\n"
      "  last: {subscribe: 'logs.api', stages: [{level: warn}], sinks: [x, y]}\n");
  TrialRun run(pipeline.settings);
  CHECK(words(run(0, "a", R"({"service":"api","level":"error"})")) ==
        "parse:changed enrich:changed logs.api:published level:passed x:delivered y:delivered");
  // What enters the second one came from the first.
  CHECK(words(run(1, "last", R"({"level":"warn"})")) == "level:passed x:delivered y:withheld(when)");
  const Trial lost = run(0, "a", R"({"service":"web"})");
  CHECK(words(lost) == "parse:changed enrich:changed logs.web:published");
  CHECK(lost.steps.back().why == "no pipeline subscribes to it");
}

TEST_CASE("trial: where an event can enter") {
  const Settings settings =
      settings_of(kParts + "pipelines:\n  one: {sources: a, sinks: x}\n  two: {sources: b, sinks: y}\n");
  const auto all = trial_entries(settings, "", "");
  REQUIRE(all.has_value());
  CHECK(all->size() == 2);
  const auto one = trial_entries(settings, "", "b");
  REQUIRE(one.has_value());
  REQUIRE(one->size() == 1);
  CHECK(one->front().pipeline == 1);
  CHECK(trial_entries(settings, "three", "").error().message == "there is no pipeline \"three\", only one, two");
  CHECK(trial_entries(settings, "one", "b").error().message ==
        "no source \"b\" feeds pipeline \"one\"; sources are a, b");
}

TEST_CASE("cases: values are compared by their scalars") {
  std::vector<FlatValue> values;
  REQUIRE(flatten_json(R"({"a":{"b":[1,{"c":"x\ny"},[]],"d":{}},"e":null, "f":true})", values));
  CHECK(flat(values) == R"(.a.b[0]=1;.a.b[1].c="x\ny";.a.b[2]=[];.a.d={};.e=null;.f=true;)");
  CHECK_FALSE(flatten_json("plain", values));
  config::Diagnostics diagnostics;
  const config::Node node = config::load_text("n.yaml", "a: {b: [1, {c: \"x\\ny\"}, []], d: {}}\ne: null\nf: true\n",
                                              config::FixedEnvironment(), diagnostics);
  CHECK(flat(flatten_node(node)) == R"(.a.b[0]=1;.a.b[1].c="x\ny";.a.b[2]=[];.a.d={};.e=null;.f=true;)");
}

TEST_CASE("cases: pass when what comes out is what was expected, and tell the difference when not") {
  const Pipeline pipeline(kParts + "stages: [{parse: json}, {level: warn}, {enrich: {set: {env: prod}}}]\n");
  const auto problem = [&](const std::string& rest) {
    std::string text =
        run_case(case_of("cases: [{name: c, " + rest + "}]\n"), pipeline.settings, pipeline.marks).problem;
    return text.substr(0, text.find("what happened:"));
  };
  const std::string warn = R"(input: '{"level":"warn","n":1}')";
  CHECK(problem(warn + ", output: {level: warn, n: 1.0, env: prod}") == "");
  CHECK(problem(warn + ", output: {n: 1}, match: subset") == "");
  CHECK(problem(warn + R"(, output: '{"level":"warn","n":1,"env":"prod"}')") == "");
  CHECK(problem(warn + ", sink: x, output: {level: warn, n: 1, env: prod}") == "");
  CHECK(problem(warn + ", sink: y, output: [], discarded: when") == "");
  CHECK(problem(R"(input: '{"level":"info"}', discarded: level)") == "");
  CHECK(problem(R"(input: '{"level":"warn","a.b":1}', output: {a: {b: 1}}, match: subset)") ==
        "output 1 differs (- expected, + came):\n  - a.b = 1\n");
  CHECK(problem(R"(input: '{"level":"warn","n":9007199254740993}', output: {n: 9007199254740992}, match: subset)") !=
        "");
  CHECK(problem(R"(input: '{"level":"warn","n":1,"n":2}', output: {level: warn, n: 1, env: prod})") ==
        "output 1 differs (- expected, + came):\n  + n = 2\n");
  CHECK(problem(R"(input: '{"level":"info"}', output: [])") == "");

  CHECK(problem(warn + ", output: {level: warn, n: '1', env: prod}") ==
        "output 1 differs (- expected, + came):\n  - n = \"1\"\n  + n = 1\n");
  CHECK(problem(warn + ", output: {level: warn, n: 1}") ==
        "output 1 differs (- expected, + came):\n  + env = \"prod\"\n");
  CHECK(problem(warn + ", output: {level: warn, n: 1, env: prod, more: x}") ==
        "output 1 differs (- expected, + came):\n  - more = \"x\"\n");
  CHECK(problem(warn + ", output: []") ==
        "output 1 differs (- expected, + came):\n  + {\"level\":\"warn\",\"n\":1,\"env\":\"prod\"}\n");
  CHECK(problem(warn + ", discarded: level") == "discarded differs (- expected, + came):\n  - level\n  + nothing\n");
  CHECK(problem(R"(input: '{"level":"info"}', output: 'x')") == "output 1 differs (- expected, + came):\n  - x\n");
  CHECK(problem(warn + ", sink: z, output: []") == "there is no sink \"z\"\n");
}

TEST_CASE("cases: without an expectation a case is refused") {
  config::Diagnostics diagnostics;
  const config::Node root =
      config::load_text("c.yaml", "cases:\n  - {name: c, input: x}\n", config::FixedEnvironment(), diagnostics);
  config::decode<CaseFile>(root, diagnostics);
  CHECK(config::render_text(diagnostics).find("c.yaml:2:5: error") != std::string::npos);
}

TEST_CASE("cases: the report is well-formed, whatever a problem contains") {
  const std::string report =
      junit_report({{"a < b & \"c\"", "f.yaml", 3, "x\x01 <y>\n", {}}, {"fine", "f.yaml", 4, "", {}}});
  CHECK(report.find("<testsuite name=\"f.yaml\" tests=\"2\" failures=\"1\">") != std::string::npos);
  CHECK(report.find("name=\"a &lt; b &amp; &quot;c&quot;\"") != std::string::npos);
  CHECK(report.find(">x? &lt;y&gt;\n</failure>") != std::string::npos);
  CHECK(report.find("<testcase name=\"fine\" file=\"f.yaml\" line=\"4\" time=\"0.000000\"/>") != std::string::npos);
}
