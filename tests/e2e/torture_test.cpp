#include <doctest/doctest.h>

#include <filesystem>
#include <iostream>
#include <string>

#include "tests/e2e/json.hpp"
#include "tests/e2e/process.hpp"

// A short torture of what the examples show. A long one is run by hand: `logpipe torture --help`.

using namespace logpipe::test;

namespace {

constexpr const char* kPipeline = R"(
sources: {app: {type: file, include: app.log}}
stages: [{parse: json}, {level: info}]
sinks:
  all: {type: file, path: all.jsonl}
  split: {type: file, path: '{service}.jsonl', max_open_files: 2, when: level >= warn}
)";

void torture(const std::filesystem::path& directory, const std::string& config, std::vector<std::string> more) {
  std::vector<std::string> arguments{"torture", "--config", config, "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Result result = run(arguments, {}, directory);
  std::cout << "  " << result.out.substr(0, result.out.find(",\"sinks\"")) << "\n";
  CAPTURE(result.out);
  CAPTURE(result.err);
  CHECK(result.exit.status == 0);
  const Json verdict = Json::parse(result.out);
  CHECK(verdict["good"].number == 1);
  CHECK(verdict["expected"].number > 0);
  CHECK(verdict["lost"].number == 0);
  CHECK(verdict["doubled"].number == 0);
  CHECK(verdict["reordered"].number == 0);
  CHECK(verdict["foreign"].number == 0);
  CHECK(verdict["ledger"]["balanced"].number == 1);
  CHECK(contains(result.err, "torture: seed "));
}

}  // namespace

TEST_CASE("torture: a few kills and whatever else can be done to files, nothing is lost, doubled or reordered") {
  const TempDir dir;
  write_file(dir / "logpipe.yaml", kPipeline);
  torture(dir.path(), "logpipe.yaml",
          {"--kill9", "8", "--rotate", "--truncate", "--disk-full", "--seed", "20261", "--keep", "work"});
  CHECK(std::filesystem::exists(dir / "work/reference"));
  CHECK(contains(read_file(dir / "work/log"), "begun again"));  // a reload that changes something
  CHECK_FALSE(std::filesystem::exists(dir / "all.jsonl"));      // everything stays in its directory
}

TEST_CASE("torture: the examples that write files") {
  for (const char* example : {"topics", "fan-out", "quickstart"}) {
    CAPTURE(example);
    torture(std::string(LOGPIPE_SOURCE_DIR "/examples/") + example, "logpipe.yaml",
            {"--kill9", "3", "--rotate", "--seed", "20262"});
  }
}

TEST_CASE("torture: sinks that compress, rotate, spool and fall behind") {
  const TempDir dir;
  write_file(dir / "logpipe.yaml", R"(
state_dir: state
sources: {app: {type: file, include: app.log}}
stages: [{parse: json}, {level: info}]
sinks:
  packed: {type: file, path: all.jsonl.gz, compression: gzip, compression_wait: 20ms, rotate: {max_bytes: 16KiB}}
  split: {type: file, path: '{service}.jsonl', rotate: {max_bytes: 64KiB}, when: level >= warn}
  spooled: {type: file, path: spooled.jsonl, queue: {when_full: spool, spool: {max_bytes: 64KiB, segment_bytes: 8KiB}}}
  behind: {type: file, path: behind.jsonl, queue: {max_events: 100, when_full: detach, detach_after: 5ms}}
)");
  torture(dir.path(), "logpipe.yaml", {"--kill9", "6", "--rotate", "--disk-full", "--seed", "20263", "--keep", "work"});
}

TEST_CASE("torture: the same seed plays the same faults with the same lines") {
  const TempDir dir;
  write_file(dir / "logpipe.yaml", kPipeline);
  std::string first;
  for (int i = 0; i < 2; ++i) {
    const Result result = run(
        {"torture", "--config", "logpipe.yaml", "--json", "--kill9", "3", "--rotate", "--seed", "5"}, {}, dir.path());
    CHECK(result.exit.status == 0);
    const std::string verdict = result.out.substr(0, result.out.find("\"seconds\""));
    if (i == 0) first = verdict;
    CHECK(verdict == first);
  }
}

TEST_CASE("torture: says so when it cannot judge, and exits with a status that says it too") {
  const TempDir dir;
  write_file(dir / "stdin.yaml", "sinks: {all: {type: file, path: all}}\nsources: {in: {type: stdin}}\n");
  const Result refused = run({"torture", "--config", "stdin.yaml"}, {}, dir.path());
  CHECK(refused.exit.status == 78);
  CHECK(contains(refused.err, "source `in` is of type stdin"));

  write_file(dir / "nothing.yaml",
             "sources: {app: {type: file, include: app.log}}\nstages: [{parse: json}, {level: fatal}]\n"
             "sinks: {all: {type: file, path: all}}\n");
  const Result nothing = run({"torture", "--config", "nothing.yaml", "--kill9", "1", "--keep", "work"}, {}, dir.path());
  CHECK(nothing.exit.status == 1);
  CHECK(contains(nothing.out, "no line passes this pipeline"));
  CHECK(run({"torture", "--config", "nothing.yaml", "--keep", "work"}, {}, dir.path()).exit.status == 64);
  CHECK(run({"torture", "--config", "nothing.yaml", "--duration", "soon"}, {}, dir.path()).exit.status == 64);
}
