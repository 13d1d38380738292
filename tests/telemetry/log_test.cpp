#include "telemetry/log.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "tests/telemetry/json_check.hpp"

using namespace logpipe;
using namespace std::chrono_literals;

namespace {

/// Sets the log up to write into memory, and back afterwards.
struct Captured {
  std::vector<std::string> lines;
  std::chrono::steady_clock::time_point now{};

  explicit Captured(log::Format format = log::Format::text, log::Severity severity = log::Severity::info) {
    log::Options options;
    options.severity = severity;
    options.format = format;
    options.write = [this](std::string_view line) { lines.emplace_back(line); };
    options.now = [this] { return now; };
    log::configure(std::move(options));
  }
  ~Captured() { log::configure({}); }

  /// Line `index` without its time.
  [[nodiscard]] std::string line(std::size_t index) const {
    REQUIRE(index < lines.size());
    const std::string& line = lines[index];
    std::string form = line.substr(0, 25);
    for (char& c : form) c = c >= '0' && c <= '9' ? '0' : c;
    REQUIRE(form == "0000-00-00T00:00:00.000Z ");
    return line.substr(25);
  }
};

void refused(int attempt) {
  log::error("sinks.out", "connection refused", {{"attempt", attempt}});
}

}  // namespace

TEST_CASE("log: a text line has time, level, component, message and fields") {
  const Captured captured;
  const std::string path = "/var/log/a b.log";
  log::warn(
      "sinks.out", "write failed",
      {{"path", path}, {"attempt", 3}, {"bytes", std::size_t{7}}, {"final", false}, {"rate", 0.5}, {"kind", "io"}});
  CHECK(captured.line(0) ==
        "warn  sinks.out: write failed path=\"/var/log/a b.log\" attempt=3 bytes=7 final=false rate=0.5 kind=io\n");
}

TEST_CASE("log: a JSON line is well-formed whatever is in it") {
  const Captured captured(log::Format::json);
  log::info("a\"b", "line\nbreak \x1B[31m \xFF", {{"level", "x"}, {"path", "\\"}, {"none", NAN}, {"n", -1}});
  REQUIRE(captured.lines.size() == 1);
  CHECK(test::JsonCheck::valid(captured.lines[0]));
  CHECK(captured.lines[0].find("\"level\":\"info\",\"component\":\"a\\\"b\",\"message\":\"line\\nbreak \\u001b[31m "
                               "\xEF\xBF\xBD\",\"level_\":\"x\",\"path\":\"\\\\\",\"none\":null,\"n\":-1}\n") !=
        std::string::npos);
  CHECK(captured.lines[0].starts_with("{\"timestamp\":\"2"));
}

TEST_CASE("log: a journal line has the priority prefix and no time") {
  const Captured captured(log::Format::journal, log::Severity::trace);
  log::trace("daemon", "t");
  log::debug("daemon", "d");
  log::info("daemon", "i");
  log::warn("daemon", "w");
  log::error("daemon", "e");
  log::critical("daemon", "c");
  CHECK(captured.lines == std::vector<std::string>{"<7>daemon: t\n", "<7>daemon: d\n", "<6>daemon: i\n",
                                                   "<4>daemon: w\n", "<3>daemon: e\n", "<2>daemon: c\n"});
}

TEST_CASE("log: a text line stays one line and harmless to a terminal") {
  const Captured captured;
  log::info("x", "a\nb\x1B[2J \"quoted\" c:\\d", {{"text", "e\nf"}});
  CHECK(captured.line(0) == "info  x: a\\nb\\u001b[2J \"quoted\" c:\\d text=\"e\\nf\"\n");
}

TEST_CASE("log: less severe lines are dropped and the level changes at run time") {
  const Captured captured;
  log::debug("x", "hidden");
  CHECK(captured.lines.empty());
  CHECK(log::toggle_verbose() == log::Severity::debug);
  log::debug("x", "shown");
  CHECK(captured.lines.size() == 1);
  CHECK(log::toggle_verbose() == log::Severity::info);
  log::debug("x", "hidden");
  CHECK(captured.lines.size() == 1);
  log::set_severity(log::Severity::off);
  log::critical("x", "hidden");
  CHECK(captured.lines.size() == 1);
  CHECK_FALSE(log::enabled(log::Severity::critical));
}

TEST_CASE("log: cannot get more verbose than trace") {
  const Captured captured(log::Format::text, log::Severity::trace);
  CHECK(log::toggle_verbose() == log::Severity::trace);
}

TEST_CASE("log: repeated errors of one place are suppressed and counted") {
  Captured captured;
  for (int i = 0; i < 17; ++i) refused(i);
  CHECK(captured.lines.size() == 5);
  captured.now += 10s;
  refused(17);
  REQUIRE(captured.lines.size() == 6);
  CHECK(captured.line(5) == "error sinks.out: connection refused attempt=17 (12 more suppressed)\n");
  refused(18);
  CHECK(captured.line(6) == "error sinks.out: connection refused attempt=18\n");
}

TEST_CASE("log: other messages, components and places are not affected by a burst") {
  Captured captured;
  for (int i = 0; i < 9; ++i) refused(i);
  log::error("sinks.out", "connection refused");
  log::error("sinks.other", "connection refused");
  log::error("sinks.out", "other message");
  CHECK(captured.lines.size() == 8);
}

TEST_CASE("log: information and critical lines are never suppressed") {
  Captured captured;
  for (int i = 0; i < 20; ++i) log::info("x", "same");
  for (int i = 0; i < 20; ++i) log::critical("x", "same");
  CHECK(captured.lines.size() == 40);
}

TEST_CASE("log: the rest of a burst is reported on request") {
  Captured captured;
  for (int i = 0; i < 8; ++i) refused(i);
  log::report_suppressed(log::Report::expired);
  CHECK(captured.lines.size() == 5);
  captured.now += 10s;
  log::report_suppressed(log::Report::expired);
  CHECK(captured.line(5) == "error sinks.out: connection refused (3 more suppressed)\n");
  log::report_suppressed(log::Report::all);
  CHECK(captured.lines.size() == 6);
  for (int i = 0; i < 6; ++i) refused(i);
  log::report_suppressed(log::Report::all);
  CHECK(captured.line(11) == "error sinks.out: connection refused (1 more suppressed)\n");
}

TEST_CASE("log: the number of tracked messages is bounded and nothing suppressed is forgotten") {
  Captured captured;
  for (int i = 0; i < 7; ++i) refused(i);
  captured.now += 1s;
  for (int i = 0; i < 300; ++i) log::warn("many", "message " + std::to_string(i));
  CHECK(captured.lines.size() == 5 + 300 + 1);
  std::size_t reports = 0;
  for (const std::string& line : captured.lines)
    reports += line.find("(2 more suppressed)") != std::string::npos ? 1 : 0;
  CHECK(reports == 1);
}

TEST_CASE("log: names of levels and formats are read") {
  CHECK(log::parse_severity("debug") == log::Severity::debug);
  CHECK(log::parse_severity("warning") == log::Severity::warn);
  CHECK(log::parse_severity("off") == log::Severity::off);
  CHECK_FALSE(log::parse_severity("INFO").has_value());
  CHECK(log::parse_format("auto") == log::Format::automatic);
  CHECK(log::parse_format("json") == log::Format::json);
  CHECK_FALSE(log::parse_format("xml").has_value());
}

TEST_CASE("log: the journal's stream is recognised by device and inode") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  struct stat status {};
  REQUIRE(fstat(ends[1], &status) == 0);
  const std::string stream = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
  CHECK(log::is_journal_stream(ends[1], stream));
  CHECK_FALSE(log::is_journal_stream(ends[1], stream + "1"));
  CHECK_FALSE(log::is_journal_stream(ends[1], ""));
  CHECK_FALSE(log::is_journal_stream(ends[1], ":"));
  CHECK_FALSE(log::is_journal_stream(-1, stream));
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("log: lines from many threads stay whole and none is lost") {
  const Captured captured;
  constexpr int kThreads = 4;
  constexpr int kLines = 200;
  std::latch start(kThreads);
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&start] {
      start.arrive_and_wait();
      for (int i = 0; i < kLines; ++i) log::info("thread", "line", {{"i", i}});
      log::toggle_verbose();
    });
  }
  threads.clear();
  CHECK(captured.lines.size() == kThreads * kLines);
  for (std::size_t i = 0; i < captured.lines.size(); ++i) CHECK(captured.line(i).starts_with("info  thread: line i="));
}
