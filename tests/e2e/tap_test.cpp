#include <doctest/doctest.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/http.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

/// A daemon that reads app.log, and its admin socket.
struct Tapped {
  explicit Tapped(const std::string& more = "") {
    write_file(dir / "p.yaml", "admin: {socket: admin.sock}\nsources:\n  app: {type: file, include: app.log}\n" + more +
                                   "sinks:\n  out: {type: file, path: all.out}\n");
    write_file(dir / "app.log", "");
    Process::Options options = daemon_of(dir / "p.yaml");
    options.directory = dir.path();
    process = std::make_unique<Process>(options);
    REQUIRE(wait_said(*process, "daemon: running"));
  }
  std::string socket() const { return (dir / "admin.sock").string(); }
  double metric(const std::string& series) const { return metric_of(http_get(socket(), "/metrics"), series); }
  bool wait_metric(const std::string& series, double value) const {
    return wait_until(
        dir.path(), [&] { return metric(series) == value; }, 120s);
  }
  /// A `logpipe tap` that is attached.
  std::unique_ptr<Process> tap(std::vector<std::string> words) {
    const double before = metric("logpipe_taps ");
    Process::Options options;
    options.arguments = {"tap", "--socket", socket()};
    options.arguments.insert(options.arguments.end(), words.begin(), words.end());
    auto client = std::make_unique<Process>(options);
    REQUIRE(wait_metric("logpipe_taps ", before + 1));
    return client;
  }
  void stop() {
    process->signal(SIGTERM);
    const Exit exit = process->wait();
    CAPTURE(process->stderr_text());
    CHECK(exit.status == 0);
  }

  TempDir dir;
  std::unique_ptr<Process> process;
};

std::size_t threads_of(pid_t pid) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    count += entry.exists() ? 1 : 0;
  }
  return count;
}
std::size_t descriptors_of(pid_t pid) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("tap: shows events as they pass, by topic, by level and in the format that was asked for") {
  Tapped daemon("stages: [{parse: json}]\n");
  const auto all = daemon.tap({});
  const auto errors = daemon.tap({"main.app.error", "--format", "json"});
  const auto warnings = daemon.tap({"main.#", "--where", "warn", "--format", "pretty"});
  const auto none = daemon.tap({"other.#"});
  const std::string info = "{\"level\":\"info\",\"msg\":\"fine\"}\n";
  const std::string error = "{\"level\":\"error\",\"msg\":\"not fine\"}\n";
  append_file(daemon.dir / "app.log", info + error);
  CHECK(all->wait_stdout([&](const std::string& text) { return text == info + error; }));
  CHECK(errors->wait_stdout([&](const std::string& text) { return text == error; }));
  CHECK(warnings->wait_stdout([&](const std::string& text) { return text == "ERROR not fine\n"; }));
  daemon.stop();
  for (const auto* client : {&all, &errors, &warnings, &none}) CHECK((*client)->wait().status == 0);
  CHECK(none->stdout_text() == "");
}

TEST_CASE("tap: begins with the past where that is asked for") {
  Tapped daemon("stages: [{parse: json}]\n");
  std::string lines;
  for (int n = 0; n < 50; ++n) lines += "{\"level\":\"info\",\"n\":" + std::to_string(n) + "}\n";
  append_file(daemon.dir / "app.log", lines);
  REQUIRE(wait_grown(daemon.dir / "all.out", lines.size()));
  const std::string last = "{\"level\":\"info\",\"n\":48}\n{\"level\":\"info\",\"n\":49}\n";
  const auto two = daemon.tap({"--replay", "2"});
  CHECK(two->wait_stdout([&](const std::string& text) { return text == last; }));
  const auto since = daemon.tap({"--since", "1h"});
  CHECK(since->wait_stdout([&](const std::string& text) { return text == lines; }));
  append_file(daemon.dir / "app.log", "{\"level\":\"info\",\"n\":50}\n");
  CHECK(two->wait_stdout([&](const std::string& text) { return text == last + "{\"level\":\"info\",\"n\":50}\n"; }));
  daemon.stop();
}

TEST_CASE("tap: stays attached over a reload") {
  Tapped daemon;
  const auto all = daemon.tap({});
  daemon.process->signal(SIGHUP);
  REQUIRE(wait_said(*daemon.process, "daemon: reloaded"));
  append_file(daemon.dir / "app.log", "after the reload\n");
  CHECK(all->wait_stdout([](const std::string& text) { return text == "after the reload\n"; }));
  daemon.stop();
}

TEST_CASE("tap: a client that is stopped is removed, and slows nothing") {
  Tapped daemon;
  const auto client = daemon.tap({});
  client->signal(SIGSTOP);
  GrowingFile log({.path = daemon.dir / "app.log", .file = 1, .seed = 3});
  log.allow(20'000'000);  // far more than its queue and its socket hold
  log.wait_written();
  CHECK(wait_grown(daemon.dir / "all.out", log.written()));  // before it is removed: nobody waits for it
  CAPTURE(daemon.process->stderr_text());
  CHECK(daemon.wait_metric("logpipe_taps ", 0));
  CHECK(daemon.metric("logpipe_taps_removed_total") == 1);
  CHECK(daemon.metric("logpipe_tap_missed_events_total") > 0);
  client->signal(SIGCONT);
  client->wait();
  daemon.stop();
}

TEST_CASE("tap: a thousand times attached and detached under load leaves no thread, descriptor or memory behind") {
  Tapped daemon;
  GrowingFile log({.path = daemon.dir / "app.log", .file = 1, .seed = 4});
  const int rounds = kSlowness == 1 ? 1000 : 200;
  const auto attach = [&](int times) {
    for (int i = 0; i < times; ++i) {
      log.allow(log.written() + 2'000);
      HttpConnection connection(daemon.socket());
      connection.send("GET /api/v1/tap?pattern=%23&replay=1 HTTP/1.1\r\nHost: x\r\n\r\n");
      if (i % 2 == 0) REQUIRE(connection.wait_for("200 OK"));
    }
    return daemon.wait_metric("logpipe_taps ", 0);
  };
  REQUIRE(attach(50));  // what stays for ever is there: threads' stacks, buffers
  const auto settled = [&] {
    return wait_until(daemon.dir.path(), [&] { return threads_of(daemon.process->pid()) < 40; });
  };
  REQUIRE(settled());
  const std::size_t threads = threads_of(daemon.process->pid());
  const std::size_t descriptors = descriptors_of(daemon.process->pid());
  const double memory = daemon.metric("process_resident_memory_bytes");
  REQUIRE(attach(rounds));
  CHECK(wait_until(daemon.dir.path(), [&] { return threads_of(daemon.process->pid()) <= threads; }));
  CHECK(wait_until(daemon.dir.path(), [&] { return descriptors_of(daemon.process->pid()) <= descriptors; }));
  if (kSlowness == 1) CHECK(daemon.metric("process_resident_memory_bytes") < memory + 16e6);
  log.wait_written();
  CHECK(wait_grown(daemon.dir / "all.out", log.written()));
  daemon.stop();
}

TEST_CASE("tap: a client that goes is noticed, although nothing of what passes is for it") {
  Tapped daemon;
  GrowingFile log({.path = daemon.dir / "app.log", .file = 1, .seed = 6});
  const auto client = daemon.tap({"--where", "fatal"});
  client->signal(SIGKILL);
  client->wait();
  const bool noticed = wait_until(
      daemon.dir.path(),
      [&] {
        log.allow(log.written() + 2'000);  // blocks keep passing
        return daemon.metric("logpipe_taps ") == 0;
      },
      120s);
  CHECK(noticed);
  log.wait_written();
  CHECK(wait_grown(daemon.dir / "all.out", log.written()));
  daemon.stop();
}

TEST_CASE("tap: what is wrong with its words is said before and by the daemon, and too many are refused") {
  Tapped daemon;
  const Result pattern = run({"tap", "a..b", "--socket", daemon.socket()});
  CHECK(pattern.exit.status == 64);
  CHECK(contains(pattern.err, "pattern \"a..b\", byte 3"));
  CHECK(run({"tap", "--where", "loud", "--socket", daemon.socket()}).exit.status == 64);
  CHECK(run({"tap", "--since", "5", "--socket", daemon.socket()}).exit.status == 64);
  CHECK(run({"tap"}).exit.status == 64);
  const Result nobody = run({"tap", "--socket", (daemon.dir / "none.sock").string()});
  CHECK(nobody.exit.status == 1);
  CHECK(contains(nobody.err, "no daemon answers"));
  int status = 0;
  CHECK(contains(http_get(daemon.socket(), "/api/v1/tap?replay=many", &status), "replay: expected"));
  CHECK(status == 400);
  std::vector<std::unique_ptr<Process>> clients;
  for (int i = 0; i < 32; ++i) clients.push_back(daemon.tap({}));
  const Result refused = run({"tap", "--socket", daemon.socket()});
  CHECK(refused.exit.status == 1);
  CHECK(contains(refused.err, "32 taps are attached already"));
  daemon.stop();
}
