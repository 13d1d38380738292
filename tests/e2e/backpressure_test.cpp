#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
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

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr std::uint64_t kInputBytes = (kSlowness == 1 ? 300 : 64) * kMiB;  // much more than the budget
constexpr std::uint64_t kBudget = 16 * kMiB;
constexpr std::uint64_t kQueue = 4 * kMiB;

/// Writes numbered lines until there are that many bytes; returns how many lines.
std::uint64_t write_input(const std::filesystem::path& path, std::uint64_t bytes) {
  std::ofstream out(path, std::ios::binary);
  std::uint64_t lines = 0;
  for (std::uint64_t written = 0; written < bytes; ++lines) {
    const std::string line = numbered_line(1, lines);
    out << line;
    written += line.size();
  }
  return out.flush() ? lines : 0;
}

/// Compares what comes with the numbered lines, in order, without holding more than a piece of it.
class Expected {
 public:
  /// False from the first difference on.
  bool take(std::string_view text) {
    while (same_ && !text.empty()) {
      if (line_.empty()) line_ = numbered_line(1, lines_++);
      const std::size_t n = std::min(line_.size(), text.size());
      same_ = text.substr(0, n) == line_.substr(0, n);
      text.remove_prefix(n);
      line_.erase(0, n);
      bytes_ += n;
    }
    return same_;
  }
  bool at_line_end() const { return line_.empty(); }
  std::uint64_t lines() const { return lines_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::string line_;
  std::uint64_t lines_{0};
  std::uint64_t bytes_{0};
  bool same_{true};
};

struct Pipe {
  Pipe() { REQUIRE(::pipe2(ends, O_CLOEXEC) == 0); }
  ~Pipe() {
    ::close(ends[0]);
    close_in();
  }
  void close_in() {
    if (ends[1] >= 0) ::close(ends[1]);
    ends[1] = -1;
  }
  int ends[2];
};

/// The most memory the process ever had, in bytes.
std::uint64_t peak_resident(pid_t pid) {
  for (const std::string& line : lines_of(read_file("/proc/" + std::to_string(pid) + "/status"))) {
    if (line.starts_with("VmHWM:")) return std::strtoull(line.c_str() + std::strlen("VmHWM:"), nullptr, 10) * 1024;
  }
  return 0;
}

/// Waits until nothing more was received while somebody stood before a full queue, or a spent budget, for half a second
/// of the program's own reckoning.
bool wait_stalled(const std::filesystem::path& directory) {
  double received = -1;
  double blocked_then = 0;
  return wait_until(
      directory,
      [&] {
        const std::string metrics = http_get(directory / "admin.sock", "/metrics");
        const double now = metric_of(metrics, "logpipe_source_received_bytes_total");
        const double blocked = metric_of(metrics, "logpipe_blocked_seconds_total{component=\"screen\"}");
        if (now != received) {
          received = now;
          blocked_then = blocked;
        }
        return received > 0 && blocked - blocked_then >= 0.5;
      },
      300s);
}

double received_bytes(const std::filesystem::path& socket) {
  return Json::parse(http_get(socket, "/api/v1/status"))["pipelines"][0]["received"]["bytes"].number;
}

}  // namespace

TEST_CASE("backpressure: a sink that nobody reads stops the reading within the memory budget, and then all arrives") {
  TempDir dir;
  const std::uint64_t lines = write_input(dir / "app.log", kInputBytes);
  REQUIRE(lines > 0);
  const std::uint64_t input_bytes = size_of(dir / "app.log");
  write_file(dir / "logpipe.yaml",
             "state_dir: " + (dir / "state").string() +
                 "\nmemory: 16MiB\nqueue: {max_bytes: 4MiB}\nadmin: {socket: " + (dir / "admin.sock").string() +
                 "}\n"
                 "sources:\n"
                 "  app: {type: file, include: " +
                 (dir / "app.log").string() +
                 "}\n"
                 "sinks:\n"
                 "  screen: {type: stdout}\n"
                 "  file: {type: file, path: " +
                 (dir / "out.jsonl").string() + ", fsync: never}\n");
  Pipe pipe;
  Process::Options options = daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()});
  options.stdout_fd = pipe.ends[1];
  Process process(std::move(options));
  pipe.close_in();
  REQUIRE(wait_said(process, "admin: listening"));
  REQUIRE(wait_stalled(dir.path()));

  // Blocked: nothing moves any more.
  const double received = received_bytes(dir / "admin.sock");
  const std::string metrics = http_get(dir / "admin.sock", "/metrics");
  const double used = metric_of(metrics, "logpipe_memory_used_bytes");
  const auto ahead = size_of(dir / "out.jsonl");
  std::cout << "backpressure: blocked after " << received / 1e6 << " MB of " << static_cast<double>(input_bytes) / 1e6
            << " MB, budget used " << used / 1e6 << " MB, the other sink has " << static_cast<double>(ahead) / 1e6
            << " MB, peak resident " << static_cast<double>(peak_resident(process.pid())) / 1e6 << " MB\n";
  CHECK(received < static_cast<double>(kBudget));
  CHECK(used <= static_cast<double>(kBudget));
  CHECK(metric_of(metrics, "logpipe_source_lag_bytes") >= static_cast<double>(input_bytes - kBudget));
  // What stands in the queue, in the pipe, and in the two deliveries being handed over and written.
  CHECK(ahead <= kQueue + kMiB + 4 * 256 * 1024);
  CHECK(ahead > 0);
  CHECK(received_bytes(dir / "admin.sock") == received);

  // Unblocked: everything arrives.
  Expected expected;
  std::vector<char> buffer(kMiB);
  bool same = true;
  while (same && expected.bytes() < input_bytes) {
    const ssize_t n = ::read(pipe.ends[0], buffer.data(), buffer.size());
    if (n <= 0) break;
    same = expected.take({buffer.data(), static_cast<std::size_t>(n)});
  }
  CHECK(same);
  CHECK(expected.bytes() == input_bytes);
  CHECK(expected.lines() == lines);
  CHECK(expected.at_line_end());
  REQUIRE(wait_grown(dir / "out.jsonl", input_bytes));
  const std::uint64_t peak = peak_resident(process.pid());
  process.signal(SIGTERM);
  CHECK(process.wait(180s).status == 0);
  CHECK(::read(pipe.ends[0], buffer.data(), buffer.size()) == 0);
  std::cout << "backpressure: all delivered, peak resident " << static_cast<double>(peak) / 1e6 << " MB\n";
  if (kSlowness == 1) CHECK(peak < kBudget + 32 * kMiB);

  Expected in_file;
  std::ifstream file(dir / "out.jsonl", std::ios::binary);
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || file.gcount() > 0) {
    if (!in_file.take({buffer.data(), static_cast<std::size_t>(file.gcount())})) break;
  }
  CHECK(in_file.bytes() == input_bytes);
  CHECK(size_of(dir / "out.jsonl") == input_bytes);
  const Json ledger = Json::parse(read_file(dir / "ledger.json"));
  CHECK(ledger["balanced"].number == 1);
  for (const char* sink : {"screen", "file"}) {
    CHECK(sink_ledger(ledger, sink).delivered == static_cast<double>(lines));
    CHECK(sink_ledger(ledger, sink).in_flight == 0);
  }
}

TEST_CASE("backpressure: with 10 GB to read, memory stays within the budget and 32 MiB") {
  TempDir dir;
  constexpr std::uint64_t kHuge = 10'000'000'000;
  REQUIRE(write_input(dir / "app.log", 4 * kBudget) > 0);
  // Nobody gets this far: what follows the lines takes no room on the disk.
  std::filesystem::resize_file(dir / "app.log", kHuge);
  write_file(
      dir / "logpipe.yaml",
      "memory: 16MiB\nqueue: {max_bytes: 8MiB}\ndrain_timeout: 10ms\nadmin: {socket: " + (dir / "admin.sock").string() +
          "}\nsources:\n  app: {type: file, include: " + (dir / "app.log").string() +
          "}\nstages:\n  - parse: json\n  - enrich: {set: {env: prod}}\nsinks:\n"
          "  screen: {type: stdout, encoding: json}\n  second: {type: file, encoding: json, path: " +
          (dir / "out.jsonl").string() + "}\n");
  const FullPipe nobody_reads;
  Process::Options options = daemon_of(dir / "logpipe.yaml");
  options.stdout_fd = nobody_reads.in();
  Process process(std::move(options));
  REQUIRE(wait_said(process, "admin: listening"));
  REQUIRE(wait_stalled(dir.path()));
  const std::string metrics = http_get(dir / "admin.sock", "/metrics");
  CHECK(metric_of(metrics, "logpipe_source_lag_bytes") > static_cast<double>(kHuge - 4 * kBudget));
  const std::uint64_t peak = peak_resident(process.pid());
  std::cout << "backpressure: 10 GB to read, peak resident " << static_cast<double>(peak) / 1e6 << " MB\n";
  if (kSlowness == 1) CHECK(peak < kBudget + 32 * kMiB);
  process.signal(SIGTERM);
  CHECK(process.wait().status == 75);
}
