#include <doctest/doctest.h>

#include <csignal>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

/// An event of one to six lines that says which one it is.
std::string numbered_event(std::uint64_t number) {
  std::string text = "event " + std::to_string(number) + "\n";
  for (std::uint64_t i = 0; i < number % 6; ++i) text += "  line " + std::to_string(i) + " of it\n";
  return text;
}

/// The same as the sink writes it.
std::string as_json(std::uint64_t number) {
  std::string text = numbered_event(number);
  text.pop_back();
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 2))
    text.replace(at, 1, "\\n");
  return "{\"message\":\"" + text + "\"}\n";
}

std::string config_of(const TempDir& dir, const std::string& multiline) {
  return "state_dir: " + (dir / "state").string() +
         "\ncheckpoint_interval: 5ms\n"
         "sources:\n"
         "  app: {type: file, include: '" +
         (dir / "app.log").string() + "*', discovery_interval: 50ms, multiline: " + multiline +
         "}\n"
         "sinks:\n"
         "  all: {type: file, path: " +
         (dir / "all.log").string() + ", encoding: json}\n";
}

}  // namespace

TEST_CASE("multiline: events of several lines survive kill -9, restarts and rotation, each whole and exactly once") {
  const TempDir dir;
  write_file(dir / "config.yaml", config_of(dir, "{start: '^event ', timeout: 1h}"));
  std::mt19937 random(11);
  std::uint64_t number = 0;
  std::vector<std::vector<std::string>> streams(1);
  std::string torn;
  const auto grow = [&](int events) {
    std::string text = std::exchange(torn, {});
    for (int i = 0; i < events; ++i) {
      text += numbered_event(number);
      streams.back().push_back(as_json(number));
      ++number;
    }
    const std::size_t cut = text.size() - random() % 20;  // the last one is written in two parts, perhaps
    torn = text.substr(cut);
    append_file(dir / "app.log", text.substr(0, cut));
  };
  for (int round = 0; round < 20; ++round) {
    CAPTURE(round);
    grow(300);
    Process process(daemon_of(dir / "config.yaml"));
    const std::uintmax_t before = size_of(dir / "all.log");
    REQUIRE(wait_grown(dir / "all.log", before + 1 + random() % 2000));
    if (round % 5 == 4) {
      append_file(dir / "app.log", std::exchange(torn, {}));
      std::filesystem::rename(dir / "app.log", dir / ("app.log." + std::to_string(round)));
      streams.emplace_back();
    }
    // Counted from before: by then all of it may have arrived.
    const std::uintmax_t grown = size_of(dir / "all.log");
    for (int i = 0; i < 5; ++i) grow(60);
    REQUIRE(wait_grown(dir / "all.log", grown + random() % 4000));
    process.signal(SIGKILL);
    CHECK(process.wait().signal == SIGKILL);
  }
  append_file(dir / "app.log", torn);
  const Result last = run({"run", "--config", (dir / "config.yaml").string(), "--once"});
  CHECK(last.exit.status == 0);
  const Account account = account_of(streams, read_file(dir / "all.log"));
  INFO(account.text());
  CHECK(account.expected == number);
  CHECK(account.exact());
}

TEST_CASE("multiline: events of several lines stay whole on their way through topics") {
  const TempDir dir;
  std::string text;
  for (std::uint64_t i = 0; i < 500; ++i) text += numbered_event(i);
  write_file(dir / "app.log", text);
  write_file(dir / "config.yaml", "sources: {app: {type: file, include: '" + (dir / "app.log").string() +
                                      "', multiline: {start: '^event '}}}\n"
                                      "pipelines:\n"
                                      "  read: {sources: app, publish: 'events'}\n"
                                      "  plain: {subscribe: events, sinks: raw}\n"
                                      "  object: {subscribe: events, sinks: json}\n"
                                      "sinks:\n"
                                      "  raw: {type: file, path: " +
                                      (dir / "raw.log").string() + "}\n  json: {type: file, encoding: json, path: " +
                                      (dir / "json.log").string() + "}\n");
  CHECK(run({"run", "--config", (dir / "config.yaml").string(), "--once"}).exit.status == 0);
  CHECK(read_file(dir / "raw.log") == text);
  std::string objects;
  for (std::uint64_t i = 0; i < 500; ++i) objects += as_json(i);
  CHECK(read_file(dir / "json.log") == objects);
}

TEST_CASE("multiline: a stack trace that stops growing is delivered while the program runs") {
  const TempDir dir;
  write_file(dir / "config.yaml", config_of(dir, "{preset: java, timeout: 50ms}"));
  Process process(daemon_of(dir / "config.yaml"));
  append_file(dir / "app.log", "ERROR failed\njava.io.IOException: x\n\tat a.B.c(B.java:1)\n");
  const std::string wanted = "{\"message\":\"ERROR failed\\njava.io.IOException: x\\n\\tat a.B.c(B.java:1)\"}\n";
  CHECK(wait_until(dir.path(), [&] { return read_file(dir / "all.log") == wanted; }));
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
  CHECK(read_file(dir / "all.log") == wanted);
}

TEST_CASE("multiline: what is wrong with a pattern is shown where it is wrong") {
  const TempDir dir;
  write_file(dir / "config.yaml", config_of(dir, "{start: '^(event', timeout: 1h}"));
  const Result bad = run({"validate", "--config", (dir / "config.yaml").string()});
  CHECK(bad.exit.status == 78);
  CHECK(contains(bad.err + bad.out, "missing closing parenthesis"));
  write_file(dir / "config.yaml", config_of(dir, "{preset: java, start: x}"));
  CHECK(contains(run({"validate", "--config", (dir / "config.yaml").string()}).err, "a preset has its own rule"));
  write_file(dir / "config.yaml", config_of(dir, "java, charset: utf-16"));
  CHECK(contains(run({"validate", "--config", (dir / "config.yaml").string()}).err, "read from UTF-8 only"));
  write_file(dir / "config.yaml", config_of(dir, "{timeout: 1s}"));
  CHECK(contains(run({"validate", "--config", (dir / "config.yaml").string()}).err, "expected a preset"));
}
