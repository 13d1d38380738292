#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
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

std::string config_of(const TempDir& dir, const std::string& interval, const std::string& options) {
  return "state_dir: " + (dir / "state").string() + "\ncheckpoint_interval: " + interval +
         "\nsources:\n  app: {type: file, include: " + (dir / "app.log").string() +
         "}\nstages: [{parse: json}, {level: info}, {enrich: {workers: 2, set: {env: prod}}}]\nsinks:\n  all: {type: "
         "file, path: " +
         (dir / "out/all.log").string() + options + "}\n";
}

std::vector<std::string> expected_of(const GrowingFile& log) {
  return log.lines([](std::uint64_t n) { return !is_debug(n); }, enriched_line);
}

void check_exact(const std::string& what, const GrowingFile& log, const std::string& arrived) {
  const Account account = account_of({expected_of(log)}, arrived);
  std::cout << "  " << what << ": " << account.text() << "\n";
  CAPTURE(account.text());
  CHECK(account.exact());
}

void finish(const TempDir& dir, GrowingFile& log) {
  log.wait_written();
  const Result last =
      run({"--config", (dir / "logpipe.yaml").string(), "--once", "--ledger", (dir / "ledger.json").string()});
  CAPTURE(last.err);
  CHECK(last.exit.status == 0);
  CHECK(Json::parse(read_file(dir / "ledger.json"))["balanced"].number == 1);
}

}  // namespace

TEST_CASE("renamed outputs: killed right after a rename thirty times, nothing is lost, doubled or reordered") {
  TempDir dir;
  const auto out = dir / "out/all.log";
  // Rarely a checkpoint in time: what the renamed file got since is what this is about.
  write_file(dir / "logpipe.yaml", config_of(dir, "100ms", ""));
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 711});
  std::mt19937 random(711);
  std::vector<std::filesystem::path> renamed;
  int cut = 0;
  for (int i = 0; i < 30; ++i) {
    CAPTURE(i);
    log.allow(log.written() + 1'500'000);
    Process process(daemon_of(dir / "logpipe.yaml"));
    REQUIRE(wait_grown(out, size_of(out) + 1 + random() % 200'000));
    renamed.push_back(dir / ("out/all.log." + std::to_string(i)));
    std::filesystem::rename(out, renamed.back());
    // At once, while it goes on in the renamed file, or when it has gone on in a new one.
    const auto when = random() % 3;
    const auto before = size_of(renamed.back());
    auto fed = std::chrono::steady_clock::now();
    const auto feed_slowly = [&] {
      if (std::chrono::steady_clock::now() - fed < 20ms) return;
      fed = std::chrono::steady_clock::now();
      log.allow(log.written() + 20'000);
    };
    // More lines until it is there: the move is noticed when something is written.
    const bool reached = when == 0 || wait_until(dir.path(), [&] {
                           feed_slowly();
                           return size_of(out) > 0 || (when == 1 && size_of(renamed.back()) > before);
                         });
    process.signal(SIGKILL);
    process.wait();
    CAPTURE(process.stderr_text());
    CHECK(reached);
    cut += contains(process.stderr_text(), "output cut back") ? 1 : 0;
  }
  finish(dir, log);
  std::string arrived;
  for (const auto& path : renamed) arrived += read_file(path);
  arrived += read_file(out);
  std::cout << "renamed outputs: cut back " << cut << " times\n";
  CHECK(cut > 0);
  check_exact("all generations", log, arrived);
}
