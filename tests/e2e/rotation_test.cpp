#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "tests/e2e/http.hpp"
#include "tests/e2e/json.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

std::string config_of(const TempDir& dir, const std::string& include, const std::string& discovery = "1s") {
  return "state_dir: " + (dir / "state").string() +
         "\ncheckpoint_interval: 5ms\nadmin: {socket: " + (dir / "admin.sock").string() +
         "}\n"
         "sources:\n"
         "  app: {type: file, include: '" +
         (dir / include).string() + "', discovery_interval: " + discovery +
         "}\n"
         "sinks:\n"
         "  out: {type: file, path: " +
         (dir / "out.jsonl").string() + "}\n";
}

std::uint64_t bytes_of(const std::vector<std::string>& lines) {
  std::uint64_t bytes = 0;
  for (const std::string& line : lines) bytes += line.size();
  return bytes;
}

void check_complete(const std::string& what, const Account& account) {
  std::cout << "rotation: " << what << ": " << account.text() << "\n";
  CAPTURE(account.text());
  CHECK(account.lost == 0);
  CHECK(account.doubled == 0);
  CHECK(account.foreign == 0);
}

void check_output(const TempDir& dir, const std::string& what, const std::vector<std::vector<std::string>>& streams) {
  const Account account = account_of(streams, read_file(dir / "out.jsonl"));
  check_complete(what, account);
  CHECK(account.reordered == 0);
}

/// A log that is renamed while it grows, read to its end.
void renamed_under_load(const std::string& include, const std::string& discovery, std::uint64_t bytes) {
  TempDir dir;
  write_file(dir / "logpipe.yaml", config_of(dir, include, discovery));
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 32, .rotate_bytes = 200'000});
  Process process(daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
  // From here on it follows the directory, so no generation can be gone before it looks for the first time.
  log.allow(1);
  REQUIRE(wait_grown(dir / "out.jsonl", 1));
  log.allow(bytes);
  log.wait_written();
  REQUIRE(wait_grown(dir / "out.jsonl", log.written()));
  process.signal(SIGTERM);
  CHECK(process.wait(180s).status == 0);
  CHECK(static_cast<std::uint64_t>(log.rotations()) >= bytes / 240'000);
  CHECK(size_of(dir / "out.jsonl") == log.written());
  CHECK(Json::parse(read_file(dir / "ledger.json"))["balanced"].number == 1);
  const Account account = account_of({log.lines()}, read_file(dir / "out.jsonl"));
  check_complete(include + " walked every " + discovery + ", " + std::to_string(log.rotations()) + " renames", account);
  CHECK(account.reordered == 0);
}

/// A log of a few lines in each of 400 generations, with hardly a pause between the renames.
void renamed_without_pause(const std::string& include, std::uint32_t seed) {
  CAPTURE(include);
  CAPTURE(seed);
  TempDir dir;
  write_file(dir / "logpipe.yaml", config_of(dir, include, "10ms"));
  Process process(daemon_of(dir / "logpipe.yaml"));
  std::vector<std::string> lines;
  std::uint64_t bytes = 0;
  const auto write = [&](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) {
      lines.push_back(numbered_line(1, lines.size()));
      text += lines.back();
    }
    append_file(dir / "app.log", text);
    bytes += text.size();
  };
  write(1);
  REQUIRE(wait_grown(dir / "out.jsonl", bytes));  // it follows the directory from here on
  std::mt19937 random(seed);
  for (int generation = 0; generation < 400; ++generation) {
    std::filesystem::rename(dir / "app.log", dir / ("app.log-" + std::to_string(10'000 + generation)));
    write(std::uniform_int_distribution<int>(1, 20)(random));
  }
  REQUIRE(wait_grown(dir / "out.jsonl", bytes));
  process.signal(SIGTERM);
  CHECK(process.wait(180s).status == 0);
  const Account account = account_of({lines}, read_file(dir / "out.jsonl"));
  CAPTURE(process.stderr_text());
  check_complete(include + ", 400 renames", account);
}

}  // namespace

TEST_CASE("rotation: renamed under load a hundred times, every line arrives once and in order") {
  renamed_under_load("app.log", "1s", 24'000'000);
}

TEST_CASE("rotation: renamed under load, every line arrives once and in order whatever the patterns match") {
  for (const char* include : {"app.log", "app.log*"}) {
    for (const char* discovery : {"1s", "10ms"}) renamed_under_load(include, discovery, 6'000'000);
  }
}

TEST_CASE("rotation: renamed without a pause, faster than it is read, every line arrives once") {
  for (std::uint32_t round = 0; round < 5; ++round) {
    for (const char* include : {"app.log", "app.log*"}) renamed_without_pause(include, round);
  }
}

TEST_CASE("rotation: copied and truncated at quiet moments, every line arrives once and each truncation counts once") {
  TempDir dir;
  write_file(dir / "logpipe.yaml", config_of(dir, "app.log"));
  std::mt19937 random(33);
  constexpr int kRounds = 30;
  std::uint64_t next = 0;
  std::string all;
  write_file(dir / "app.log", "");
  Process process(daemon_of(dir / "logpipe.yaml"));
  REQUIRE(wait_said(process, "admin: listening"));
  const auto status = [&] { return http_get(dir / "admin.sock", "/metrics"); };
  for (int round = 0; round < kRounds; ++round) {
    CAPTURE(round);
    // As long, shorter and much longer than what was truncated.
    const int bursts = std::uniform_int_distribution<int>(1, 8)(random);
    for (int burst = 0; burst < bursts; ++burst) {
      std::string text;
      const int lines = std::uniform_int_distribution<int>(1, 400)(random);
      for (int i = 0; i < lines; ++i) text += numbered_line(1, next++);
      append_file(dir / "app.log", text);
      all += text;
    }
    // The quiet moment: everything has been read and written.
    REQUIRE(wait_grown(dir / "out.jsonl", all.size()));
    if (round + 1 == kRounds) break;
    std::filesystem::copy_file(dir / "app.log", dir / "app.log.1", std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(dir / "app.log", 0);
  }
  CHECK((read_file(dir / "out.jsonl") == all));
  CHECK(wait_until(dir.path(), [&] { return metric_of(status(), "logpipe_source_truncations_total") == kRounds - 1; }));
  const std::string metrics = status();
  CHECK(metric_of(metrics, "logpipe_source_truncations_total") == kRounds - 1);
  CHECK(metric_of(metrics, "logpipe_source_received_events_total") == static_cast<double>(next));
  CHECK(metric_of(metrics, "logpipe_source_lag_bytes") == 0);
  process.signal(SIGTERM);
  CHECK(process.wait(180s).status == 0);
  std::vector<std::string> expected;
  for (std::uint64_t n = 0; n < next; ++n) expected.push_back(numbered_line(1, n));
  check_output(dir, std::to_string(kRounds - 1) + " truncations", {expected});
}

TEST_CASE("rotation: stopped, rotated and started again, the renamed file is finished and the new one read") {
  TempDir dir;
  write_file(dir / "logpipe.yaml", config_of(dir, "app.log*"));
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 34});
  std::mt19937 random(34);
  for (int round = 0; round < 12; ++round) {
    CAPTURE(round);
    // It is stopped wherever it is, and what it has not read is in the file that is renamed.
    const auto before = size_of(dir / "out.jsonl");
    log.allow(log.written() + 600'000);
    Process process(daemon_of(dir / "logpipe.yaml"));
    REQUIRE(wait_grown(dir / "out.jsonl", before + std::uniform_int_distribution<std::uintmax_t>(1, 400'000)(random)));
    process.signal(SIGTERM);
    CHECK(process.wait(180s).status == 0);
    log.wait_written();
    log.rotate();
  }
  const Result last = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CAPTURE(last.err);
  CHECK(last.exit.status == 0);
  CHECK(size_of(dir / "out.jsonl") == bytes_of(log.lines()));
  std::vector<std::uint64_t> ends = log.generations();
  ends.push_back(log.count());
  std::vector<std::vector<std::string>> streams;
  for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
    streams.push_back(log.lines([&](std::uint64_t n) { return n >= ends[i] && n < ends[i + 1]; }, numbered_line));
  }
  check_output(dir, "12 stops, each with a rename", streams);
}
