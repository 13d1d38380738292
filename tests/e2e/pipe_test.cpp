#include <doctest/doctest.h>
#include <fcntl.h>
#include <pty.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <string>
#include <string_view>
#include <thread>

#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

/// A file descriptor that is closed at the end.
class Descriptor {
 public:
  Descriptor(const char* path, int flags) : fd_(::open(path, flags | O_CLOEXEC, 0644)) { REQUIRE(fd_ >= 0); }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// A terminal: the program gets one side, the test the other.
class Terminal {
 public:
  Terminal() {
    REQUIRE(::openpty(&ours_, &theirs_, nullptr, nullptr, nullptr) == 0);
    ::fcntl(ours_, F_SETFD, FD_CLOEXEC);
    ::fcntl(theirs_, F_SETFD, FD_CLOEXEC);
  }
  ~Terminal() {
    ::close(ours_);
    if (theirs_ >= 0) ::close(theirs_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  int theirs() const { return theirs_; }
  /// What was shown until the program let go of the terminal.
  std::string shown() {
    ::close(theirs_);
    theirs_ = -1;
    std::string text;
    char buffer[4096];
    for (ssize_t n; (n = ::read(ours_, buffer, sizeof(buffer))) > 0;) text.append(buffer, static_cast<std::size_t>(n));
    return text;
  }

 private:
  int ours_{-1};
  int theirs_{-1};
};

void check_silent(const Result& result) {
  CHECK(result.exit.status == 0);
  CHECK(result.err == "");
}

/// The promise is one second. A busy machine may take that for starting a thread, so the best of a few runs counts;
/// what waits for a timer would miss it every time.
template <class Run>
void check_within_a_second(Run run) {
  std::chrono::milliseconds best = 1h;
  for (int i = 0; i < 5 && best >= 1s * kSlowness; ++i) best = std::min(best, std::chrono::milliseconds(run()));
  CHECK(best < 1s * kSlowness);
}

}  // namespace

TEST_CASE("pipe: the end of the input drains and ends with status 0") {
  const Result result = run({}, "one\ntwo\nthree\n");
  check_silent(result);
  CHECK(result.out == "one\ntwo\nthree\n");
}

TEST_CASE("pipe: the last line counts when it has no newline") {
  const Result result = run({}, "one\ntwo");
  check_silent(result);
  CHECK(result.out == "one\ntwo\n");
}

TEST_CASE("pipe: an empty input gives an empty output") {
  const Result result = run({}, "");
  check_silent(result);
  CHECK(result.out == "");
}

TEST_CASE("pipe: an input of one newline is one empty line") {
  const Result result = run({}, "\n");
  check_silent(result);
  CHECK(result.out == "\n");
}

TEST_CASE("pipe: bytes come out as they went in when nothing changes them") {
  const std::string input = std::string("nul \0 inside\n", 13) + "bad utf-8 \xff\xfe\xc3\n" + "windows line\r\n" +
                            "\r\n" + "\ttabs\t\x01\x1b[31m\n" + "trailing space \n" + "\xEF\xBB\xBFmark\n";
  for (const char* encoding : {"auto", "raw"}) {
    CAPTURE(encoding);
    const Result result = run({"--output", encoding}, input);
    check_silent(result);
    CHECK(result.out == input);
  }
}

TEST_CASE("pipe: 200000 lines come out identical, every time") {
  std::string input;
  for (int i = 0; i < 200000; ++i) {
    input +=
        "2025-11-21T10:00:00Z line " + std::to_string(i) + std::string(static_cast<std::size_t>(i % 97), 'x') + '\n';
  }
  // Where reads end and when blocks leave differs from run to run, with the pieces that the writer writes as well.
  for (const std::size_t piece : {128 * 1024, 64 * 1024, 4096, 100'003, 1024 * 1024}) {
    for (int i = 0; i < 5; ++i) {
      CAPTURE(piece);
      Process process({.arguments = {}, .directory = {}, .environment = {}, .keep_stdin = true});
      for (std::string_view rest = input; !rest.empty(); rest.remove_prefix(std::min(piece, rest.size()))) {
        REQUIRE(process.write_stdin(rest.substr(0, piece)));
      }
      process.close_stdin();
      CHECK(process.wait(180s).status == 0);
      CHECK(process.stderr_text() == "");
      const bool identical = process.stdout_text() == input;
      CHECK(identical);
    }
  }
}

TEST_CASE("pipe: output appears while the input is still open") {
  Process process({.arguments = {}, .directory = {}, .environment = {}, .keep_stdin = true});
  std::string expected;
  for (int i = 0; i < 20; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    expected += line;
    REQUIRE(process.write_stdin(line));
    REQUIRE(process.wait_stdout([&](const std::string& text) { return text == expected; }));
  }
  process.close_stdin();
  CHECK(process.wait().status == 0);
  CHECK(process.stdout_text() == expected);
  CHECK(process.stderr_text() == "");
}

TEST_CASE("pipe: a line of 5 MB is cut at the limit and the next one is whole") {
  const std::string input = "before\n" + std::string(5'000'000, 'y') + "\nafter\n";
  const Result result = run({}, input);
  CHECK(result.exit.status == 0);
  CHECK((result.out == "before\n" + std::string(1024 * 1024, 'y') + "\nafter\n"));
}

TEST_CASE("pipe: stdin may be a regular file") {
  TempDir dir;
  std::string input;
  for (int i = 0; i < 50000; ++i) input += "line " + std::to_string(i) + "\n";
  input += "the last one";
  write_file(dir / "input", input);
  const Descriptor file((dir / "input").c_str(), O_RDONLY);
  Process process({.arguments = {}, .directory = {}, .environment = {}, .stdin_fd = file.get()});
  CHECK(process.wait(120s).status == 0);
  CHECK((process.stdout_text() == input + "\n"));
  CHECK(process.stderr_text() == "");
}

TEST_CASE("pipe: stdout may be a regular file") {
  TempDir dir;
  {
    const Descriptor file((dir / "output").c_str(), O_WRONLY | O_CREAT);
    Process process({.arguments = {}, .directory = {}, .environment = {}, .stdout_fd = file.get(), .keep_stdin = true});
    REQUIRE(process.write_stdin("one\ntwo\n"));
    process.close_stdin();
    CHECK(process.wait().status == 0);
  }
  CHECK(read_file(dir / "output") == "one\ntwo\n");
}

TEST_CASE("pipe: a reader that goes while data flows ends the program quietly") {
  check_within_a_second([] {
    Process process({.arguments = {}, .directory = {}, .environment = {}, .keep_stdin = true});
    std::thread feeder([&] {
      const std::string lines(64 * 1024, 'z');
      while (process.write_stdin(lines + "\n")) {
      }
    });
    CHECK(process.wait_stdout([](const std::string& text) { return text.size() > 1'000'000; }));
    const auto closed = std::chrono::steady_clock::now();
    process.close_stdout();
    const Exit exit = process.wait();
    const auto took = std::chrono::steady_clock::now() - closed;
    feeder.join();
    CHECK(exit.status == 0);
    CHECK(process.stderr_text() == "");
    return std::chrono::duration_cast<std::chrono::milliseconds>(took);
  });
}

TEST_CASE("pipe: a reader that goes while the input is idle ends the program quietly") {
  check_within_a_second([] {
    Process process({.arguments = {}, .directory = {}, .environment = {}, .keep_stdin = true});
    CHECK(process.write_stdin("something\n"));
    CHECK(process.wait_stdout([](const std::string& text) { return text == "something\n"; }));
    const auto closed = std::chrono::steady_clock::now();
    process.close_stdout();
    const Exit exit = process.wait();
    const auto took = std::chrono::steady_clock::now() - closed;
    CHECK(exit.status == 0);
    CHECK(process.stderr_text() == "");
    return std::chrono::duration_cast<std::chrono::milliseconds>(took);
  });
}

TEST_CASE("pipe: a full device is a clear error and status 74") {
  const Descriptor full("/dev/full", O_WRONLY);
  Process process({.arguments = {}, .directory = {}, .environment = {}, .stdout_fd = full.get(), .keep_stdin = true});
  REQUIRE(process.write_stdin("something\n"));
  process.close_stdin();
  CHECK(process.wait().status == 74);
  CHECK(contains(process.stderr_text(), "write stdout: No space left on device"));
}

TEST_CASE("pipe: a full device is noticed while the input stays open") {
  const Descriptor full("/dev/full", O_WRONLY);
  Process process({.arguments = {}, .directory = {}, .environment = {}, .stdout_fd = full.get(), .keep_stdin = true});
  REQUIRE(process.write_stdin("something\n"));
  CHECK(process.wait().status == 74);
  CHECK(contains(process.stderr_text(), "No space left on device"));
}

TEST_CASE("pipe: a closed stdout is a clear error and status 74") {
  Process process({.arguments = {}, .directory = {}, .environment = {}, .stdout_fd = -2, .keep_stdin = true});
  process.write_stdin("something\n");
  process.close_stdin();
  CHECK(process.wait().status == 74);
  CHECK(contains(process.stderr_text(), "stdout"));
}

TEST_CASE("pipe: a closed stdin is a clear error and status 74") {
  Process process({.arguments = {}, .directory = {}, .environment = {}, .stdin_fd = -2});
  CHECK(process.wait().status == 74);
  CHECK(contains(process.stderr_text(), "standard input"));
  CHECK(process.stdout_text() == "");
}

TEST_CASE("pipe: SIGTERM delivers what was read, the unfinished line too") {
  for (const int number : {SIGTERM, SIGINT}) {
    CAPTURE(number);
    Process process({.arguments = {}, .directory = {}, .environment = {}, .keep_stdin = true});
    REQUIRE(process.write_stdin("whole\nunfinished"));  // one write, so one read
    REQUIRE(process.wait_stdout([](const std::string& text) { return text == "whole\n"; }));
    process.signal(number);
    CHECK(process.wait().status == 0);
    CHECK(process.stdout_text() == "whole\nunfinished\n");
    CHECK(process.stderr_text() == "");
  }
}

namespace {

const char kMixed[] =
    "{\"time\":\"2025-11-21T10:00:00Z\",\"level\":\"error\",\"msg\":\"no route\",\"port\":8080}\n"
    "{\"time\":\"2025-11-21T10:00:01Z\",\"level\":\"info\",\"msg\":\"fine\"}\n"
    "time=2025-11-21T10:00:02Z level=warn msg=\"disk at 91 %\" free=1.50GB\n"
    "level=debug msg=noise\n"
    "2025-11-21 10:00:03 [CRITICAL] pump stopped\n"
    "2025-11-21 10:00:04 [INFO] pump started\n"
    "neither level nor field\n";

std::vector<std::string> filter_to(const std::string& encoding) {
  return {"--parse", "auto", "--level", "warn", "--set", "host=web1", "--output", encoding};
}

}  // namespace

TEST_CASE("filter: json output holds the fields as they were and what was set") {
  const Result result = run(filter_to("json"), kMixed);
  check_silent(result);
  CHECK(result.out ==
        "{\"time\":\"2025-11-21T10:00:00Z\",\"level\":\"error\",\"msg\":\"no route\",\"port\":8080,\"host\":\"web1\"}\n"
        "{\"time\":\"2025-11-21T10:00:02Z\",\"level\":\"warn\",\"msg\":\"disk at 91 "
        "%\",\"free\":\"1.50GB\",\"host\":\"web1\"}\n"
        "{\"message\":\"2025-11-21 10:00:03 [CRITICAL] pump stopped\",\"host\":\"web1\"}\n"
        "{\"message\":\"neither level nor field\",\"host\":\"web1\"}\n");
}

TEST_CASE("filter: raw output is the lines as they came") {
  const Result result = run(filter_to("raw"), kMixed);
  check_silent(result);
  CHECK(result.out ==
        "{\"time\":\"2025-11-21T10:00:00Z\",\"level\":\"error\",\"msg\":\"no route\",\"port\":8080}\n"
        "time=2025-11-21T10:00:02Z level=warn msg=\"disk at 91 %\" free=1.50GB\n"
        "2025-11-21 10:00:03 [CRITICAL] pump stopped\n"
        "neither level nor field\n");
}

TEST_CASE("filter: logfmt output") {
  const Result result = run(filter_to("logfmt"), kMixed);
  check_silent(result);
  CHECK(result.out ==
        "time=2025-11-21T10:00:00Z level=error msg=\"no route\" port=8080 host=web1\n"
        "time=2025-11-21T10:00:02Z level=warn msg=\"disk at 91 %\" free=1.50GB host=web1\n"
        "message=\"2025-11-21 10:00:03 [CRITICAL] pump stopped\" host=web1\n"
        "message=\"neither level nor field\" host=web1\n");
}

TEST_CASE("filter: pretty output has no colours when nobody looks") {
  const Result result = run(filter_to("pretty"), kMixed);
  check_silent(result);
  CHECK(result.out ==
        "2025-11-21T10:00:00Z ERROR no route port=8080 host=web1\n"
        "2025-11-21T10:00:02Z WARN  disk at 91 % free=1.50GB host=web1\n"
        "2025-11-21 10:00:03 [CRITICAL] pump stopped host=web1\n"
        "neither level nor field host=web1\n");
}

TEST_CASE("filter: colours come when asked for") {
  std::vector<std::string> arguments = filter_to("pretty");
  arguments.insert(arguments.end(), {"--color", "always"});
  const Result result = run(arguments, kMixed);
  check_silent(result);
  CHECK(contains(result.out, "\x1b[31mERROR\x1b[0m no route"));
  CHECK(contains(result.out, "\x1b[33mWARN\x1b[0m"));
}

TEST_CASE("filter: colours come on a terminal, unless NO_COLOR or a dumb terminal says otherwise") {
  struct Case {
    std::map<std::string, std::string> environment;
    bool colors;
  };
  const Case cases[] = {{{{"TERM", "xterm"}}, true},
                        {{{"TERM", "xterm"}, {"NO_COLOR", "1"}}, false},
                        {{{"TERM", "xterm"}, {"NO_COLOR", ""}}, true},
                        {{{"TERM", "dumb"}}, false}};
  for (const Case& one : cases) {
    Terminal terminal;
    Process process({.arguments = filter_to("pretty"),
                     .directory = {},
                     .environment = one.environment,
                     .stdout_fd = terminal.theirs(),
                     .keep_stdin = true});
    REQUIRE(process.write_stdin(kMixed));
    process.close_stdin();
    const std::string shown = terminal.shown();
    CHECK(process.wait().status == 0);
    CHECK(contains(shown, "no route"));
    CHECK(contains(shown, "\x1b[") == one.colors);
  }
}

TEST_CASE("filter: with --level alone lines stay as they are") {
  const Result result = run({"--level", "error"}, kMixed);
  check_silent(result);
  CHECK(result.out ==
        "{\"time\":\"2025-11-21T10:00:00Z\",\"level\":\"error\",\"msg\":\"no route\",\"port\":8080}\n"
        "2025-11-21 10:00:03 [CRITICAL] pump stopped\n"
        "neither level nor field\n");
}

TEST_CASE("filter: formats of logs are understood by name") {
  const Result result = run({"--parse", "syslog", "--level", "warn", "--output", "json"},
                            "<27>Nov 21 13:00:02 h a[1]: x\n<30>Nov 21 13:00:02 h a[1]: y\n");
  CHECK(result.out ==
        "{\"facility\":\"daemon\",\"severity\":\"err\",\"time\":\"Nov 21 13:00:02\",\"host\":\"h\",\"app\":\"a\","
        "\"pid\":1,\"message\":\"x\"}\n");
}

TEST_CASE("filter: --where keeps what a condition holds for, after --parse and --level") {
  const std::string lines =
      "{\"level\":\"warn\",\"status\":503,\"path\":\"/api/a\"}\n"
      "{\"level\":\"info\",\"status\":503,\"path\":\"/api/b\"}\n"
      "{\"level\":\"warn\",\"status\":200,\"path\":\"/api/c\"}\n"
      "{\"level\":\"warn\",\"status\":500,\"path\":\"/index\"}\n";
  const Result result =
      run({"--parse", "json", "--level", "warn", "--where", "status >= 500 and path =~ '^/api'"}, lines);
  check_silent(result);
  CHECK(result.out == "{\"level\":\"warn\",\"status\":503,\"path\":\"/api/a\"}\n");
}

TEST_CASE("filter: of two --set for one name the last counts") {
  const Result result = run({"--parse", "json", "--set", "a=1", "--set", "b=two words", "--set", "a=3"}, "{\"x\":0}\n");
  check_silent(result);
  CHECK(result.out == "{\"x\":0,\"a\":3,\"b\":\"two words\"}\n");
}

TEST_CASE("command line: an unknown flag is status 64 and says what was probably meant") {
  const Result result = run({"--levle", "warn"}, "");
  CHECK(result.exit.status == 64);
  CHECK(contains(result.err, "--levle"));
  CHECK(contains(result.err, "did you mean --level?"));
  CHECK(result.out == "");
}

TEST_CASE("command line: bad values are status 64 and name what is expected") {
  struct Case {
    std::vector<std::string> arguments;
    const char* said;
  };
  const Case cases[] = {{{"--level", "loud"}, "expected a level"},
                        {{"--where", "status = 5"}, "did you mean ==?"},
                        {{"--parse", "xml"}, "xml"},
                        {{"--set", "novalue"}, "expected NAME=VALUE"},
                        {{"--output"}, "--output"},
                        {{"--color", "purple"}, "purple"},
                        {{"vaildate", "--config", "x"}, "did you mean validate?"},
                        {{"validate"}, "--config"},
                        {{"--config", "some.yaml", "--level", "warn"}, "do not go with --config"}};
  for (const Case& one : cases) {
    CAPTURE(one.said);
    const Result result = run(one.arguments, "");
    CHECK(result.exit.status == 64);
    CHECK(contains(result.err, one.said));
    CHECK(result.out == "");
  }
}

TEST_CASE("command line: --help and --version answer on stdout with status 0") {
  const Result help = run({"--help"});
  check_silent(help);
  for (const char* flag : {"--config", "--once", "--ledger", "--parse", "--level", "--set", "--output", "validate"}) {
    CAPTURE(flag);
    CHECK(contains(help.out, flag));
  }
  const Result version = run({"--version"});
  check_silent(version);
  CHECK(version.out.starts_with("logpipe "));
  CHECK(lines_of(version.out).size() == 1);
}

TEST_CASE("command line: on a terminal without a configuration it says what to do and ends with status 64") {
  const Terminal terminal;
  Process process({.arguments = {}, .directory = {}, .environment = {}, .stdin_fd = terminal.theirs()});
  CHECK(process.wait().status == 64);
  CHECK(contains(process.stderr_text(), "--config FILE"));
  CHECK(contains(process.stderr_text(), "--help"));
}

TEST_CASE("command line: a ledger can be written at the end of a filter") {
  TempDir dir;
  const Result result = run({"--level", "warn", "--ledger", (dir / "ledger.json").string()}, kMixed);
  check_silent(result);
  CHECK(contains(read_file(dir / "ledger.json"), "\"balanced\":true"));
}
