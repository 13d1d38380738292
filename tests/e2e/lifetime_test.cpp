// The ledger over restarts, crashes and reloads: every event once.

#include <doctest/doctest.h>

#include <csignal>
#include <string>

#include "tests/e2e/http.hpp"
#include "tests/e2e/json.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;

namespace {

std::string config(const TempDir& dir, const std::string& min) {
  return "state_dir: " + (dir / "state").string() +
         "\ncheckpoint_interval: 5ms\nadmin: {listen: 127.0.0.1:0}\nsources:\n  app: {type: file, include: " +
         (dir / "app.log").string() + "}\nstages:\n  - level: {min: " + min +
         "}\nsinks:\n  out: {type: file, path: " + (dir / "out.log").string() +
         "}\n  warnings: {type: file, when: 'level >= warn', path: " + (dir / "warnings.log").string() + "}\n";
}

/// The lifetime of a sink, from a ledger.
const Json& lifetime_of(const Json& ledger, const std::string& sink) {
  const Json& all = ledger["lifetime"];
  for (const Json& each : all.items) {
    if (each["sink"]["name"].text == sink) return each["sink"];
  }
  FAIL("no lifetime of " << sink);
  return all;
}

}  // namespace

TEST_CASE("lifetime: kills, stops and reloads later, each line is in the ledger once") {
  TempDir dir;
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 21});
  std::uint64_t allowed = 0;
  for (int round = 0; round < 12; ++round) {
    write_file(dir / "logpipe.yaml", config(dir, "info"));
    Process process(daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
    REQUIRE(wait_said(process, "daemon: running"));
    const std::uint64_t before = size_of(dir / "out.log");
    allowed += 300'000;
    log.allow(allowed);
    if (round % 4 == 1) {
      write_file(dir / "logpipe.yaml", config(dir, "debug"));
      process.signal(SIGHUP);
      write_file(dir / "logpipe.yaml", config(dir, "info"));
      process.signal(SIGHUP);
    }
    REQUIRE(wait_grown(dir / "out.log", before + 20'000));
    if (round % 3 != 2) {
      process.signal(SIGKILL);
      process.wait();
    } else {
      process.signal(SIGTERM);
      CHECK(process.wait().status == 0);
      const Json ledger = Json::parse(read_file(dir / "ledger.json"));
      CHECK(ledger["balanced"].number == 1);
    }
  }
  log.wait_written();
  write_file(dir / "logpipe.yaml", config(dir, "info"));
  const Result last = run({"--config", (dir / "logpipe.yaml").string(), "--once", "--ledger", "-"});
  CHECK(last.exit.status == 0);
  const Json ledger = Json::parse(last.out);
  CHECK(ledger["balanced"].number == 1);
  for (const char* name : {"out", "warnings"}) {
    CAPTURE(name);
    const Json& sink = lifetime_of(ledger, name);
    CHECK(sink["balanced"].number == 1);
    CHECK(sink["received"]["events"].number == static_cast<double>(log.count()));
    CHECK(sink["received"]["bytes"].number == static_cast<double>(log.written()));
    CHECK(sink["delivered"]["events"].number ==
          static_cast<double>(lines_of(read_file(dir / (std::string(name) + ".log"))).size()));
  }
}

TEST_CASE("lifetime: without a state directory there is none, and an unbalanced one is a metric and status 70") {
  TempDir dir;
  write_file(dir / "app.log", "one\n");
  write_file(dir / "logpipe.yaml",
             "admin: {listen: 127.0.0.1:0}\nsources:\n  app: {type: file, include: " + (dir / "app.log").string() +
                 "}\nsinks:\n  out: {type: file, path: " + (dir / "out.log").string() + "}\n");
  Process process(daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  CHECK(metric_of(http_get(address, "/metrics"), "logpipe_ledger_balanced ") == 1);
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
  CHECK(!contains(read_file(dir / "ledger.json"), "lifetime"));
}
