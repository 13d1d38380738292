#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>

#include "tests/e2e/http.hpp"
#include "tests/e2e/json.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

/// A growing log of numbered lines.
class Log {
 public:
  explicit Log(std::filesystem::path path) : path_(std::move(path)) { write_file(path_, ""); }
  void grow(int lines) {
    std::string text;
    for (int i = 0; i < lines; ++i) {
      char line[96];
      const int n =
          std::snprintf(line, sizeof(line), "2025-11-21T10:00:00Z [INFO] line %09d and what it has to say\n", next_++);
      text.append(line, static_cast<std::size_t>(n));
    }
    append_file(path_, text);
    all_ += text;
  }
  const std::string& all() const { return all_; }

 private:
  std::filesystem::path path_;
  std::string all_;
  int next_{0};
};

std::string one_sink(const TempDir& dir, const std::string& top = {}) {
  return "state_dir: " + (dir / "state").string() + "\n" + top +
         "sources:\n"
         "  app: {type: file, include: " +
         (dir / "app.log").string() +
         "}\n"
         "sinks:\n"
         "  out: {type: file, path: " +
         (dir / "out.log").string() + "}\n";
}

Process::Options daemon_with(const std::filesystem::path& config, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments{"--config", config.string()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return {.arguments = std::move(arguments), .directory = {}, .environment = {}};
}

bool wait_said(Process& process, const std::string& words, std::size_t times = 1) {
  return process.wait_stderr([&](const std::string& text) { return count_of(text, words) >= times; }, 180s);
}

bool wait_size(const TempDir& dir, const std::string& name, std::uintmax_t bytes) {
  return wait_until(
      dir.path(), [&] { return size_of(dir / name) >= bytes; }, 180s);
}

/// From a file into a stdout that is blocked.
std::string blocked_config(const TempDir& dir, const std::string& drain_timeout) {
  return "state_dir: " + (dir / "state").string() + "\ndrain_timeout: " + drain_timeout +
         "\nadmin: {socket: " + (dir / "admin.sock").string() + "}\n" +
         "sources:\n"
         "  app: {type: file, include: " +
         (dir / "app.log").string() +
         "}\n"
         "sinks:\n"
         "  screen: {type: stdout}\n";
}

/// Waits until something was read, which then hangs in front of the blocked sink.
bool wait_in_flight(Process& process, const TempDir& dir) {
  if (!wait_said(process, "admin: listening")) return false;
  return wait_until(dir.path(), [&] {
    const Json status = Json::parse(http_get(dir / "admin.sock", "/api/v1/status"));
    return !status["pipelines"].items.empty() && status["pipelines"][0]["received"]["events"].number > 0;
  });
}

}  // namespace

TEST_CASE("stop: SIGTERM under load delivers what was read, and the next run exactly the rest") {
  for (const int number : {SIGTERM, SIGINT}) {
    CAPTURE(number);
    TempDir dir;
    Log log(dir / "app.log");
    write_file(dir / "logpipe.yaml", one_sink(dir));
    Process process(daemon_with(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
    while (size_of(dir / "out.log") < 500'000 && log.all().size() < 64'000'000) log.grow(2000);
    REQUIRE(wait_size(dir, "out.log", 500'000));
    process.signal(number);
    for (int i = 0; i < 50; ++i) log.grow(200);
    CHECK(process.wait(180s).status == 0);

    const std::string first = read_file(dir / "out.log");
    CHECK(first.ends_with('\n'));
    CHECK(log.all().starts_with(first));
    const Json ledger = Json::parse(read_file(dir / "ledger.json"));
    CHECK(ledger["balanced"].number == 1);
    const SinkLedger out = sink_ledger(ledger, "out");
    CHECK(out.received == static_cast<double>(lines_of(first).size()));
    CHECK(out.delivered == out.received);
    CHECK(out.in_flight == 0);
    CHECK(ledger["pipelines"][0]["received"]["events"].number == out.received);

    const Result rest = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
    CHECK(rest.exit.status == 0);
    CHECK((read_file(dir / "out.log") == log.all()));
  }
}

TEST_CASE("stop: a file that ends without a newline is completed by the next run") {
  TempDir dir;
  write_file(dir / "app.log", "one\ntwo\nhal");
  write_file(dir / "logpipe.yaml", one_sink(dir));
  {
    Process process(daemon_with(dir / "logpipe.yaml"));
    REQUIRE(wait_size(dir, "out.log", 8));
    process.signal(SIGTERM);
    CHECK(process.wait().status == 0);
  }
  CHECK(read_file(dir / "out.log") == "one\ntwo\n");
  append_file(dir / "app.log", "f\nthree\n");
  const Result rest = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CHECK(rest.exit.status == 0);
  CHECK(read_file(dir / "out.log") == "one\ntwo\nhalf\nthree\n");
}

TEST_CASE("stop: the drain deadline ends a blocked sink with status 75, and the rest is read again") {
  TempDir dir;
  Log log(dir / "app.log");
  log.grow(20000);
  write_file(dir / "logpipe.yaml", blocked_config(dir, "300ms"));
  const FullPipe pipe;
  Process::Options options = daemon_with(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()});
  options.stdout_fd = pipe.in();
  Process process(std::move(options));
  REQUIRE(wait_in_flight(process, dir));
  const auto asked = std::chrono::steady_clock::now();
  process.signal(SIGTERM);
  CHECK(process.wait().status == 75);
  CHECK(std::chrono::steady_clock::now() - asked >= 300ms);
  CHECK(contains(process.stderr_text(), "the drain deadline has passed"));
  const Json ledger = Json::parse(read_file(dir / "ledger.json"));
  CHECK(ledger["balanced"].number == 1);
  CHECK(sink_ledger(ledger, "screen").delivered == 0);
  CHECK(sink_ledger(ledger, "screen").in_flight == ledger["pipelines"][0]["received"]["events"].number);

  const Result again = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CHECK(again.exit.status == 0);
  CHECK((again.out == log.all()));
}

TEST_CASE("stop: a second signal ends the drain at once with status 75") {
  for (const int number : {SIGTERM, SIGINT}) {
    CAPTURE(number);
    TempDir dir;
    Log log(dir / "app.log");
    log.grow(20000);
    write_file(dir / "logpipe.yaml", blocked_config(dir, "1h"));
    const FullPipe pipe;
    Process::Options options = daemon_with(dir / "logpipe.yaml");
    options.stdout_fd = pipe.in();
    Process process(std::move(options));
    REQUIRE(wait_in_flight(process, dir));
    process.signal(number);
    REQUIRE(wait_said(process, "stopping"));
    // Signals that come with the first one are the same request; from 300 ms on they are a second one.
    REQUIRE(wait_until(dir.path(), [&] {
      process.signal(number);
      return !process.running();
    }));
    CHECK(process.wait().status == 75);
    CHECK(contains(process.stderr_text(), "a second signal"));

    const Result again = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
    CHECK(again.exit.status == 0);
    CHECK((again.out == log.all()));
  }
}

TEST_CASE("stop: two signals at once are one request, and the drain goes on") {
  Process process({.arguments = {"--output", "raw"}, .directory = {}, .environment = {}, .keep_stdin = true});
  REQUIRE(process.write_stdin("first\nsecond, unfinis"));
  REQUIRE(process.wait_stdout([](const std::string& text) { return text == "first\n"; }));
  process.signal(SIGSTOP);  // so that both are there when it looks
  process.signal(SIGTERM);
  process.signal(SIGINT);
  process.signal(SIGCONT);
  CHECK(process.wait().status == 0);
  CHECK(process.stdout_text() == "first\nsecond, unfinis\n");
}

TEST_CASE("stop: SIGUSR1 reports, SIGUSR2 changes the log level, neither ends the program") {
  TempDir dir;
  Log log(dir / "app.log");
  write_file(dir / "logpipe.yaml", one_sink(dir));
  Process process(daemon_with(dir / "logpipe.yaml"));
  REQUIRE(wait_said(process, "daemon: running"));
  process.signal(SIGUSR1);
  REQUIRE(wait_said(process, "daemon: status"));
  process.signal(SIGUSR2);
  REQUIRE(wait_said(process, "level=debug"));
  process.signal(SIGUSR2);
  REQUIRE(wait_said(process, "level=info"));
  log.grow(10);
  REQUIRE(wait_size(dir, "out.log", log.all().size()));
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
  CHECK(read_file(dir / "out.log") == log.all());
}

TEST_CASE("reload: a broken file changes nothing, a valid one brings a second sink") {
  TempDir dir;
  Log log(dir / "app.log");
  const std::string good = one_sink(dir);
  write_file(dir / "logpipe.yaml", good);
  Process process(daemon_with(dir / "logpipe.yaml"));
  log.grow(100);
  REQUIRE(wait_size(dir, "out.log", log.all().size()));

  write_file(dir / "logpipe.yaml", good + "snks: {}\n");
  process.signal(SIGHUP);
  REQUIRE(wait_said(process, "the new configuration has errors; the old one stays"));
  CHECK(contains(process.stderr_text(), "logpipe.yaml:6:1: error"));
  CHECK(contains(process.stderr_text(), "did you mean \"sinks\"?"));
  log.grow(100);
  REQUIRE(wait_size(dir, "out.log", log.all().size()));

  write_file(dir / "logpipe.yaml", "memory: 128MiB\n" + good);
  process.signal(SIGHUP);
  REQUIRE(wait_said(process, "this option changes only with a restart"));
  CHECK(contains(process.stderr_text(), "option=memory"));

  write_file(dir / "logpipe.yaml", good + "  second: {type: file, path: " + (dir / "second.log").string() + "}\n");
  process.signal(SIGHUP);
  REQUIRE(wait_said(process, "daemon: reloaded"));
  log.grow(100);
  REQUIRE(wait_size(dir, "out.log", log.all().size()));
  REQUIRE(wait_size(dir, "second.log", log.all().size()));  // its own positions: it has seen nothing before
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
  CHECK((read_file(dir / "out.log") == log.all()));
  CHECK((read_file(dir / "second.log") == log.all()));
}

TEST_CASE("reload: a blocked sink cannot hold up the configuration that does without it") {
  TempDir dir;
  Log log(dir / "app.log");
  log.grow(20000);
  write_file(dir / "logpipe.yaml", blocked_config(dir, "300ms"));
  const FullPipe pipe;
  Process::Options options = daemon_with(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()});
  options.stdout_fd = pipe.in();
  Process process(std::move(options));
  REQUIRE(wait_in_flight(process, dir));
  std::string repaired = blocked_config(dir, "120s");
  const std::string from = "{type: stdout";
  REQUIRE(contains(repaired, from));
  repaired.replace(repaired.find(from), from.size(), "{type: file, path: " + (dir / "out.log").string());
  write_file(dir / "logpipe.yaml", repaired);
  process.signal(SIGHUP);
  REQUIRE(wait_said(process, "daemon: reloaded"));
  REQUIRE(wait_size(dir, "out.log", log.all().size()));
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
  CHECK((read_file(dir / "out.log") == log.all()));
  CHECK(Json::parse(read_file(dir / "ledger.json"))["balanced"].number == 1);
}

TEST_CASE("reload: the log's own options change with it") {
  TempDir dir;
  Log log(dir / "app.log");
  write_file(dir / "logpipe.yaml", one_sink(dir));
  Process process(daemon_with(dir / "logpipe.yaml"));
  REQUIRE(wait_said(process, "daemon: running"));
  write_file(dir / "logpipe.yaml", one_sink(dir, "log: {format: json}\n"));
  process.signal(SIGHUP);
  CHECK(wait_said(process, "\"message\":\"reloaded\""));
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
}

TEST_CASE("reload: twenty times while a file grows, nothing is lost and nothing doubled") {
  for (const bool remembered : {true, false}) {
    CAPTURE(remembered);
    TempDir dir;
    Log log(dir / "app.log");
    std::string config = one_sink(dir);
    if (!remembered) config.erase(0, config.find('\n') + 1);
    write_file(dir / "logpipe.yaml", config);
    Process process(daemon_with(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
    REQUIRE(wait_said(process, "daemon: running"));
    for (std::size_t reload = 1; reload <= 20; ++reload) {
      for (int i = 0; i < 10; ++i) log.grow(150);
      process.signal(SIGHUP);
      for (int i = 0; i < 10; ++i) log.grow(150);
      REQUIRE(wait_said(process, "daemon: reloaded", reload));
    }
    REQUIRE(wait_size(dir, "out.log", log.all().size()));
    process.signal(SIGTERM);
    CHECK(process.wait().status == 0);
    CHECK((read_file(dir / "out.log") == log.all()));
    const Json ledger = Json::parse(read_file(dir / "ledger.json"));
    CHECK(ledger["balanced"].number == 1);
    CHECK(sink_ledger(ledger, "out").delivered == 60000);
  }
}

TEST_CASE("state directory: a second process is refused with status 73 and told who has it") {
  TempDir dir;
  write_file(dir / "app.log", "");
  write_file(dir / "logpipe.yaml", one_sink(dir));
  Process process(daemon_with(dir / "logpipe.yaml"));
  REQUIRE(wait_said(process, "daemon: running"));
  const Result second = run({"--config", (dir / "logpipe.yaml").string()});
  CHECK(second.exit.status == 73);
  CHECK(contains(second.err, "is in use by process " + std::to_string(process.pid())));
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
  CHECK(run({"--config", (dir / "logpipe.yaml").string(), "--once"}).exit.status == 0);
}

TEST_CASE("state directory: one that cannot be made is status 73") {
  TempDir dir;
  write_file(dir / "state", "a file where a directory should be\n");
  write_file(dir / "app.log", "");
  write_file(dir / "logpipe.yaml", one_sink(dir));
  const Result result = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CHECK(result.exit.status == 73);
  CHECK(contains(result.err, (dir / "state").string()));
  CHECK(contains(result.err, "Not a directory"));
}

TEST_CASE("sink: a path that cannot be opened is status 74") {
  TempDir dir;
  write_file(dir / "file", "no directory\n");
  write_file(dir / "app.log", "one\n");
  write_file(dir / "logpipe.yaml", "sources:\n  app: {type: file, include: " + (dir / "app.log").string() +
                                       "}\nsinks:\n  out: {type: file, path: " + (dir / "file").string() +
                                       "/out.log}\n");
  const Result result = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CHECK(result.exit.status == 74);
  CHECK(contains(result.err, (dir / "file").string() + "/out.log"));
  CHECK(contains(result.err, "Not a directory"));
}

TEST_CASE("sink: one that fails for good stops the rest in order, and the others have what was read") {
  TempDir dir;
  Log log(dir / "app.log");
  log.grow(1000);
  write_file(dir / "file", "no directory\n");
  write_file(dir / "logpipe.yaml",
             one_sink(dir) + "  bad: {type: file, path: " + (dir / "file").string() + "/out.log}\n");
  Process process(daemon_with(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
  CHECK(process.wait().status == 74);
  CHECK(Json::parse(read_file(dir / "ledger.json"))["balanced"].number == 1);

  write_file(dir / "logpipe.yaml", one_sink(dir) + "  bad: {type: file, path: " + (dir / "good.log").string() + "}\n");
  CHECK(run({"--config", (dir / "logpipe.yaml").string(), "--once"}).exit.status == 0);
  CHECK((read_file(dir / "out.log") == log.all()));
  CHECK((read_file(dir / "good.log") == log.all()));
}

TEST_CASE("once: a pattern that matches nothing is status 74 and names the pattern") {
  TempDir dir;
  write_file(dir / "logpipe.yaml", one_sink(dir));
  const Result result = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CHECK(result.exit.status == 74);
  CHECK(contains(result.err, (dir / "app.log").string()));
}
