#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "tests/e2e/json.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

struct Tool {
  const char* kind;
  const char* suffix;
};
constexpr Tool kTools[] = {{"gzip", ".gz"}, {"zstd", ".zst"}};

bool is_there(const Tool& tool) {
  const bool there = std::system(("command -v " + std::string(tool.kind) + " >/dev/null").c_str()) == 0;
  if (!there) std::cout << "SKIPPED: there is no " << tool.kind << " here\n";
  return there;
}

/// What the usual program makes of the file; `status` is 0 when it is content with it.
std::string decompressed(const Tool& tool, const std::filesystem::path& path, int& status) {
  std::string text;
  FILE* pipe = ::popen((std::string(tool.kind) + " -dc < '" + path.string() + "'").c_str(), "r");
  REQUIRE(pipe != nullptr);
  char piece[65536];
  for (std::size_t got = 0; (got = std::fread(piece, 1, sizeof piece, pipe)) > 0;) text.append(piece, got);
  status = ::pclose(pipe);
  return text;
}

std::string config_of(const TempDir& dir, const Tool& tool, const std::string& more = ", compression_wait: 5ms") {
  const std::string common = std::string(", compression: ") + tool.kind + more + "}\n";
  return "state_dir: " + (dir / "state").string() +
         "\ncheckpoint_interval: 5ms\nsources:\n  app: {type: file, include: " + (dir / "app.log").string() +
         "}\nstages: [{parse: json}, {level: info}, {enrich: {workers: 2, set: {env: prod}}}]\nsinks:\n  all: {type: "
         "file, path: " +
         (dir / "all.log").string() + tool.suffix + common + "  split: {type: file, path: '" +
         (dir / "by-{svc}.log").string() + tool.suffix + "'" + common;
}

void check_output(const TempDir& dir, const Tool& tool, const std::string& name,
                  const std::vector<std::string>& lines) {
  int status = -1;
  const std::string arrived = decompressed(tool, dir / (name + tool.suffix), status);
  const Account account = account_of({lines}, arrived);
  std::cout << "  " << tool.kind << " " << name << ": " << account.text() << "\n";
  CAPTURE(name);
  CAPTURE(account.text());
  CHECK(status == 0);
  CHECK(account.exact());
}

void check_all(const TempDir& dir, const Tool& tool, const GrowingFile& log) {
  check_output(dir, tool, "all.log", log.lines([](std::uint64_t n) { return !is_debug(n); }, enriched_line));
  for (const char service : {'a', 'b', 'c'}) {
    check_output(dir, tool, std::string("by-") + service + ".log",
                 log.lines([&](std::uint64_t n) { return !is_debug(n) && service_of(n) == service; }, enriched_line));
  }
}

void kill_again_and_again(const Tool& tool, int kills) {
  if (!is_there(tool)) return;
  std::cout << "compressed outputs: " << tool.kind << ", " << kills << " kills\n";
  TempDir dir;
  write_file(dir / "logpipe.yaml", config_of(dir, tool));
  const auto all = dir / (std::string("all.log") + tool.suffix);
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 611});
  std::mt19937 random(611);
  int cut = 0;
  for (int i = 0; i < kills; ++i) {
    CAPTURE(i);
    // Far more than the moment needs: gathered in larger frames the same lines take less.
    log.allow(log.written() + 1'000'000);
    Process process(daemon_of(dir / "logpipe.yaml"));
    // A moment that is told by progress: so many bytes more in the output, or none at all.
    const bool reached = random() % 8 == 0 ? process.wait_stderr([](const std::string& t) { return !t.empty(); }, 180s)
                                           : wait_grown_fed(log, all, size_of(all) + 1 + random() % 20'000);
    if (random() % 4 == 0) {
      process.signal(SIGTERM);
      CHECK(wait_said(process, "stopping"));
    }
    process.signal(SIGKILL);
    const Exit exit = process.wait();
    CAPTURE(process.stderr_text());
    REQUIRE(reached);
    CHECK((exit.signal == SIGKILL || exit.status == 0));
    cut += contains(process.stderr_text(), "output cut back") ? 1 : 0;
  }
  log.wait_written();
  const Result last =
      run({"--config", (dir / "logpipe.yaml").string(), "--once", "--ledger", (dir / "ledger.json").string()});
  CAPTURE(last.err);
  CHECK(last.exit.status == 0);
  CHECK(Json::parse(read_file(dir / "ledger.json"))["balanced"].number == 1);
  std::cout << "  output cut back " << cut << " times\n";
  check_all(dir, tool, log);
}

}  // namespace

TEST_CASE("compressed outputs: killed thirty times, gzip reads everything once and in order") {
  kill_again_and_again(kTools[0], 30);
}

TEST_CASE("compressed outputs: killed thirty times, zstd reads everything once and in order") {
  kill_again_and_again(kTools[1], 30);
}

TEST_CASE("compressed outputs: a stop writes what was waiting, and frames are not tiny") {
  for (const Tool& tool : kTools) {
    if (!is_there(tool)) continue;
    TempDir dir;
    write_file(dir / "logpipe.yaml", config_of(dir, tool, ", compression_wait: 5s"));
    GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 612});
    log.allow(2'000'000);
    log.wait_written();
    const Result once = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
    CAPTURE(once.err);
    CHECK(once.exit.status == 0);
    check_all(dir, tool, log);
    CHECK(size_of(dir / (std::string("all.log") + tool.suffix)) * 3 < log.written());
  }
}

TEST_CASE("compressed outputs: what a pipe gave before a kill can be read, and later lines go behind it") {
  for (const Tool& tool : kTools) {
    if (!is_there(tool)) continue;
    TempDir dir;
    const auto out = dir / (std::string("out.log") + tool.suffix);
    const std::string config = "sources:\n  in: {type: stdin}\nsinks:\n  out: {type: file, path: " + out.string() +
                               ", compression: " + tool.kind + ", compression_wait: 1ms}\n";
    write_file(dir / "logpipe.yaml", config);
    {
      Process::Options options = daemon_of(dir / "logpipe.yaml");
      options.keep_stdin = true;
      Process process(options);
      REQUIRE(process.write_stdin("first\n"));
      REQUIRE(wait_grown(out, 1));
      process.signal(SIGKILL);
      process.wait();
    }
    int status = -1;
    CHECK(decompressed(tool, out, status) == "first\n");
    CHECK(status == 0);
    // As a kill in the middle of a write leaves it.
    append_file(out, read_file(out).substr(0, 11));
    const Result second = run({"--config", (dir / "logpipe.yaml").string()}, "second\n");
    CAPTURE(second.err);
    CHECK(second.exit.status == 0);
    CHECK(contains(second.err, "torn frame"));
    CHECK(decompressed(tool, out, status) == "first\nsecond\n");
    CHECK(status == 0);
  }
}
