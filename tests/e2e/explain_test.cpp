#include <doctest/doctest.h>

#include <string>

#include "tests/e2e/process.hpp"

using namespace logpipe::test;

namespace {

std::string config_of(const TempDir& dir) {
  return "sources:\n  app: {type: file, include: " + (dir / "app.log").string() +
         "}\nstages:\n  - parse: json\n  - level: warn\nsinks:\n  out: {type: file, path: " +
         (dir / "out.log").string() + "}\n";
}

}  // namespace

TEST_CASE("explain: says what becomes of each line, and touches nothing") {
  TempDir dir;
  write_file(dir / "p.yaml", config_of(dir));
  const Result result =
      run({"explain", "--config", "p.yaml"}, "{\"level\":\"debug\"}\n{\"level\":\"error\"}\n", dir.path());
  CHECK(result.exit.status == 0);
  CHECK(result.err == "");
  CHECK(contains(result.out, "  level (p.yaml:5): discarded, level debug < warn\n"));
  CHECK(contains(result.out, "  out (p.yaml:7): delivered\n      {\"level\":\"error\"}\n"));
  CHECK_FALSE(std::filesystem::exists(dir / "out.log"));

  CHECK(count_of(run({"explain", "--config", "p.yaml", "--json"}, "a\nb\n", dir.path()).out, "\n") == 2);
  CHECK(count_of(run({"explain", "--config", "p.yaml", "--json", "--whole"}, "a\nb\n", dir.path()).out, "\n") == 1);
  CHECK(run({"explain", "--config", "p.yaml"}, "", dir.path()).exit.status == 64);
  CHECK(run({"explain", "--config", "p.yaml", "--source", "none"}, "a\n", dir.path()).exit.status == 64);
  CHECK(run({"explain", "--config", "none.yaml"}, "a\n", dir.path()).exit.status == 78);
}

TEST_CASE("test: cases pass or fail with status 0 or 1, and a report") {
  TempDir dir;
  write_file(dir / "p.yaml", config_of(dir));
  const std::string good = "  - {name: debug goes, input: '{\"level\":\"debug\"}', discarded: level}\n";
  write_file(dir / "good.yaml", "config: p.yaml\ncases:\n" + good);
  write_file(dir / "bad.yaml", "config: p.yaml\ncases:\n" + good +
                                   "  - {name: warn goes, input: '{\"level\":\"warn\"}', discarded: level}\n");
  const Result passed = run({"test", "good.yaml"}, {}, dir.path());
  CHECK(passed.exit.status == 0);
  CHECK(passed.out == "good.yaml\n  ok    debug goes\n1 cases, 0 failed\n");

  const Result failed = run({"test", "good.yaml", "bad.yaml", "--junit", "report.xml"}, {}, dir.path());
  CHECK(failed.exit.status == 1);
  CHECK(contains(failed.out, "  FAIL  warn goes (bad.yaml:4)\n"));
  CHECK(contains(failed.out, "level (p.yaml:5): passed, level warn >= warn\n"));
  CHECK(contains(failed.out, "3 cases, 1 failed\n"));
  CHECK(contains(read_file(dir / "report.xml"), "<testsuite name=\"bad.yaml\" tests=\"2\" failures=\"1\">"));

  write_file(dir / "wrong.yaml", "config: p.yaml\ncases:\n  - {name: x, imput: y}\n");
  const Result wrong = run({"test", "wrong.yaml"}, {}, dir.path());
  CHECK(wrong.exit.status == 78);
  CHECK(contains(wrong.err, "wrong.yaml:3:15: error"));
  CHECK(contains(wrong.err, "did you mean \"input\"?"));
}
