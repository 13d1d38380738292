#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/http.hpp"
#include "tests/e2e/json.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kInput = 24'000'000;  // much more than the budget and everything on the way

/// A program whose standard output nobody reads until the test says so, and whose log is deleted before it is read.
struct Blocked {
  TempDir dir;
  std::vector<std::string> lines;
  std::string got;
  int ends[2]{-1, -1};
  std::thread reader;

  Blocked() { REQUIRE(::pipe2(ends, O_CLOEXEC) == 0); }
  ~Blocked() {
    if (reader.joinable()) reader.join();
    ::close(ends[0]);
  }
  void configure(const std::string& source_more, const std::string& drain_timeout) {
    write_file(dir / "logpipe.yaml", "state_dir: " + (dir / "state").string() +
                                         "\nmemory: 16MiB\nqueue: {max_bytes: 1MiB}\ndrain_timeout: " + drain_timeout +
                                         "\nadmin: {socket: " + (dir / "admin.sock").string() +
                                         "}\nsources:\n  app: {type: file, include: " + (dir / "app.log").string() +
                                         source_more + "}\nsinks:\n  screen: {type: stdout}\n");
  }
  Process::Options options() {
    Process::Options options = daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()});
    options.stdout_fd = ends[1];
    return options;
  }
  void write(std::uint64_t bytes) {
    std::string text;
    while (text.size() < bytes) {
      lines.push_back(numbered_line(1, lines.size()));
      text += lines.back();
    }
    append_file(dir / "app.log", text);
  }
  double metric(const std::string& series) { return metric_of(http_get(dir / "admin.sock", "/metrics"), series); }
  void read_from_now_on() {
    ::close(ends[1]);
    reader = std::thread([this] {
      std::vector<char> buffer(1 << 18);
      for (ssize_t n = 0; (n = ::read(ends[0], buffer.data(), buffer.size())) > 0;)
        got.append(buffer.data(), static_cast<std::size_t>(n));
    });
  }
  void check_exact() {
    reader.join();
    const Account account = account_of({lines}, got);
    CAPTURE(account.text());
    CHECK(account.exact());
    CHECK(Json::parse(read_file(dir / "ledger.json"))["balanced"].number == 1);
  }
};

}  // namespace

TEST_CASE("deleted: at a stop, what is left of a file that was deleted while it was open is read") {
  Blocked test;
  test.configure("", "10m");
  test.write(kInput);
  Process process(test.options());
  REQUIRE(wait_said(process, "admin: listening"));
  REQUIRE(wait_until(test.dir.path(), [&] { return test.metric("logpipe_source_lag_bytes") > 0; }));
  std::filesystem::remove(test.dir / "app.log");
  process.signal(SIGTERM);
  REQUIRE(wait_said(process, "stopping"));
  test.read_from_now_on();
  CHECK(process.wait(300s).status == 0);
  CAPTURE(process.stderr_text());
  test.check_exact();
}

TEST_CASE("deleted: at a reload that begins its source anew, what is left of a deleted file is read first") {
  Blocked test;
  test.configure("", "10m");
  test.write(kInput);
  Process process(test.options());
  REQUIRE(wait_said(process, "admin: listening"));
  REQUIRE(wait_until(test.dir.path(), [&] { return test.metric("logpipe_source_lag_bytes") > 0; }));
  std::filesystem::remove(test.dir / "app.log");
  test.configure(", rotate_wait: 7s", "10m");
  process.signal(SIGHUP);
  test.read_from_now_on();
  REQUIRE(wait_said(process, "reloaded"));
  test.write(100'000);
  std::uint64_t bytes = 0;
  for (const std::string& line : test.lines) bytes += line.size();
  CHECK(wait_until(
      test.dir.path(), [&] { return test.metric("logpipe_source_received_bytes_total") >= static_cast<double>(bytes); },
      300s));
  process.signal(SIGTERM);
  CHECK(process.wait(300s).status == 0);
  CAPTURE(process.stderr_text());
  test.check_exact();
}

TEST_CASE("deleted: the drain deadline ends the reading of a deleted file, and the log says what it costs") {
  Blocked test;
  test.configure("", "500ms");
  test.write(kInput);
  Process process(test.options());
  REQUIRE(wait_said(process, "admin: listening"));
  REQUIRE(wait_until(test.dir.path(), [&] { return test.metric("logpipe_source_lag_bytes") > 0; }));
  std::filesystem::remove(test.dir / "app.log");
  process.signal(SIGTERM);
  CHECK(process.wait(300s).status == 75);
  CAPTURE(process.stderr_text());
  CHECK(contains(process.stderr_text(), "a deleted file was not read to its end before the stop"));
  test.read_from_now_on();
}
