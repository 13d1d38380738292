#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
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

/// A file system of a few MiB in memory, mounted while it lives; `mounted()` is false where that is not allowed.
class SmallDisk {
 public:
  explicit SmallDisk(std::filesystem::path path, const char* options) : path_(std::move(path)) {
    std::filesystem::create_directory(path_);
    mounted_ = ::mount("logpipe-test", path_.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options) == 0;
    if (!mounted_) std::cout << "SKIPPED: no tmpfs can be mounted here: " << std::strerror(errno) << "\n";
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }

  /// Leaves room for about `bytes`, or none at all.
  void fill_up(std::uint64_t bytes) {
    const auto ballast = path_ / "ballast";
    const int fd = ::open(ballast.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    const std::string page(4096, '.');
    while (::write(fd, page.data(), page.size()) == static_cast<ssize_t>(page.size())) {
    }
    CHECK(errno == ENOSPC);
    const auto size = size_of(ballast);
    CHECK(::ftruncate(fd, static_cast<off_t>(size - std::min<std::uint64_t>(bytes, size))) == 0);
    ::close(fd);
  }
  void make_room() { std::filesystem::remove(path_ / "ballast"); }
  void make_read_only(bool on) {
    CHECK(::mount("logpipe-test", path_.c_str(), "tmpfs", MS_REMOUNT | MS_NOSUID | MS_NODEV | (on ? MS_RDONLY : 0),
                  nullptr) == 0);
  }

 private:
  const std::filesystem::path path_;
  bool mounted_{false};
};

std::string config_of(const TempDir& dir, const std::string& state, const std::string& out, const char* fsync,
                      const std::string& more = "") {
  return "state_dir: " + (dir / state).string() +
         "\ncheckpoint_interval: 5ms\n"
         "admin: {socket: " +
         (dir / "admin.sock").string() +
         "}\n"
         "sources:\n"
         "  app: {type: file, include: " +
         (dir / "app.log").string() +
         "}\n"
         "stages:\n"
         "  - parse: json\n"
         "  - level: info\n"
         "  - enrich: {set: {env: prod}}\n"
         "sinks:\n"
         "  full: {type: file, path: " +
         (dir / out).string() + ", fsync: " + fsync + more +
         "}\n"
         "  other: {type: file, path: " +
         (dir / "other.jsonl").string() + "}\n";
}

std::vector<std::string> expected_of(const GrowingFile& log) {
  return log.lines([](std::uint64_t n) { return !is_debug(n); }, enriched_line);
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

void check_output(const std::string& what, const std::filesystem::path& path, const GrowingFile& log) {
  const std::string arrived = read_file(path);
  const Account account = account_of({expected_of(log)}, arrived);
  std::cout << "disk full: " << what << ": " << account.text() << "\n";
  CAPTURE(account.text());
  CHECK(account.exact());
  CHECK((arrived == joined(expected_of(log))));
}

/// The state and the reason of a component, as `STATE: REASON`.
std::string health_of(const TempDir& dir, const std::string& component) {
  const Json health = Json::parse(http_get(dir / "admin.sock", "/health"));
  for (const Json& entry : health["components"].items) {
    if (entry["name"].text == component) return entry["state"].text + ": " + entry["reason"].text;
  }
  return {};
}

double metric(const TempDir& dir, const std::string& series) {
  return metric_of(http_get(dir / "admin.sock", "/metrics"), series);
}

}  // namespace

TEST_CASE("disk full: the sink waits and says so, the other goes on, and room is enough to resume exactly") {
  for (const char* fsync : {"interval", "always", "never"}) {
    CAPTURE(fsync);
    TempDir dir;
    SmallDisk disk(dir / "disk", "size=8m");
    if (!disk.mounted()) return;
    disk.fill_up(512 * 1024);
    write_file(dir / "logpipe.yaml", config_of(dir, "state", "disk/full.jsonl", fsync));
    GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 41});
    Process process(daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
    REQUIRE(wait_said(process, "admin: listening"));
    log.allow(3'000'000);
    log.wait_written();
    const std::uint64_t bytes = joined(expected_of(log)).size();
    CAPTURE(process.stderr_text());

    REQUIRE(wait_until(dir.path(), [&] { return contains(health_of(dir, "sinks.full"), "degraded"); }));
    CHECK(contains(health_of(dir, "sinks.full"), "No space left on device"));
    CHECK(contains(health_of(dir, "sinks.full"), "full.jsonl"));
    int status = 0;
    CHECK(Json::parse(http_get(dir / "admin.sock", "/health", &status))["status"].text == "degraded");
    CHECK(status == 200);
    REQUIRE(wait_grown(dir / "other.jsonl", bytes));
    CHECK(process.running());
    CHECK(size_of(dir / "disk/full.jsonl") < bytes);
    CHECK(metric(dir, "logpipe_sink_write_errors_total{sink=\"full\"}") > 0);
    CHECK(health_of(dir, "sinks.other") == "ok: ");

    disk.make_room();
    REQUIRE(wait_grown(dir / "disk/full.jsonl", bytes));
    CHECK(wait_until(dir.path(), [&] { return health_of(dir, "sinks.full") == "ok: "; }));
    CHECK(metric(dir, "logpipe_sink_paused_seconds_total{sink=\"full\"}") > 0);
    process.signal(SIGTERM);
    CHECK(process.wait(180s).status == 0);
    check_output(std::string("the full one, fsync: ") + fsync, dir / "disk/full.jsonl", log);
    check_output("the other", dir / "other.jsonl", log);
    CHECK(Json::parse(read_file(dir / "ledger.json"))["balanced"].number == 1);
  }
}

TEST_CASE("disk full: killed while it waits, the next run goes on exactly") {
  TempDir dir;
  SmallDisk disk(dir / "disk", "size=8m");
  if (!disk.mounted()) return;
  disk.fill_up(512 * 1024);
  write_file(dir / "logpipe.yaml", config_of(dir, "state", "disk/full.jsonl", "interval"));
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 42});
  log.allow(3'000'000);
  log.wait_written();
  for (int i = 0; i < 3; ++i) {
    Process process(daemon_of(dir / "logpipe.yaml"));
    CAPTURE(process.stderr_text());
    REQUIRE(wait_said(process, "cannot write, paused"));
    process.signal(i == 1 ? SIGTERM : SIGKILL);
    if (i == 1) {  // a stop gives up at the second signal, and takes back what is half written
      REQUIRE(wait_said(process, "stopping"));
      process.signal(SIGTERM);
      CHECK(process.wait(180s).status == 75);
      CHECK(read_file(dir / "disk/full.jsonl").ends_with('\n'));
    }
  }
  disk.make_room();
  const Result last = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CAPTURE(last.err);
  CHECK(last.exit.status == 0);
  check_output("after three ends while waiting", dir / "disk/full.jsonl", log);
  check_output("the other", dir / "other.jsonl", log);
}

TEST_CASE("disk full: without room for checkpoints delivery goes on, and they come back with the room") {
  TempDir dir;
  SmallDisk disk(dir / "disk", "size=2m");
  if (!disk.mounted()) return;
  write_file(dir / "logpipe.yaml", config_of(dir, "disk/state", "out.jsonl", "interval"));
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 43});
  const auto delivered = [&] {
    log.wait_written();
    const std::uint64_t bytes = joined(expected_of(log)).size();
    return wait_grown(dir / "out.jsonl", bytes) && wait_grown(dir / "other.jsonl", bytes);
  };
  {
    Process process(daemon_of(dir / "logpipe.yaml"));
    REQUIRE(wait_said(process, "admin: listening"));
    log.allow(300'000);
    REQUIRE(delivered());
    REQUIRE(wait_until(dir.path(), [&] { return metric(dir, "logpipe_checkpoint_commits_total") > 0; }));
    disk.fill_up(0);
    // The journal may have room in its last page; then it is over.
    for (int i = 0; i < 500 && metric(dir, "logpipe_checkpoint_failures_total") == 0; ++i) {
      log.allow(log.written() + 30'000);
      REQUIRE(delivered());
    }
    CHECK(metric(dir, "logpipe_checkpoint_failures_total") > 0);
    log.allow(log.written() + 500'000);
    REQUIRE(delivered());
    CHECK(process.running());

    const double commits = metric(dir, "logpipe_checkpoint_commits_total");
    disk.make_room();
    log.allow(log.written() + 100'000);
    REQUIRE(delivered());
    REQUIRE(wait_until(dir.path(), [&] { return metric(dir, "logpipe_checkpoint_commits_total") > commits; }));
    log.allow(log.written() + 100'000);
    REQUIRE(delivered());
    process.signal(SIGKILL);
    process.wait();
  }
  log.allow(log.written() + 100'000);
  log.wait_written();
  const Result last = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CAPTURE(last.err);
  CHECK(last.exit.status == 0);
  check_output("checkpoints in want of room", dir / "out.jsonl", log);
  check_output("the other", dir / "other.jsonl", log);
}

TEST_CASE("disk full: a compressed file waits with half a frame, and is whole when there is room") {
  if (std::system("command -v zstd >/dev/null") != 0) {
    std::cout << "SKIPPED: there is no zstd here\n";
    return;
  }
  TempDir dir;
  SmallDisk disk(dir / "disk", "size=8m");
  if (!disk.mounted()) return;
  disk.fill_up(64 * 1024);
  write_file(dir / "logpipe.yaml",
             config_of(dir, "state", "disk/full.zst", "interval",
                       ", compression: zstd, compression_wait: 10ms, rotate: {max_bytes: 48KiB}"));
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 44});
  log.allow(6'000'000);
  log.wait_written();
  for (int i = 0; i < 3; ++i) {
    Process process(daemon_of(dir / "logpipe.yaml"));
    CAPTURE(process.stderr_text());
    REQUIRE(wait_said(process, "cannot write, paused"));
    process.signal(SIGKILL);
    process.wait();
  }
  disk.make_room();
  const Result last = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CAPTURE(last.err);
  CHECK(last.exit.status == 0);
  // The names of the rotated ones sort by time, and before the one without a time.
  CHECK(std::system(("cd '" + (dir / "disk").string() +
                     "' && cat $(ls full-*.zst 2>/dev/null | sort) full.zst | zstd -dcq > ../whole.jsonl")
                        .c_str()) == 0);
  check_output("the compressed one", dir / "whole.jsonl", log);
  check_output("the other", dir / "other.jsonl", log);
}

TEST_CASE("disk full: a state directory that is read-only is told at the start, and the old checkpoint counts later") {
  TempDir dir;
  SmallDisk disk(dir / "disk", "size=2m");
  if (!disk.mounted()) return;
  write_file(dir / "logpipe.yaml", config_of(dir, "disk/state", "out.jsonl", "interval"));
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 45});
  log.allow(300'000);
  log.wait_written();
  REQUIRE(run({"--config", (dir / "logpipe.yaml").string(), "--once"}).exit.status == 0);
  const std::string journal = read_file(dir / "disk/state/journal");
  const std::string out = read_file(dir / "out.jsonl");
  log.allow(600'000);
  log.wait_written();

  disk.make_read_only(true);
  const Result refused = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CAPTURE(refused.err);
  CHECK(refused.exit.status == 73);
  CHECK(contains(refused.err, "Read-only file system"));
  CHECK(contains(refused.err, (dir / "disk/state").string()));
  CHECK((read_file(dir / "disk/state/journal") == journal));
  CHECK((read_file(dir / "out.jsonl") == out));

  disk.make_read_only(false);
  const Result last = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
  CAPTURE(last.err);
  CHECK(last.exit.status == 0);
  check_output("after the state directory was read-only", dir / "out.jsonl", log);
  check_output("the other", dir / "other.jsonl", log);
}
