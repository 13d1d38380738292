#include <doctest/doctest.h>

#include <string>

#include "tests/e2e/json.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;

namespace {

struct Case {
  const char* what;
  const char* yaml;
  const char* said;
};

// What is printed for a person is compared to the letter: the place, the line, the caret, the hint.
// clang-format off
const Case kCases[] = {
    {"an unknown key",
     R"(state_dir: /tmp/state
sorces:
  app: {type: file, include: a.log}
)",
     R"(p.yaml:2:1: error[LP0101]: sorces: unknown option
     2 | sorces:
       | ^^^^^^
       = hint: did you mean "sources"?
)"},
    {"two sinks in one file",
     R"(sinks:
  one: {type: file, path: out.log}
  two: {type: file, path: ./out.log}
)",
     R"(p.yaml:3:27: error[LP0106]: sinks.two.path: sink "one" writes to this file already
     3 |   two: {type: file, path: ./out.log}
       |                           ^^^^^^^^^
       = hint: give each sink a file of its own
)"},
    {"two sinks on stdout",
     R"(sinks:
  one: {type: stdout}
  two: {type: stdout, when: level >= error}
)",
     R"(p.yaml:3:15: error[LP0106]: sinks.two.type: sink "one" writes to stdout already; two would tear each other's lines
     3 |   two: {type: stdout, when: level >= error}
       |               ^^^^^^
       = hint: join their conditions in one sink
)"},
    {"a source that reads what a sink writes",
     R"(sources:
  all: {type: file, include: "logs/*.log"}
sinks:
  out: {type: file, path: logs/out.log}
)",
     R"(p.yaml:4:27: error[LP0106]: sinks.out.path: source "all" reads this file, so what is written would be read again, for ever
     4 |   out: {type: file, path: logs/out.log}
       |                           ^^^^^^^^^^^^
       = hint: write elsewhere, or add the file to sources.all.exclude
)"},
    {"a key that stands twice",
     R"(memory: 64MiB
drain_timeout: 5s
memory: 128MiB
)",
     R"(p.yaml:3:1: error[LP0202]: memory: "memory" is set twice; first at p.yaml:1:1
     3 | memory: 128MiB
       | ^^^^^^
)"},
    {"a size without a known unit",
     R"(memory: 64Q
)",
     R"(p.yaml:1:9: error[LP0103]: memory: expected a size such as 64KiB, got "64Q"
     1 | memory: 64Q
       |         ^^^
       = hint: units are B, KiB, MiB, GiB, kB, MB, GB
)"},
    {"durations without a known unit",
     R"(drain_timeout: 30
checkpoint_interval: 5 lightyears
)",
     R"(p.yaml:1:16: error[LP0103]: drain_timeout: expected a duration such as 5s, got "30"
     1 | drain_timeout: 30
       |                ^^
       = hint: write 30s or 30ms
p.yaml:2:22: error[LP0103]: checkpoint_interval: expected a duration such as 5s, got "5 lightyears"
     2 | checkpoint_interval: 5 lightyears
       |                      ^^^^^^^^^^^^
       = hint: units are ns, us, ms, s, m, h, d, the larger first: 1m30s
)"},
    {"a value out of range",
     R"(memory: 1KiB
)",
     R"(p.yaml:1:9: error[LP0104]: memory: expected a value from 4MiB to 1TiB, got "1KiB"
     1 | memory: 1KiB
       |         ^^^^
)"},
    {"an unknown type of source",
     R"(sources:
  app:
    type: fil
    include: a.log
)",
     R"(p.yaml:3:11: error[LP0105]: sources.app.type: unknown source type "fil"
     3 |     type: fil
       |           ^^^
       = hint: did you mean "file"?
)"},
    {"an unknown stage",
     R"(stages:
  - parse: json
  - levle: warn
)",
     R"(p.yaml:3:5: error[LP0105]: stages[1]: unknown stage "levle"
     3 |   - levle: warn
       |     ^^^^^
       = hint: did you mean "level"?
)"},
    {"an unknown option of a sink",
     R"(sinks:
  out:
    type: file
    path: out.log
    fsnc: always
)",
     R"(p.yaml:5:5: error[LP0101]: sinks.out.fsnc: unknown option
     5 |     fsnc: always
       |     ^^^^
       = hint: did you mean "fsync"?
)"},
    {"a word that is none of the choices",
     R"(sinks:
  out: {type: file, path: out.log, encoding: jsn}
)",
     R"(p.yaml:2:46: error[LP0105]: sinks.out.encoding: expected auto, raw, json, logfmt, pretty, otel or ecs, got "jsn"
     2 |   out: {type: file, path: out.log, encoding: jsn}
       |                                              ^^^
       = hint: did you mean "json"?
)"},
    {"an unknown level in a condition, inside quotes",
     R"(sinks:
  out:
    type: file
    path: out.log
    when: 'level >= errr'
)",
     R"(p.yaml:5:21: error[LP0401]: sinks.out.when: unknown level `errr`
     5 |     when: 'level >= errr'
       |                     ^^^^
       = hint: did you mean error?
)"},
    {"an unknown operator in a condition",
     R"(sinks:
  out: {type: stdout, when: level => error}
)",
     R"(p.yaml:2:35: error[LP0401]: sinks.out.when: unknown operator `=>`
     2 |   out: {type: stdout, when: level => error}
       |                                   ^^
       = hint: did you mean >=?
)"},
    {"an unknown level and an unknown option of a stage",
     R"(stages:
  - level: {min: warnning, unknwn: keep}
)",
     R"(p.yaml:2:18: error[LP0105]: stages[0].level.min: unknown level "warnning"
     2 |   - level: {min: warnning, unknwn: keep}
       |                  ^^^^^^^^
       = hint: known: trace, debug, info, notice, warn, error, critical, alert, fatal
p.yaml:2:28: error[LP0101]: stages[0].level.unknwn: unknown option
     2 |   - level: {min: warnning, unknwn: keep}
       |                            ^^^^^^
       = hint: did you mean "unknown"?
)"},
    {"a source without its required option",
     R"(sources:
  app: {type: file}
)",
     R"(p.yaml:2:8: error[LP0102]: sources.app: missing option "include"
     2 |   app: {type: file}
       |        ^
       = hint: Files to read: a path or pattern, or a list of them. `*`, `?` and `[…]` match within one directory, `**` matches any number of directories.
)"},
    {"a sink without its required option",
     R"(sinks:
  out:
    type: file
)",
     R"(p.yaml:3:5: error[LP0102]: sinks.out: missing option "path"
     3 |     type: file
       |     ^
       = hint: The file to append to. `{field}` and the conversions `%Y %m %d %H %M …` make one file per value.
)"},
    {"a sink without a type",
     R"(sinks:
  out:
    path: out.log
)",
     R"(p.yaml:3:5: error[LP0102]: sinks.out: missing option "type"
     3 |     path: out.log
       |     ^
       = hint: Which sink it is.
)"},
    {"a bracket that is not closed",
     R"(sources:
  app: {type: file, include: [a.log, b.log}
sinks: {}
)",
     R"(p.yaml:2:43: error[LP0201]: illegal flow end
     2 |   app: {type: file, include: [a.log, b.log}
       |                                           ^
)"},
    {"a tab as indentation",
     R"(sources:
	app: {type: file, include: a.log}
)",
     R"(p.yaml:2:2: error[LP0103]: sources: expected a map, got "app"
     2 | 	app: {type: file, include: a.log}
       | 	^^^
p.yaml:2:5: error[LP0201]: illegal map value
     2 | 	app: {type: file, include: a.log}
       | 	   ^
       = hint: a value that holds ": " needs quotes; or the indentation is off
)"},
    {"a number where a map belongs",
     R"(sinks: 5
)",
     R"(p.yaml:1:8: error[LP0103]: sinks: expected a map, got "5"
     1 | sinks: 5
       |        ^
)"},
    {"a brace in a path that is not closed",
     R"(sinks:
  out: {type: file, path: 'out/{service.log'}
)",
     R"(p.yaml:2:32: error[LP0403]: sinks.out.path: `{` is not closed
     2 |   out: {type: file, path: 'out/{service.log'}
       |                                ^^^^^^^^^^^^
       = hint: write `{{` for the character itself
)"},
    {"a lookup table that is not there",
     R"(stages:
  - parse: json
  - enrich:
      lookup:
        - {file: no/such/table.csv, key: service}
)",
     R"(p.yaml:5:18: error[LP0501]: stages[1].enrich.lookup[0].file: cannot read no/such/table.csv: No such file or directory
     5 |         - {file: no/such/table.csv, key: service}
       |                  ^^^^^^^^^^^^^^^^^
)"},
    {"an address that others can reach",
     R"(admin: {listen: 0.0.0.0:9632}
)",
     R"(p.yaml:1:17: error[LP0106]: admin.listen: this address can be reached from other machines
     1 | admin: {listen: 0.0.0.0:9632}
       |                 ^^^^^^^^^^^^
       = hint: listen on 127.0.0.1, or write allow_remote: true if that is meant
)"},
    {"an included file that is not there",
     R"(include: [common.yaml]
memory: 64MiB
)",
     R"(p.yaml:1:11: error[LP0209]: include: cannot read "common.yaml": No such file or directory
     1 | include: [common.yaml]
       |           ^^^^^^^^^^^
)"},
    {"a variable that is not set",
     R"(sinks:
  out:
    type: file
    path: '/var/log/${env:LOGPIPE_TEST_NOT_SET}.log'
)",
     R"(p.yaml:4:21: error[LP0302]: sinks.out.path: environment variable LOGPIPE_TEST_NOT_SET is not set
     4 |     path: '/var/log/${env:LOGPIPE_TEST_NOT_SET}.log'
       |                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = hint: give it a default: ${env:LOGPIPE_TEST_NOT_SET:-default}
)"},
    {"many mistakes at once",
     R"(memory: lots
sources:
  app: {type: file, inclde: a.log}
  web: {type: flie}
stages:
  - parse: jsn
  - level: loud
sinks:
  out:
    type: file
    path: 'logs/%Q.log'
    when: status >= 5xx
    fsync: sometimes
nonsense: true
)",
     R"(p.yaml:1:9: error[LP0103]: memory: expected a size such as 64KiB, got "lots"
     1 | memory: lots
       |         ^^^^
       = hint: units are B, KiB, MiB, GiB, kB, MB, GB
p.yaml:3:8: error[LP0102]: sources.app: missing option "include"
     3 |   app: {type: file, inclde: a.log}
       |        ^
       = hint: Files to read: a path or pattern, or a list of them. `*`, `?` and `[…]` match within one directory, `**` matches any number of directories.
p.yaml:3:21: error[LP0101]: sources.app.inclde: unknown option
     3 |   app: {type: file, inclde: a.log}
       |                     ^^^^^^
       = hint: did you mean "include"?
p.yaml:4:15: error[LP0105]: sources.web.type: unknown source type "flie"
     4 |   web: {type: flie}
       |               ^^^^
       = hint: did you mean "file"?
p.yaml:6:12: error[LP0105]: stages[0].parse: expected json, logfmt, syslog, clf, cri, csv, kv, dissect, regex or auto, got "jsn"
     6 |   - parse: jsn
       |            ^^^
       = hint: did you mean "json"?
p.yaml:7:12: error[LP0105]: stages[1].level: unknown level "loud"
     7 |   - level: loud
       |            ^^^^
       = hint: known: trace, debug, info, notice, warn, error, critical, alert, fatal
p.yaml:11:17: error[LP0403]: sinks.out.path: unknown conversion in a path
    11 |     path: 'logs/%Q.log'
       |                 ^^
       = hint: known: %Y %y %m %d %j %F %H %M %S %G %V %u; write %% for the character itself
p.yaml:12:22: error[LP0401]: sinks.out.when: unknown unit `xx`
    12 |     when: status >= 5xx
       |                      ^^
       = hint: units are ns us ms s m h d and B kB KiB MB MiB GB GiB TB TiB
p.yaml:13:12: error[LP0105]: sinks.out.fsync: expected never, interval or always, got "sometimes"
    13 |     fsync: sometimes
       |            ^^^^^^^^^
p.yaml:14:1: error[LP0101]: nonsense: unknown option
    14 | nonsense: true
       | ^^^^^^^^
       = hint: known: state_dir, memory, drain_timeout, checkpoint_interval, queue, admin, tap, log, sources, stages, sinks, pipelines
)"},
};
// clang-format on

}  // namespace

TEST_CASE("configuration errors: each is shown at its place with the line, a caret and what to do") {
  for (const Case& one : kCases) {
    CAPTURE(one.what);
    TempDir dir;
    write_file(dir / "p.yaml", one.yaml);
    const Result result = run({"validate", "--config", "p.yaml"}, {}, dir.path());
    CHECK(result.exit.status == 78);
    CHECK(result.err == one.said);
    CHECK(result.out == "");
  }
}

TEST_CASE("configuration errors: a run says the same as validate and starts nothing") {
  TempDir dir;
  write_file(dir / "p.yaml", "state_dir: state\nsinks:\n  out: {type: file, path: out.log, fsnc: never}\n");
  const Result checked = run({"validate", "--config", "p.yaml"}, {}, dir.path());
  const Result result = run({"--config", "p.yaml"}, "a line\n", dir.path());
  CHECK(result.exit.status == 78);
  CHECK(result.err == checked.err);
  CHECK_FALSE(std::filesystem::exists(dir / "state"));
  CHECK_FALSE(std::filesystem::exists(dir / "out.log"));
}

TEST_CASE("configuration errors: --format json has the same findings for programs, on stdout") {
  TempDir dir;
  write_file(dir / "p.yaml", "memory: 64Q\nsorces: {}\n");
  const Result result = run({"validate", "--config", "p.yaml", "--format", "json"}, {}, dir.path());
  CHECK(result.exit.status == 78);
  CHECK(result.err == "");
  CHECK(result.out.ends_with('\n'));
  const Json found = Json::parse(result.out);
  CHECK(found["errors"].number == 2);
  CHECK(found["warnings"].number == 0);
  REQUIRE(found["diagnostics"].items.size() == 2);
  const Json& size = found["diagnostics"][0];
  CHECK(size["code"].text == "LP0103");
  CHECK(size["severity"].text == "error");
  CHECK(size["file"].text == "p.yaml");
  CHECK(size["line"].number == 1);
  CHECK(size["column"].number == 9);
  CHECK(size["length"].number == 3);
  CHECK(size["path"].text == "memory");
  CHECK(size["message"].text == "expected a size such as 64KiB, got \"64Q\"");
  CHECK(found["diagnostics"][1]["hint"].text == "did you mean \"sources\"?");
}

TEST_CASE("validate: a good file is status 0 with what it holds and what memory it can take") {
  TempDir dir;
  write_file(
      dir / "p.yaml",
      "memory: 64MiB\nsources:\n  a: {type: file, include: a.log}\n  b: {type: stdin}\nstages:\n  - parse: json\n");
  const Result result = run({"validate", "--config", "p.yaml"}, {}, dir.path());
  CHECK(result.exit.status == 0);
  CHECK(result.err == "");
  CHECK(result.out.starts_with("p.yaml: valid: 2 sources, 1 stages, 1 sinks\nmemory at worst: "));
  CHECK(contains(result.out, "budget 64MiB"));
  const Result json = run({"validate", "--config", "p.yaml", "--format", "json"}, {}, dir.path());
  CHECK(json.exit.status == 0);
  CHECK(json.out == "{\"errors\":0,\"warnings\":0,\"diagnostics\":[]}\n");
}

TEST_CASE("validate: a file that is not there is status 78 and named") {
  TempDir dir;
  const Result result = run({"validate", "--config", "nothing.yaml"}, {}, dir.path());
  CHECK(result.exit.status == 78);
  CHECK(result.err == "nothing.yaml: error[LP0209]: cannot read \"nothing.yaml\": No such file or directory\n");
}

TEST_CASE("several files: maps are joined, and what stands in two of them is an error at the second") {
  TempDir dir;
  write_file(dir / "one.yaml", "drain_timeout: 5s\nsinks:\n  out: {type: stdout}\n");
  write_file(dir / "two.yaml",
             "sources:\n  app: {type: file, include: a.log}\nsinks:\n  more: {type: file, path: x}\n");
  const Result joined = run({"validate", "--config", "one.yaml", "--config", "two.yaml"}, {}, dir.path());
  CHECK(joined.exit.status == 0);
  CHECK(joined.out.starts_with("one.yaml, two.yaml: valid: 1 sources, 0 stages, 2 sinks\n"));

  write_file(dir / "two.yaml", "drain_timeout: 9s\nsinks:\n  out: {type: file, path: x}\n");
  const Result twice = run({"validate", "--config", "one.yaml", "--config", "two.yaml"}, {}, dir.path());
  CHECK(twice.exit.status == 78);
  CHECK(twice.err == R"(two.yaml:1:1: error[LP0203]: drain_timeout: "drain_timeout" is already set at one.yaml:1:1
     1 | drain_timeout: 9s
       | ^^^^^^^^^^^^^
       = hint: only maps are joined; keep it in one file
two.yaml:3:3: error[LP0203]: sinks.out: "out" is already set at one.yaml:3:3
     3 |   out: {type: file, path: x}
       |   ^^^
       = hint: give one of them another name
)");
}

TEST_CASE("include: its files count from the including one, and errors name the file they are in") {
  TempDir dir;
  std::filesystem::create_directories(dir / "etc/parts");
  write_file(dir / "etc/main.yaml", "include: parts/*.yaml\nmemory: 64MiB\n");
  write_file(dir / "etc/parts/a.yaml", "sources:\n  app: {type: file, include: a.log}\n");
  write_file(dir / "etc/parts/b.yaml", "sinks:\n  out: {type: stdout}\n");
  const Result good = run({"validate", "--config", "etc/main.yaml"}, {}, dir.path());
  CHECK(good.exit.status == 0);
  CHECK(contains(good.out, "valid: 1 sources, 0 stages, 1 sinks"));

  write_file(dir / "etc/parts/a.yaml", "sources:\n  app: {type: file, include: a.log, red_from: end}\n");
  const Result bad = run({"validate", "--config", "etc/main.yaml"}, {}, dir.path());
  CHECK(bad.exit.status == 78);
  CHECK(bad.err == R"(etc/parts/a.yaml:2:37: error[LP0101]: sources.app.red_from: unknown option
     2 |   app: {type: file, include: a.log, red_from: end}
       |                                     ^^^^^^^^
       = hint: did you mean "read_from"?
)");
}

TEST_CASE("interpolation: variables come from the environment, from a default, or are an error with its own words") {
  TempDir dir;
  write_file(dir / "p.yaml",
             "sources:\n  app: {type: file, include: '${env:LOGPIPE_TEST_IN}'}\n"
             "sinks:\n  out: {type: file, path: '${env:LOGPIPE_TEST_OUT:-out.log}'}\n");
  write_file(dir / "a.log", "a line\n");
  const Result good = run({"--config", "p.yaml", "--once"}, {}, dir.path(), {{"LOGPIPE_TEST_IN", "a.log"}});
  CHECK(good.exit.status == 0);
  CHECK(read_file(dir / "out.log") == "a line\n");

  write_file(dir / "p.yaml", "sinks:\n  out: {type: file, path: \"${env:LOGPIPE_TEST_OUT:?say where to}/x\"}\n");
  const Result bad = run({"validate", "--config", "p.yaml"}, {}, dir.path());
  CHECK(bad.exit.status == 78);
  CHECK(contains(
      bad.err,
      "p.yaml:2:28: error[LP0302]: sinks.out.path: environment variable LOGPIPE_TEST_OUT is not set: say where to\n"));
}

TEST_CASE("configuration: it can come from stdin") {
  const Result good = run({"validate", "--config", "-"}, "sinks:\n  out: {type: stdout}\n");
  CHECK(good.exit.status == 0);
  const Result bad = run({"validate", "--config", "-"}, "snks: {}\n");
  CHECK(bad.exit.status == 78);
  CHECK(contains(bad.err, "<stdin>:1:1: error[LP0101]: snks: unknown option\n"));
}

TEST_CASE("configuration: it cannot come from stdin when a source reads stdin") {
  const Result result = run({"--config", "-"}, "stages: [{level: warn}]\n");
  CHECK(result.exit.status == 78);
  CHECK(contains(result.err, "--config - reads standard input"));
}

TEST_CASE("configuration: LOGPIPE_CONFIG names it, and `run` is the default command") {
  TempDir dir;
  write_file(dir / "p.yaml", "sinks:\n  out: {type: stdout, encoding: raw}\n");
  const std::string config = (dir / "p.yaml").string();
  CHECK(run({}, "a line\n", {}, {{"LOGPIPE_CONFIG", config}}).out == "a line\n");
  CHECK(run({"run", "--config", config}, "a line\n").out == "a line\n");
  CHECK(run({"--config", config}, "a line\n").out == "a line\n");
  CHECK(run({"validate"}, {}, {}, {{"LOGPIPE_CONFIG", config}}).exit.status == 0);
}

TEST_CASE("configuration: colours in errors only when asked for") {
  TempDir dir;
  write_file(dir / "p.yaml", "snks: {}\n");
  CHECK_FALSE(contains(run({"validate", "--config", "p.yaml"}, {}, dir.path()).err, "\x1b["));
  CHECK(contains(run({"validate", "--config", "p.yaml", "--color", "always"}, {}, dir.path()).err, "\x1b["));
}
