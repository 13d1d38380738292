// A sink that takes nothing for a while is left behind, reads the files by itself, and catches up: the other sink never
// waits for it, and neither loses, doubles or reorders a line.

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdint>
#include <string>

#include "tests/e2e/http.hpp"
#include "tests/e2e/json.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;

namespace {

/// What the slow sink's output holds already: at the limit of a file's size it can grow no further, and the others can.
constexpr std::uint64_t kHeldBytes = 64'000'000;

/// A daemon with a sink `fast` and a sink `slow`, of which the latter can be made to take nothing.
class Rig {
 public:
  explicit Rig(const std::string& include = "app.log", const std::string& queue = "detach_after: 50ms") {
    write_file(dir / "slow.log", std::string(kHeldBytes - 1, ' ') + "\n");
    write_file(dir / "logpipe.yaml",
               "state_dir: " + (dir / "state").string() +
                   "\ncheckpoint_interval: 5ms\nadmin: {socket: " + (dir / "admin.sock").string() +
                   "}\nsources:\n  app: {type: file, include: " + (dir / include).string() +
                   ", rotate_wait: 100ms}\nstages:\n  - level: {min: info}\nsinks:\n"
                   "  fast: {type: file, path: " +
                   (dir / "fast.log").string() + "}\n  slow: {type: file, path: " + (dir / "slow.log").string() +
                   ", queue: {max_bytes: 1MiB, when_full: detach, " + queue + "}}\n");
  }
  Process::Options daemon() const {
    return daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()});
  }

  static void hold(const Process& process) { limit(process, kHeldBytes + 500'000); }
  static void let_go(const Process& process) { limit(process, RLIM_INFINITY); }
  bool wait_detached(bool detached) const {
    return wait_until(
        dir.path(),
        [&] {
          const std::string metrics = http_get(dir / "admin.sock", "/metrics");
          return metric_of(metrics, "logpipe_sink_detached{sink=\"slow\"}") == (detached ? 1 : 0);
        },
        std::chrono::seconds(180));
  }
  std::string slow_lines() const { return read_file(dir / "slow.log").substr(kHeldBytes); }
  bool wait_slow(std::uint64_t bytes) const { return wait_grown(dir / "slow.log", kHeldBytes + bytes); }
  void check(const GrowingFile& log) const {
    const auto wanted = log.lines([](std::uint64_t n) { return !is_debug(n); }, numbered_line);
    const Account fast = account_of({wanted}, read_file(dir / "fast.log"));
    const Account slow = account_of({wanted}, slow_lines());
    INFO("fast: ", fast.text(), ", slow: ", slow.text());
    CHECK(fast.exact());
    CHECK(slow.exact());
  }
  static std::uint64_t bytes_wanted(const GrowingFile& log) {
    std::uint64_t bytes = 0;
    for (const std::string& line : log.lines([](std::uint64_t n) { return !is_debug(n); }, numbered_line)) {
      bytes += line.size();
    }
    return bytes;
  }

  TempDir dir;

 private:
  static void limit(const Process& process, rlim_t bytes) {
    const rlimit wanted{bytes, RLIM_INFINITY};
    REQUIRE(::prlimit(process.pid(), RLIMIT_FSIZE, &wanted, nullptr) == 0);
  }
};

}  // namespace

TEST_CASE("detach: the other sink gets everything while one takes nothing, and that one catches up later") {
  Rig rig;
  GrowingFile log({.path = rig.dir / "app.log", .file = 1, .seed = 31});
  Process process(rig.daemon());
  REQUIRE(wait_said(process, "daemon: running"));
  std::uint64_t allowed = 0;
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    Rig::hold(process);
    allowed += 8'000'000;
    log.allow(allowed);
    log.wait_written();
    REQUIRE(wait_grown(rig.dir / "fast.log", Rig::bytes_wanted(log)));
    REQUIRE(rig.wait_detached(true));
    CHECK(rig.slow_lines().size() < Rig::bytes_wanted(log));
    // What comes while it catches up is in time for the other one, too.
    Rig::let_go(process);
    allowed += 2'000'000;
    log.allow(allowed);
    log.wait_written();
    REQUIRE(wait_grown(rig.dir / "fast.log", Rig::bytes_wanted(log)));
    REQUIRE(rig.wait_slow(Rig::bytes_wanted(log)));
    REQUIRE(rig.wait_detached(false));
    rig.check(log);
  }
  allowed += 100'000;
  log.allow(allowed);
  log.wait_written();
  REQUIRE(rig.wait_slow(Rig::bytes_wanted(log)));
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
  rig.check(log);
  const Json ledger = Json::parse(read_file(rig.dir / "ledger.json"));
  CHECK(ledger["balanced"].number == 1);
  // In the lifetime of the sink every line counts once, whichever way it came.
  double received = 0;
  for (const Json& each : ledger["lifetime"].items) {
    if (each["sink"]["name"].text == "slow") received += each["sink"]["received"]["events"].number;
  }
  CHECK(received == static_cast<double>(log.count()));
}

TEST_CASE("detach: killed at any moment of it, and every line is in both outputs once") {
  Rig rig;
  GrowingFile log({.path = rig.dir / "app.log", .file = 1, .seed = 32});
  std::uint64_t allowed = 0;
  for (int round = 0; round < 8; ++round) {
    CAPTURE(round);
    Process process(rig.daemon());
    REQUIRE(wait_said(process, "daemon: running"));
    if (round % 2 == 0) Rig::hold(process);
    allowed += 4'000'000;
    log.allow(allowed);
    log.wait_written();
    REQUIRE(wait_grown(rig.dir / "fast.log", Rig::bytes_wanted(log)));
    const std::size_t had = rig.slow_lines().size();
    if (round % 2 == 0) REQUIRE(rig.wait_detached(true));
    if (round % 4 == 2) {
      Rig::let_go(process);
      REQUIRE(rig.wait_slow(had + 500'000));
    }
    process.signal(SIGKILL);
    process.wait();
  }
  const Result last = run({"--config", (rig.dir / "logpipe.yaml").string(), "--once"});
  CHECK(last.exit.status == 0);
  rig.check(log);
}

TEST_CASE("detach: the files are renamed while the sink is left behind") {
  Rig rig("app.log*");
  GrowingFile log({.path = rig.dir / "app.log", .file = 1, .seed = 33});
  Process process(rig.daemon());
  REQUIRE(wait_said(process, "daemon: running"));
  Rig::hold(process);
  std::uint64_t allowed = 0;
  for (int i = 0; i < 4; ++i) {
    allowed += 3'000'000;
    log.allow(allowed);
    log.wait_written();
    REQUIRE(wait_grown(rig.dir / "fast.log", Rig::bytes_wanted(log)));
    log.rotate();
  }
  REQUIRE(rig.wait_detached(true));
  Rig::let_go(process);
  REQUIRE(rig.wait_slow(Rig::bytes_wanted(log)));
  REQUIRE(rig.wait_detached(false));
  allowed += 500'000;
  log.allow(allowed);
  log.wait_written();
  REQUIRE(rig.wait_slow(Rig::bytes_wanted(log)));
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
  const auto wanted = log.lines([](std::uint64_t n) { return !is_debug(n); }, numbered_line);
  CHECK(account_of({wanted}, read_file(rig.dir / "fast.log")).exact());
  const Account slow = account_of({wanted}, rig.slow_lines());
  INFO(slow.text());
  CHECK(slow.exact());
}

TEST_CASE("detach: the files are renamed to where the patterns do not reach while the sink is left behind") {
  Rig rig;
  GrowingFile log({.path = rig.dir / "app.log", .file = 1, .seed = 35});
  Process process(rig.daemon());
  REQUIRE(wait_said(process, "daemon: running"));
  Rig::hold(process);
  std::uint64_t allowed = 0;
  for (int i = 0; i < 4; ++i) {
    allowed += 3'000'000;
    log.allow(allowed);
    log.wait_written();
    REQUIRE(wait_grown(rig.dir / "fast.log", Rig::bytes_wanted(log)));
    log.rotate();
  }
  REQUIRE(rig.wait_detached(true));
  Rig::let_go(process);
  allowed += 500'000;
  log.allow(allowed);
  log.wait_written();
  REQUIRE(rig.wait_slow(Rig::bytes_wanted(log)));
  REQUIRE(rig.wait_detached(false));
  REQUIRE(wait_grown(rig.dir / "fast.log", Rig::bytes_wanted(log)));
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
  rig.check(log);
}

TEST_CASE("detach: a file is truncated while the sink is left behind, which costs the other one nothing") {
  for (const bool killed : {false, true}) {
    CAPTURE(killed);
    Rig rig;
    GrowingFile log({.path = rig.dir / "app.log", .file = 1, .seed = 36});
    Process process(rig.daemon());
    REQUIRE(wait_said(process, "daemon: running"));
    Rig::hold(process);
    log.allow(6'000'000);
    log.wait_written();
    REQUIRE(wait_grown(rig.dir / "fast.log", Rig::bytes_wanted(log)));
    REQUIRE(rig.wait_detached(true));
    const std::uint64_t before = Rig::bytes_wanted(log);
    // As copytruncate does it, with the copy gone at once.
    log.between_lines([&] { std::filesystem::resize_file(rig.dir / "app.log", 0); });
    log.allow(6'600'000);
    log.wait_written();
    REQUIRE(wait_grown(rig.dir / "fast.log", Rig::bytes_wanted(log)));
    CHECK(Rig::bytes_wanted(log) > before);
    if (killed) {
      process.signal(SIGKILL);
      process.wait();
      const Result last = run({"--config", (rig.dir / "logpipe.yaml").string(), "--once"});
      CHECK(last.exit.status == 0);
    } else {
      Rig::let_go(process);
      REQUIRE(rig.wait_detached(false));
      process.signal(SIGTERM);
      CHECK(process.wait().status == 0);
    }
    const auto wanted = log.lines([](std::uint64_t n) { return !is_debug(n); }, numbered_line);
    const Account fast = account_of({wanted}, read_file(rig.dir / "fast.log"));
    INFO(fast.text());
    CHECK(fast.exact());
    const Account slow = account_of({wanted}, rig.slow_lines());
    INFO(slow.text());
    CHECK(slow.doubled == 0);
    CHECK(slow.reordered == 0);
  }
}

TEST_CASE("detach: a reload and a stop while a sink is left behind") {
  Rig rig;
  GrowingFile log({.path = rig.dir / "app.log", .file = 1, .seed = 34});
  {
    Process process(rig.daemon());
    REQUIRE(wait_said(process, "daemon: running"));
    Rig::hold(process);
    log.allow(6'000'000);
    log.wait_written();
    REQUIRE(wait_grown(rig.dir / "fast.log", Rig::bytes_wanted(log)));
    REQUIRE(rig.wait_detached(true));
    Rig::let_go(process);
    process.signal(SIGHUP);
    REQUIRE(wait_said(process, "daemon: reloaded"));
    REQUIRE(rig.wait_slow(Rig::bytes_wanted(log)));
    rig.check(log);
    Rig::hold(process);
    log.allow(12'000'000);
    log.wait_written();
    REQUIRE(wait_grown(rig.dir / "fast.log", Rig::bytes_wanted(log)));
    REQUIRE(rig.wait_detached(true));
    Rig::let_go(process);
    process.signal(SIGTERM);
    CHECK(process.wait().status == 0);
    CHECK(Json::parse(read_file(rig.dir / "ledger.json"))["balanced"].number == 1);
  }
  const Result last = run({"--config", (rig.dir / "logpipe.yaml").string(), "--once"});
  CHECK(last.exit.status == 0);
  rig.check(log);
}

TEST_CASE("detach: what cannot be read again cannot leave a sink behind") {
  TempDir dir;
  write_file(dir / "logpipe.yaml", "sources:\n  in: {type: stdin}\nsinks:\n  out: {type: file, path: " +
                                       (dir / "out.log").string() + ", queue: {when_full: detach}}\n");
  const Result result = run({"validate", "--config", (dir / "logpipe.yaml").string()});
  CHECK(result.exit.status == 78);
  CHECK(contains(result.err, "logpipe.yaml:4:"));
  CHECK(contains(result.err, "source \"in\" cannot be read again"));
}
