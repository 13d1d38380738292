#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/json.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

constexpr unsigned kFiles = 16;
constexpr std::uint64_t kBytesEach = 2'000'000;

struct Logs {
  explicit Logs(const TempDir& dir) {
    for (unsigned i = 0; i < kFiles; ++i) {
      files.push_back(std::make_unique<GrowingFile>(
          GrowingFile::Options{.path = dir / ("app-" + std::to_string(i) + ".log"), .file = i, .seed = 100 + i}));
    }
  }
  void allow(std::uint64_t bytes) {
    for (auto& file : files) file->allow(bytes);
  }
  std::uint64_t wait_written() {
    std::uint64_t bytes = 0;
    for (auto& file : files) {
      file->wait_written();
      bytes += file->written();
    }
    return bytes;
  }
  std::vector<std::vector<std::string>> streams() const {
    std::vector<std::vector<std::string>> all;
    for (const auto& file : files) all.push_back(file->lines());
    return all;
  }
  std::vector<std::unique_ptr<GrowingFile>> files;
};

void write_config(const TempDir& dir) {
  write_file(dir / "logpipe.yaml", "state_dir: " + (dir / "state").string() +
                                       "\ncheckpoint_interval: 20ms\n"
                                       "sources:\n"
                                       "  app: {type: file, include: '" +
                                       (dir / "app-*.log").string() +
                                       "'}\n"
                                       "stages:\n"
                                       "  - parse: json\n"
                                       "sinks:\n"
                                       "  out: {type: file, path: " +
                                       (dir / "out.jsonl").string() + "}\n");
}

void check_output(const TempDir& dir, const Logs& logs, const std::string& what) {
  const Account account = account_of(logs.streams(), read_file(dir / "out.jsonl"));
  std::cout << "fan-in: " << what << ": " << account.text() << "\n";
  CAPTURE(account.text());
  CHECK(account.exact());
}

}  // namespace

TEST_CASE("fan-in: sixteen growing files meet in one sink, each line once, whole, and in its file's order") {
  TempDir dir;
  write_config(dir);
  Logs logs(dir);
  Process process(daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
  logs.allow(kBytesEach);
  const std::uint64_t bytes = logs.wait_written();
  REQUIRE(wait_grown(dir / "out.jsonl", bytes));
  process.signal(SIGTERM);
  CHECK(process.wait(180s).status == 0);
  check_output(dir, logs, "16 files");
  const Json ledger = Json::parse(read_file(dir / "ledger.json"));
  CHECK(ledger["balanced"].number == 1);
  CHECK(ledger["pipelines"][0]["received"]["bytes"].number == static_cast<double>(bytes));
  CHECK(sink_ledger(ledger, "out").in_flight == 0);
}

TEST_CASE("fan-in: stopped half way and started again, sixteen files lose nothing") {
  TempDir dir;
  write_config(dir);
  Logs logs(dir);
  for (const std::uint64_t part : {1, 2, 3}) {
    // Stopped in the middle of what this run may read.
    logs.allow(kBytesEach * part / 3);
    Process process(daemon_of(dir / "logpipe.yaml"));
    REQUIRE(wait_grown(dir / "out.jsonl", kFiles * kBytesEach * (2 * part - 1) / 6));
    process.signal(SIGTERM);
    CHECK(process.wait(180s).status == 0);
  }
  logs.wait_written();
  const Result rest = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CAPTURE(rest.err);
  CHECK(rest.exit.status == 0);
  check_output(dir, logs, "16 files, stopped three times");
}
