// The wall clock is set forwards and backwards while data flows: timestamps follow, and nothing else does.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <string>

#include "tests/e2e/json.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;

namespace {

/// What shifted_clock.cpp reads.
class WallClock {
 public:
  explicit WallClock(const std::filesystem::path& path) : path_(path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    REQUIRE(::ftruncate(fd, sizeof(std::int64_t)) == 0);
    void* mapped = ::mmap(nullptr, sizeof(std::int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    REQUIRE(mapped != MAP_FAILED);
    offset_ = static_cast<std::atomic<std::int64_t>*>(mapped);
  }
  ~WallClock() { ::munmap(offset_, sizeof(std::int64_t)); }
  WallClock(const WallClock&) = delete;
  WallClock& operator=(const WallClock&) = delete;
  void set_ahead(std::int64_t seconds) { offset_->store(seconds); }
  std::string path() const { return path_.string(); }

 private:
  const std::filesystem::path path_;
  std::atomic<std::int64_t>* offset_{nullptr};
};

constexpr std::int64_t kHour = 3600;
constexpr std::int64_t kDay = 24 * kHour;

Process::Options with_clock(const TempDir& dir, const WallClock& clock) {
  Process::Options options = daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()});
  options.environment = {{"LD_PRELOAD", LOGPIPE_SHIFTED_CLOCK}, {"LOGPIPE_TEST_CLOCK", clock.path()}};
  return options;
}

}  // namespace

TEST_CASE(
    "clock: set forwards and backwards while a file grows, is rotated and the program is killed, all arrives once") {
  TempDir dir;
  WallClock clock(dir / "clock");
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 11, .rotate_bytes = 400'000});
  write_file(dir / "logpipe.yaml",
             "state_dir: " + (dir / "state").string() +
                 "\ncheckpoint_interval: 5ms\nsources:\n  app: {type: file, include: " + (dir / "app.log").string() +
                 "*, rotate_wait: 50ms, discovery_interval: 20ms, partial_line_timeout: 0}\n"
                 "stages:\n  - throttle: 100000/s\nsinks:\n  out: {type: file, path: " +
                 (dir / "out.log").string() + "}\n");
  std::uint64_t allowed = 0;
  bool killed = false;
  for (const std::int64_t first : {std::int64_t{0}, -kDay, kDay}) {
    clock.set_ahead(first);
    Process process(with_clock(dir, clock));
    for (const std::int64_t ahead : {kHour, -kHour, 400 * kDay, -400 * kDay, std::int64_t{0}, -kDay, 7 * kDay}) {
      allowed += 150'000;
      log.allow(allowed);
      clock.set_ahead(ahead);
      log.wait_written();
      // Everything arrives although the clock stands elsewhere than when it was written.
      REQUIRE(wait_grown(dir / "out.log", log.written()));
    }
    killed = !killed;
    if (killed) {
      process.signal(SIGKILL);
      process.wait();
    } else {
      process.signal(SIGTERM);
      CHECK(process.wait().status == 0);
      CHECK(Json::parse(read_file(dir / "ledger.json"))["balanced"].number == 1);
    }
  }
  clock.set_ahead(-3 * kDay);
  Process last(with_clock(dir, clock));
  allowed += 100'000;
  log.allow(allowed);
  log.wait_written();
  REQUIRE(wait_grown(dir / "out.log", log.written()));
  last.signal(SIGTERM);
  CHECK(last.wait().status == 0);
  const Account account = account_of({log.lines()}, read_file(dir / "out.log"));
  INFO(account.text());
  CHECK(account.exact());
}

TEST_CASE("clock: the file of the day is that of the clock as it is set") {
  TempDir dir;
  WallClock clock(dir / "clock");
  write_file(dir / "app.log", "");
  write_file(dir / "logpipe.yaml", "state_dir: " + (dir / "state").string() +
                                       "\nsources:\n  app: {type: file, include: " + (dir / "app.log").string() +
                                       "}\nsinks:\n  out: {type: file, path: '" + (dir / "out").string() +
                                       "/%Y.log'}\n");
  // The year 2040 and the year 1990, from wherever the test is run.
  constexpr std::int64_t k2040 = 2208988800 + 180 * kDay;
  constexpr std::int64_t k1990 = 631152000 + 180 * kDay;
  const auto real = static_cast<std::int64_t>(::time(nullptr));
  clock.set_ahead(k2040 - real);
  Process process(with_clock(dir, clock));
  append_file(dir / "app.log", "later\n");
  REQUIRE(wait_until(dir.path(), [&] { return read_file(dir / "out/2040.log") == "later\n"; }));
  clock.set_ahead(k1990 - real);
  append_file(dir / "app.log", "earlier\n");
  REQUIRE(wait_until(dir.path(), [&] { return read_file(dir / "out/1990.log") == "earlier\n"; }));
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
}
