// What `logpipe torture` says about a pipeline: what it makes of its configuration, and that its verdict can be bad.

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "config/diagnostics.hpp"
#include "config/environment.hpp"
#include "config/load.hpp"
#include "daemon/settings.hpp"
#include "daemon/torture_config.hpp"
#include "daemon/torture_lines.hpp"

using namespace logpipe;
using namespace logpipe::torture;
namespace fs = std::filesystem;

namespace {

class TempDir {
 public:
  TempDir() {
    std::string name = (fs::temp_directory_path() / "logpipe-torture-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TempDir() { fs::remove_all(path_); }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

void write_file(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

config::Node tree_of(const std::string& text) {
  config::Diagnostics diagnostics;
  const config::ProcessEnvironment environment;
  return config::load_text("test.yaml", text, environment, diagnostics);
}

Result<Plan> plan_for(const std::string& text) {
  return plan_of(tree_of(text));
}

std::string line(std::uint64_t number) {
  return line_of("app", number, false);
}

/// What is said of `output` when lines 0 to 4 are expected and the second file begins with line 3.
Verdict verdict_of(const std::string& output) {
  const TempDir dir;
  write_file(dir / "expected/all", line(0) + line(1) + line(2) + line(3) + line(4));
  write_file(dir / "arrived/sub/all", output);
  Comparison comparison(false, false);
  REQUIRE(comparison.expect(dir / "expected"));
  REQUIRE(comparison.compare(dir / "arrived", {{"app", {0, 3}}}));
  CHECK(comparison.unnamed() == 0);
  return comparison.verdict();
}

constexpr const char* kFiles = R"(
sources:
  app: {type: file, include: /var/log/app/*.log, exclude: [x], read_from: end}
  jobs: {type: file, include: [/a, /b]}
)";

}  // namespace

TEST_CASE("torture: lines differ, have a name, and keep it whatever is put around it") {
  std::set<std::string> all;
  for (std::uint64_t i = 0; i < 100; ++i) {
    for (const bool logfmt : {false, true}) {
      const std::string text = line_of("app-1", i, logfmt);
      CHECK(all.insert(text).second);
      const std::string prefixed = "prefix " + text;
      const auto name = name_in(prefixed);
      REQUIRE(name);
      CHECK(name->source == "app-1");
      CHECK(name->number == i);
    }
  }
  CHECK_FALSE(name_in("no name"));
  CHECK_FALSE(name_in("torture:app:12"));  // torn
  CHECK_FALSE(name_in("torture:app:1x2;"));
  CHECK_FALSE(name_in("torture:app;"));
}

TEST_CASE("torture: tells lost, doubled, reordered and foreign lines apart") {
  const Verdict good = verdict_of(line(0) + line(1) + line(2) + line(3) + line(4));
  CHECK(good.expected == 5);
  CHECK(good.lost + good.doubled + good.reordered + good.foreign == 0);
  CHECK(verdict_of(line(0) + line(2) + line(3) + line(4)).lost == 1);
  CHECK(verdict_of(line(0) + line(1) + line(1) + line(2) + line(3) + line(4)).doubled == 1);
  CHECK(verdict_of(line(1) + line(0) + line(2) + line(3) + line(4)).reordered == 1);
  // Another file of the log: no order between them.
  CHECK(verdict_of(line(3) + line(0) + line(1) + line(2) + line(4)).reordered == 0);
  const Verdict torn = verdict_of(line(0) + line(1) + line(2) + line(3) + line(4).substr(0, 90));
  CHECK(torn.foreign == 1);
  CHECK(torn.lost == 1);
  CHECK(verdict_of(line(0) + line(1) + line(2) + line(3) + line(4) + line(5)).foreign == 1);
}

TEST_CASE("torture: sources, sinks and state move into the directory, stages stay, and it still is a configuration") {
  const TempDir dir;
  const Result<Plan> plan = plan_for(std::string(kFiles) + R"(
admin: {listen: 127.0.0.1:9632}
log: {level: debug}
stages: [{parse: json}, {level: warn}]
sinks:
  all: {type: file, path: /var/log/out/all.jsonl, fsync: always, rotate: {max_bytes: 1MiB, keep: 2}}
  split: {type: file, path: '../logs/{service}.jsonl', queue: {when_full: drop_newest}}
  screen: {type: stdout}
)");
  REQUIRE(plan);
  CHECK(plan->sources == std::vector<std::string>{"app", "jobs"});
  REQUIRE(plan->sinks.size() == 2);
  CHECK(plan->sinks[0].name == "all");
  CHECK(plan->sinks[0].files_by_line);
  CHECK(plan->sinks[0].rotates);
  CHECK(plan->sinks[1].name == "split");
  CHECK_FALSE(plan->sinks[1].rotates);
  CHECK(plan->notes.size() == 3);
  CHECK(plan->ordered);
  const std::string text = config_for(*plan, dir / "work");
  CAPTURE(text);
  config::Diagnostics diagnostics;
  const Settings settings = decode_settings(tree_of(text), diagnostics);
  CHECK(diagnostics.ok());
  CHECK(settings.state_dir == dir / "work/state");
  CHECK(settings.sinks.size() == 2);
  CHECK(settings.sinks[0].plan->constant_path() == (dir / "work/out/all/var/log/out/all.jsonl").string());
  CHECK(settings.sources[0].plan->reads(log_of(dir / "work", "app").string() + ".1"));
  CHECK_FALSE(settings.sources[0].plan->reads(log_of(dir / "work", "jobs").string()));
  CHECK_FALSE(settings.sources[0].plan->reads("/var/log/app/x.log"));
  CHECK(settings.pipelines[0].stages.size() == 2);
  CHECK_FALSE(settings.admin);
  CHECK(text.find("../") == std::string::npos);
  CHECK(text.find("max_bytes") != std::string::npos);
  CHECK(text.find("keep") == std::string::npos);
}

TEST_CASE("torture: a line in the wrong file is foreign, unless the time says which file it is") {
  const TempDir dir;
  write_file(dir / "expected/a", line(0) + line(2));
  write_file(dir / "expected/b.log", line(1) + line(3));
  const auto verdict_by = [&](bool by_file, bool rotated) {
    Comparison comparison(by_file, rotated);
    REQUIRE(comparison.expect(dir / "expected"));
    REQUIRE(comparison.compare(dir / "arrived", {{"app", {0}}}));
    return comparison.verdict();
  };
  write_file(dir / "arrived/a", line(0) + line(1) + line(2));
  write_file(dir / "arrived/b.log", line(3));
  CHECK(verdict_by(true, false).foreign == 1);
  CHECK(verdict_by(true, false).lost == 1);
  CHECK(verdict_by(false, false).foreign + verdict_by(false, false).lost == 0);
  write_file(dir / "arrived/a", line(0) + line(2));
  write_file(dir / "arrived/b.log-20260131T235959.123Z", line(1));
  CHECK(verdict_by(true, false).foreign == 1);
  CHECK(verdict_by(true, true).foreign + verdict_by(true, true).lost == 0);
}

TEST_CASE("torture: each variant of a configuration differs from all others and still is one") {
  for (const char* pipelines : {"stages: [{parse: json}]\n",
                                "pipelines:\n  read: {sources: app, sinks: all}\n  other: {sources: jobs, sinks: all, "
                                "stages: [{level: info}]}\n"}) {
    const Result<Plan> plan = plan_for(
        std::string(kFiles) + "sinks: {all: {type: file, path: '%Y/all', max_open_files: 10000}}\n" + pipelines);
    REQUIRE(plan);
    CHECK_FALSE(plan->sinks[0].files_by_line);
    std::set<std::string> all;
    for (unsigned variant = 0; variant < kVariants; ++variant) {
      const std::string text = config_for(*plan, "/work", variant);
      CAPTURE(text);
      CHECK(all.insert(text).second);
      config::Diagnostics diagnostics;
      decode_settings(tree_of(text), diagnostics);
      CHECK(diagnostics.ok());
    }
  }
}

TEST_CASE("torture: with pipelines a sink that is left out leaves them too") {
  const Result<Plan> plan = plan_for(std::string(kFiles) + R"(
sinks:
  all: {type: file, path: all}
  screen: {type: stdout}
pipelines:
  read: {sources: app, sinks: [all, screen], stages: [{parse: logfmt}, {enrich: {set: {a: b}, workers: 2, order: none}}]}
  other: {sources: jobs, sinks: all}
)");
  REQUIRE(plan);
  CHECK(plan->logfmt);
  CHECK_FALSE(plan->ordered);
  config::Diagnostics diagnostics;
  const Settings settings = decode_settings(tree_of(config_for(*plan, "/work")), diagnostics);
  CHECK(diagnostics.ok());
  CHECK(settings.pipelines.size() == 2);
}

TEST_CASE("torture: what cannot be tortured is refused with a reason") {
  const auto refused = [](const std::string& text, const char* why) {
    const Result<Plan> plan = plan_for(text);
    REQUIRE_FALSE(plan);
    CAPTURE(plan.error().message);
    CHECK(plan.error().message.find(why) != std::string::npos);
  };
  refused("sources: {in: {type: stdin}}\nsinks: {all: {type: file, path: all}}\n", "source `in` is of type stdin");
  refused("sinks: {all: {type: file, path: all}}\n", "no `sources:`");
  refused(std::string(kFiles) + "sinks: {screen: {type: stdout}}\n", "no sink of `type: file`");
  refused(std::string(kFiles) + "stages: [{sample: {keep: 0.5}}]\nsinks: {all: {type: file, path: all}}\n",
          "the stage `sample`");
}
