#include <doctest/doctest.h>

#include <csignal>
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "tests/e2e/http.hpp"
#include "tests/e2e/json.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kLines = 40'000;  // about 8 MB, much more than the queue and the pipe hold

std::vector<std::string> numbered(std::uint64_t count) {
  std::vector<std::string> lines;
  lines.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) lines.push_back(numbered_line(1, i));
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

std::string config_of(const TempDir& dir, const std::string& queue) {
  return "state_dir: " + (dir / "state").string() + "\nadmin: {socket: " + (dir / "admin.sock").string() +
         "}\nsources:\n  app: {type: file, include: " + (dir / "app.log").string() +
         "}\nsinks:\n"
         "  screen: {type: stdout, queue: " +
         queue + "}\n  file: {type: file, path: " + (dir / "out.log").string() + ", fsync: never}\n";
}

}  // namespace

TEST_CASE("queue: a sink that drops does not hold up the others, and every event is accounted for") {
  const std::vector<std::string> lines = numbered(kLines);
  const std::string input = joined(lines);
  for (const char* when_full : {"drop_oldest", "drop_newest"}) {
    TempDir dir;
    write_file(dir / "app.log", input);
    write_file(dir / "logpipe.yaml", config_of(dir, std::string("{max_bytes: 1MiB, when_full: ") + when_full + "}"));
    FullPipe screen;
    Process::Options options = daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()});
    options.stdout_fd = screen.in();
    Process process(std::move(options));
    REQUIRE(wait_grown(dir / "out.log", input.size()));
    const double dropped =
        metric_of(http_get(dir / "admin.sock", "/metrics"), "logpipe_discarded_events_total{component=\"screen\"");
    CHECK(dropped > 0);

    // Somebody reads at last: what is left in the queue arrives, and the process can end.
    process.signal(SIGTERM);
    std::string arrived;
    std::vector<char> buffer(1 << 20);
    REQUIRE(wait_until(
        dir.path(),
        [&] {
          for (ssize_t n = 1; n > 0;) {
            n = ::read(screen.out(), buffer.data(), buffer.size());
            if (n > 0) arrived.append(buffer.data(), static_cast<std::size_t>(n));
          }
          return !process.running();
        },
        180s));
    CHECK(process.wait().status == 0);

    CHECK(account_of({lines}, read_file(dir / "out.log")).exact());
    arrived.erase(0, arrived.find("{"));  // what had filled the pipe
    const Account account = account_of({lines}, arrived);
    std::cout << "  " << when_full << ": " << account.text() << "\n";
    CHECK(account.doubled == 0);
    CHECK(account.reordered == 0);
    const Json ledger = Json::parse(read_file(dir / "ledger.json"));
    CHECK(ledger["balanced"].number == 1);
    CHECK(sink_ledger(ledger, "file").delivered == static_cast<double>(kLines));
    const auto at_screen = sink_ledger(ledger, "screen");
    CHECK(at_screen.in_flight == 0);
    CHECK(at_screen.delivered == static_cast<double>(kLines - account.lost));
    CHECK(at_screen.discarded == static_cast<double>(account.lost));
  }
}

TEST_CASE("queue: a blocked sink behind a spool holds up nobody, and gets everything once after a kill") {
  const std::vector<std::string> lines = numbered(kLines);
  const std::string input = joined(lines);
  TempDir dir;
  write_file(dir / "app.log", input);
  write_file(dir / "logpipe.yaml", config_of(dir, "{when_full: spool, spool: {segment_bytes: 1MiB}}"));
  for (int i = 0; i < 2; ++i) {  // the second has nothing new to read, and finds the spool
    FullPipe screen;
    Process::Options options = daemon_of(dir / "logpipe.yaml");
    options.stdout_fd = screen.in();
    Process process(std::move(options));
    REQUIRE(wait_said(process, "admin: listening"));
    REQUIRE(wait_grown(dir / "out.log", input.size()));
    REQUIRE(wait_until(
        dir.path(),
        [&] {
          const std::string metrics = http_get(dir / "admin.sock", "/metrics");
          return metric_of(metrics, "logpipe_spool_events{sink=\"screen\"") == static_cast<double>(kLines);
        },
        120s));
    process.signal(SIGKILL);
    CHECK(process.wait().signal == SIGKILL);
  }
  const Result last =
      run({"--config", (dir / "logpipe.yaml").string(), "--once", "--ledger", (dir / "ledger.json").string()});
  CHECK(last.exit.status == 0);
  CHECK(account_of({lines}, last.out).exact());
  CHECK((last.out == input));
  CHECK((read_file(dir / "out.log") == input));
  CHECK(Json::parse(read_file(dir / "ledger.json"))["balanced"].number == 1);
}

TEST_CASE("queue: what came through a pipe is safe from a kill once the spool has it") {
  const std::vector<std::string> lines = numbered(2000);
  const std::string input = joined(lines);
  TempDir dir;
  write_file(dir / "logpipe.yaml", "state_dir: " + (dir / "state").string() +
                                       "\nadmin: {socket: " + (dir / "admin.sock").string() +
                                       "}\nsinks:\n  screen: {type: stdout, queue: {when_full: spool}}\n");
  {
    FullPipe screen;
    Process::Options options = daemon_of(dir / "logpipe.yaml");
    options.stdout_fd = screen.in();
    options.keep_stdin = true;
    Process process(std::move(options));
    REQUIRE(wait_said(process, "admin: listening"));
    REQUIRE(process.write_stdin(input));
    REQUIRE(wait_until(
        dir.path(),
        [&] {
          return metric_of(http_get(dir / "admin.sock", "/metrics"), "logpipe_spool_events{sink=\"screen\"") ==
                 static_cast<double>(lines.size());
        },
        120s));
    process.signal(SIGKILL);
    CHECK(process.wait().signal == SIGKILL);
  }
  const Result last = run({"--config", (dir / "logpipe.yaml").string()});
  CHECK(last.exit.status == 0);
  const Account account = account_of({lines}, last.out);
  CHECK(account.lost == 0);
  CHECK(account.foreign == 0);
}

TEST_CASE("queue: a spool that is switched on and off again loses and doubles nothing") {
  const std::vector<std::string> lines = numbered(4000);
  TempDir dir;
  write_file(dir / "app.log", "");
  std::size_t given = 0;
  for (const char* when_full : {"block", "spool", "block", "block", "drop_oldest", "spool", "spool", "block"}) {
    CAPTURE(when_full);
    for (const std::size_t end = given + 500; given < end; ++given) append_file(dir / "app.log", lines[given]);
    write_file(dir / "logpipe.yaml", "state_dir: " + (dir / "state").string() +
                                         "\nsources:\n  app: {type: file, include: " + (dir / "app.log").string() +
                                         "}\nsinks:\n  out: {type: file, path: " + (dir / "out.log").string() +
                                         ", queue: {when_full: " + when_full + "}}\n");
    const Result result = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
    CHECK(result.exit.status == 0);
    CHECK(read_file(dir / "out.log").size() == size_of(dir / "app.log"));
  }
  CHECK(account_of({lines}, read_file(dir / "out.log")).exact());
}
