#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/e2e/json.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

std::string config_of(const TempDir& dir, const std::string& interval, const std::string& options,
                      const std::string& name = "all.log") {
  return "state_dir: " + (dir / "state").string() + "\ncheckpoint_interval: " + interval +
         "\nsources:\n  app: {type: file, include: " + (dir / "app.log").string() +
         "}\nstages: [{parse: json}, {level: info}, {enrich: {workers: 2, set: {env: prod}}}]\nsinks:\n  all: {type: "
         "file, path: " +
         (dir / "out" / name).string() + options + "}\n";
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

/// The rotated files of all.log in their order, and the one that is written now, as what they hold.
std::string all_generations(const TempDir& dir, const std::string& name, const std::string& decompress,
                            std::size_t& files) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "out")) {
    if (entry.path().filename() != name) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  paths.push_back(dir / "out" / name);
  files = paths.size();
  std::string text;
  for (const auto& path : paths) {
    if (decompress.empty()) {
      text += read_file(path);
      continue;
    }
    if (size_of(path) == 0) continue;  // made, and killed before the first byte was committed
    FILE* pipe = ::popen((decompress + " -dc < '" + path.string() + "'").c_str(), "r");
    REQUIRE(pipe != nullptr);
    char piece[65536];
    for (std::size_t got = 0; (got = std::fread(piece, 1, sizeof piece, pipe)) > 0;) text.append(piece, got);
    CAPTURE(path.string());
    CHECK(::pclose(pipe) == 0);
  }
  return text;
}

void rotate_and_kill(const std::string& name, const std::string& options, const std::string& decompress) {
  TempDir dir;
  write_file(dir / "logpipe.yaml", config_of(dir, "20ms", options, name));
  std::filesystem::create_directory(dir / "out");
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 712});
  std::mt19937 random(712);
  const auto files_now = [&] {
    const std::filesystem::directory_iterator entries(dir / "out");
    return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
  };
  int cut = 0;
  for (int i = 0; i < 30; ++i) {
    CAPTURE(i);
    log.allow(log.written() + 1'500'000);
    const std::size_t before = files_now();
    Process process(daemon_of(dir / "logpipe.yaml"));
    // Right at one of the next rotations. More lines until then: how much of them makes a file depends on the moment.
    const std::size_t rotations = 1 + random() % 4;
    auto fed = std::chrono::steady_clock::now();
    CHECK(wait_until(
        dir / "out",
        [&] {
          if (std::chrono::steady_clock::now() - fed > 100ms) {
            fed = std::chrono::steady_clock::now();
            log.allow(log.written() + 300'000);
          }
          return files_now() >= before + rotations;
        },
        180s));
    process.signal(SIGKILL);
    process.wait();
    CAPTURE(process.stderr_text());
    cut += contains(process.stderr_text(), "output cut back") ? 1 : 0;
  }
  finish(dir, log);
  std::size_t files = 0;
  const std::string arrived = all_generations(dir, name, decompress, files);
  std::cout << "rotated outputs: " << name << ": " << files << " files, cut back " << cut << " times\n";
  CHECK(files > 30);
  CHECK(cut > 0);
  check_exact("all generations", log, arrived);
}

}  // namespace

TEST_CASE("rotated outputs: killed thirty times at a rotation, nothing is lost, doubled or reordered") {
  rotate_and_kill("all.log", ", rotate: {max_bytes: 100KiB}", "");
}

TEST_CASE("rotated outputs: the same with compressed files, which the usual programs read") {
  for (const char* tool : {"gzip", "zstd"}) {
    if (std::system(("command -v " + std::string(tool) + " >/dev/null").c_str()) != 0) {
      std::cout << "SKIPPED: there is no " << tool << " here\n";
      continue;
    }
    rotate_and_kill(std::string(tool) == "gzip" ? "all.log.gz" : "all.log.zst",
                    std::string(", rotate: {max_bytes: 10KiB}, compression_wait: 2ms, compression: ") + tool, tool);
  }
}

TEST_CASE("renamed outputs: after SIGHUP nothing more goes into a renamed file") {
  TempDir dir;
  const auto out = dir / "out/all.log";
  write_file(dir / "logpipe.yaml", config_of(dir, "20ms", ""));
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 713});
  Process process(daemon_of(dir / "logpipe.yaml"));
  REQUIRE(wait_said(process, "daemon: running"));
  std::vector<std::filesystem::path> renamed;
  std::vector<std::uintmax_t> sizes;
  for (int i = 0; i < 5; ++i) {
    log.allow(log.written() + 300'000);
    REQUIRE(wait_grown(out, 1));
    // As logrotate does: rename, tell, and then compress what must not change any more.
    renamed.push_back(dir / ("out/all.log." + std::to_string(i)));
    std::filesystem::rename(out, renamed.back());
    const std::size_t reloads = count_of(process.stderr_text(), "daemon: reloaded");
    process.signal(SIGHUP);
    REQUIRE(process.wait_stderr([&](const std::string& text) { return count_of(text, "daemon: reloaded") > reloads; }));
    log.allow(log.written() + 300'000);
    REQUIRE(wait_grown(out, 1));  // the next byte goes to a new file
    sizes.push_back(size_of(renamed.back()));
  }
  log.wait_written();
  process.signal(SIGTERM);
  CHECK(process.wait(180s).status == 0);
  finish(dir, log);
  std::string arrived;
  for (std::size_t i = 0; i < renamed.size(); ++i) {
    CHECK(size_of(renamed[i]) == sizes[i]);
    arrived += read_file(renamed[i]);
  }
  check_exact("all generations", log, arrived + read_file(out));
}

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
    REQUIRE(wait_grown_fed(log, out, size_of(out) + 1 + random() % 200'000));
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
