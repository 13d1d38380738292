#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <time.h>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/http.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

/// What a service manager is to a service: a datagram socket that is told things.
class Manager {
 public:
  explicit Manager(const std::filesystem::path& path) : path_(path) {
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un where{};
    where.sun_family = AF_UNIX;
    path_.string().copy(where.sun_path, sizeof(where.sun_path) - 1);
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&where), sizeof(where)) == 0);
  }
  ~Manager() { ::close(fd_); }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  std::string path() const { return path_.string(); }

  /// Reads messages until one holds; that one, or an empty text after a minute.
  std::string wait(const std::function<bool(const std::string&)>& holds) {
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      pollfd ready{fd_, POLLIN, 0};
      if (left.count() <= 0 || ::poll(&ready, 1, static_cast<int>(left.count())) <= 0) return {};
      char buffer[4096];
      const ssize_t n = ::recv(fd_, buffer, sizeof(buffer), 0);
      if (n <= 0) return {};
      messages_.emplace_back(buffer, static_cast<std::size_t>(n));
      if (holds(messages_.back())) return messages_.back();
    }
  }
  std::string wait_line(const std::string& line) {
    return wait([&](const std::string& message) { return has_line(message, line); });
  }
  static bool has_line(const std::string& message, const std::string& line) {
    for (const std::string& one : lines_of(message)) {
      if (one == line) return true;
    }
    return false;
  }
  static std::string value_of(const std::string& message, const std::string& name) {
    for (const std::string& one : lines_of(message)) {
      if (one.starts_with(name + "=")) return one.substr(name.size() + 1);
    }
    return {};
  }
  const std::vector<std::string>& messages() const { return messages_; }

 private:
  std::filesystem::path path_;
  int fd_{-1};
  std::vector<std::string> messages_;
};

void write_config(const TempDir& dir, const std::string& more = {}) {
  write_file(dir / "logpipe.yaml", "state_dir: " + (dir / "state").string() + "\n" + more +
                                       "sources:\n  app: {type: file, include: " + (dir / "app.log").string() +
                                       "}\nsinks:\n  out: {type: file, path: " + (dir / "out.log").string() + "}\n");
}

Process::Options service(const TempDir& dir, const Manager& manager) {
  return {.arguments = {"--config", (dir / "logpipe.yaml").string()},
          .directory = {},
          .environment = {{"NOTIFY_SOCKET", manager.path()}, {"WATCHDOG_USEC", "200000"}},
          .watchdog_pid = true};
}

}  // namespace

TEST_CASE("service manager: it is told of the start, of progress with figures, of life, and of the stop") {
  TempDir dir;
  write_config(dir);
  write_file(dir / "app.log", "one\ntwo\nthree\n");
  Manager manager(dir / "notify");
  Process process(service(dir, manager));

  REQUIRE(manager.wait_line("READY=1") != "");
  CHECK(manager.messages().size() == 1);  // nothing before it
  REQUIRE(manager.wait_line("WATCHDOG=1") != "");
  REQUIRE(manager.wait_line("WATCHDOG=1") != "");
  REQUIRE(manager.wait([](const std::string& message) {
    return Manager::value_of(message, "STATUS") == "3 events received, 3 delivered, 0 in flight";
  }) != "");
  append_file(dir / "app.log", "four\n");
  REQUIRE(manager.wait([](const std::string& message) {
    return Manager::value_of(message, "STATUS") == "4 events received, 4 delivered, 0 in flight";
  }) != "");

  process.signal(SIGTERM);
  CHECK(manager.wait_line("STOPPING=1") != "");
  CHECK(process.wait().status == 0);
  CHECK(read_file(dir / "out.log") == "one\ntwo\nthree\nfour\n");
}

TEST_CASE("service manager: a reload says RELOADING with the time it began, then READY") {
  TempDir dir;
  write_config(dir);
  write_file(dir / "app.log", "one\n");
  Manager manager(dir / "notify");
  Process process(service(dir, manager));
  REQUIRE(manager.wait_line("READY=1") != "");

  timespec before{};
  clock_gettime(CLOCK_MONOTONIC, &before);
  process.signal(SIGHUP);
  const std::string reloading = manager.wait_line("RELOADING=1");
  timespec after{};
  clock_gettime(CLOCK_MONOTONIC, &after);
  REQUIRE(reloading != "");
  const auto usec = [](const timespec& time) {
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
  };
  const double began = std::strtod(Manager::value_of(reloading, "MONOTONIC_USEC").c_str(), nullptr);
  CHECK(began >= usec(before) - 1);
  CHECK(began <= usec(after) + 1);
  CHECK(manager.wait_line("READY=1") != "");
  process.signal(SIGTERM);
  CHECK(manager.wait_line("STOPPING=1") != "");
  CHECK(process.wait().status == 0);
}

TEST_CASE("service manager: a reload of a broken file announces no reload") {
  TempDir dir;
  write_config(dir);
  write_file(dir / "app.log", "one\n");
  Manager manager(dir / "notify");
  Process process(service(dir, manager));
  REQUIRE(manager.wait_line("READY=1") != "");
  write_config(dir, "nonsense: 1\n");
  process.signal(SIGHUP);
  REQUIRE(
      process.wait_stderr([](const std::string& text) { return text.find("the old one stays") != std::string::npos; }));
  process.signal(SIGTERM);
  REQUIRE(manager.wait_line("STOPPING=1") != "");
  for (const std::string& message : manager.messages()) CHECK_FALSE(Manager::has_line(message, "RELOADING=1"));
  CHECK(process.wait().status == 0);
}

TEST_CASE("service manager: a drain that is stuck says how long it will take at most, and ends by itself") {
  TempDir dir;
  const FullPipe nobody_reads;
  write_file(dir / "app.log", std::string(300'000, 'x') + "\n");
  write_file(dir / "logpipe.yaml",
             "drain_timeout: 3s\nadmin: {listen: 127.0.0.1:0}\nsources:\n  app: {type: file, include: " +
                 (dir / "app.log").string() + "}\nsinks:\n  out: {type: stdout}\n");
  Manager manager(dir / "notify");
  Process::Options options = service(dir, manager);
  options.stdout_fd = nobody_reads.in();
  Process process(std::move(options));
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  REQUIRE(manager.wait([](const std::string& message) {
    return Manager::value_of(message, "STATUS") == "1 events received, 0 delivered, 1 in flight";
  }) != "");
  int status = 0;
  http_get(address, "/ready", &status);
  CHECK(status == 200);
  process.signal(SIGTERM);
  REQUIRE(manager.wait_line("STOPPING=1") != "");
  CHECK(manager.wait_line("EXTEND_TIMEOUT_USEC=10000000") != "");
  const std::string told = manager.wait([](const std::string& message) {
    return Manager::value_of(message, "STATUS").starts_with("draining: 1 events received, 0 delivered, 1 in flight, ");
  });
  CHECK(told.find(" s left") != std::string::npos);
  http_get(address, "/ready", &status);
  CHECK(status == 503);
  CHECK(process.wait().status == 75);
}

TEST_CASE("service manager: without one nothing is sent and nothing is missed") {
  TempDir dir;
  write_config(dir);
  write_file(dir / "app.log", "one\n");
  const Result result = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CHECK(result.exit.status == 0);
  CHECK(read_file(dir / "out.log") == "one\n");
}

namespace {

bool has_systemd_analyze() {
  return std::system("command -v systemd-analyze >/dev/null 2>&1") == 0;
}

std::string output_of(const std::string& command, int& status) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string text;
  char buffer[4096];
  while (const std::size_t n = std::fread(buffer, 1, sizeof(buffer), pipe)) text.append(buffer, n);
  status = WEXITSTATUS(::pclose(pipe));
  return text;
}

}  // namespace

TEST_CASE("unit file: the offline security score is at most 1.5") {
  if (!has_systemd_analyze()) {
    MESSAGE("skipped: no systemd-analyze here");
    return;
  }
  int status = -1;
  const std::string said =
      output_of("systemd-analyze security --no-pager --offline=true --threshold=15 '" LOGPIPE_SOURCE_DIR
                "/systemd/logpipe.service'",
                status);
  CAPTURE(said);
  CHECK(status == 0);
}

TEST_CASE("unit file: systemd-analyze verify finds nothing") {
  if (!has_systemd_analyze()) {
    MESSAGE("skipped: no systemd-analyze here");
    return;
  }
  // The program is where the package puts it, which is not here: the unit is checked with this build in its place.
  TempDir dir;
  std::string unit = read_file(LOGPIPE_SOURCE_DIR "/systemd/logpipe.service");
  const std::string installed = "/usr/bin/logpipe";
  const auto at = unit.find(installed);
  REQUIRE(at != std::string::npos);
  unit.replace(at, installed.size(), logpipe_binary());
  write_file(dir / "logpipe.service", unit);
  int status = -1;
  const std::string said = output_of(
      "systemd-analyze verify --man=no --recursive-errors=no '" + (dir / "logpipe.service").string() + "'", status);
  CAPTURE(said);
  CHECK(status == 0);
}

TEST_CASE("unit file: the configuration that is installed with it is valid") {
  const Result result = run({"validate", "--config", LOGPIPE_SOURCE_DIR "/systemd/logpipe.yaml"});
  CAPTURE(result.err);
  CHECK(result.exit.status == 0);
}

TEST_CASE("service manager: one that reads nothing any more cannot keep the program from stopping") {
  TempDir dir;
  write_config(dir);
  write_file(dir / "app.log", "one\n");
  Manager manager(dir / "notify");
  Process process(service(dir, manager));
  REQUIRE(manager.wait_line("READY=1") != "");
  // From here on the manager's socket fills up: a status and a sign of life every 100 ms, ten of them fit.
  const int filling = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  manager.path().copy(where.sun_path, sizeof(where.sun_path) - 1);
  while (::sendto(filling, "x", 1, 0, reinterpret_cast<const sockaddr*>(&where), sizeof(where)) == 1) {
  }
  ::close(filling);
  append_file(dir / "app.log", "two\n");
  REQUIRE(wait_until(dir.path(), [&] { return read_file(dir / "out.log") == "one\ntwo\n"; }));
  process.signal(SIGTERM);
  // Only the word that it stops waits for the manager to have room again.
  CHECK(manager.wait_line("STOPPING=1") != "");
  CHECK(process.wait().status == 0);
}
