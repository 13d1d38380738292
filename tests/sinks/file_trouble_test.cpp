#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "event/json.hpp"
#include "sinks/file.hpp"
#include "tests/sinks/support.hpp"

// Last: it defines BLOCK_SIZE, a name that ConcurrentQueue uses.
#include <sys/mount.h>

using namespace logpipe;
using std::chrono::milliseconds;
using test::content;
using test::FakeProgress;
using test::FaultyLayer;
using test::SinkRun;

namespace {

struct Bench {
  explicit Bench(std::string_view name = "out.log") : path(dir.file(name)) {}
  FileSinkOptions options() const {
    FileSinkOptions result;
    result.path = PathTemplate::parse(path).value();
    result.fsync = fsync;
    return result;
  }
  std::unique_ptr<SinkRun> start() {
    return std::make_unique<SinkRun>(make_file_sink(options(), {"out", &progress, &metrics, &health}, layer));
  }
  std::optional<double> metric(std::string_view name) const { return metrics.value(name, {{"sink", "out"}}); }

  test::TempDir dir;
  std::string path;
  Fsync fsync{Fsync::never};
  FakeProgress progress;
  MetricsRegistry metrics;
  HealthTable health;
  FaultyLayer layer;
};

}  // namespace

TEST_CASE("file sink: short writes go on exactly behind what is in") {
  Bench bench;
  for (int i = 0; i < 10; ++i) bench.layer.writes.push_back({1, 0});
  bench.layer.writes.push_back({0, EINTR});
  bench.layer.writes.push_back({3, 0});
  auto run = bench.start();
  CHECK(run->send("0123456789abcdefghij\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(content(bench.path) == "0123456789abcdefghij\n");
  CHECK(bench.layer.waits.empty());
}

TEST_CASE("file sink: no space pauses with backoff and goes on where it was") {
  Bench bench;
  bench.layer.writes = {{4, 0}};
  for (int i = 0; i < 7; ++i) bench.layer.writes.push_back({0, ENOSPC});
  std::string while_paused;
  bench.layer.on_wait = [&](std::size_t n) {
    if (n == 1) while_paused = bench.health.health().body;
    return true;
  };
  auto run = bench.start();
  CHECK(run->send("0123456789\n") == SendStatus::sent);
  CHECK(run->send("more\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(content(bench.path) == "0123456789\nmore\n");
  CHECK(bench.layer.waits == std::vector<milliseconds>{milliseconds(50), milliseconds(100), milliseconds(200),
                                                       milliseconds(400), milliseconds(800), milliseconds(1000),
                                                       milliseconds(1000)});
  CHECK(while_paused.find("degraded") != std::string::npos);
  CHECK(while_paused.find("No space left on device") != std::string::npos);
  CHECK(bench.metric("logpipe_sink_paused_seconds_total") == doctest::Approx(3.55));
  CHECK(bench.metric("logpipe_sink_write_errors_total") == 7);
}

TEST_CASE("file sink: every error that may pass is waited out, when opening too") {
  for (const int code : {ENOSPC, EDQUOT, EIO, EFBIG, EMFILE, ENFILE, ENOMEM}) {
    CAPTURE(code);
    Bench bench;
    bench.layer.opens = {code, 0, 0};
    bench.layer.writes = {{0, code}};
    auto run = bench.start();
    CHECK(run->send("x\n") == SendStatus::sent);
    CHECK(run->finish().has_value());
    CHECK(content(bench.path) == "x\n");
    CHECK(bench.layer.waits.size() == 2);
  }
}

TEST_CASE("file sink: errors that stay end it, and nothing torn is left") {
  for (const int code : {EBADF, EINVAL, EROFS, EPERM}) {
    CAPTURE(code);
    Bench bench;
    bench.layer.writes = {{SIZE_MAX, 0}, {3, 0}, {0, code}};
    auto run = bench.start();
    CHECK(run->send("good\n") == SendStatus::sent);
    REQUIRE(bench.progress.wait_completed(1));
    CHECK(run->send("torn line\n") == SendStatus::sent);
    const Status status = run->finish();
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().kind == ErrorKind::io);
    CHECK(status.error().message.starts_with("write " + bench.path + ": "));
    CHECK(content(bench.path) == "good\n");
    CHECK(bench.progress.completed() == 1);
    CHECK(bench.metric("logpipe_sink_cut_bytes_total") == 3);
  }
}

TEST_CASE("file sink: a permission that is missing at the start is told with the path") {
  Bench bench;
  bench.layer.opens = {EACCES};
  auto run = bench.start();
  CHECK(run->send("x\n") == SendStatus::sent);
  const Status status = run->finish();
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().message == "open " + bench.path + ": Permission denied");
}

TEST_CASE("file sink: an abort while it is paused cuts the torn line off again") {
  Bench bench;
  bench.layer.writes = {{SIZE_MAX, 0}, {5, 0}};
  for (int i = 0; i < 1000; ++i) bench.layer.writes.push_back({0, ENOSPC});
  SinkRun* aborted = nullptr;
  bench.layer.on_wait = [&](std::size_t n) {
    if (n == 3) aborted->abort();
    return true;
  };
  auto run = bench.start();
  aborted = run.get();
  CHECK(run->send("complete\n") == SendStatus::sent);
  CHECK(run->send("never complete\n") == SendStatus::sent);
  CHECK(run->join().has_value());
  CHECK(content(bench.path) == "complete\n");
  CHECK(bench.progress.completed() == 1);
  // Its end may be needed to cut it back to an earlier moment without gaps.
  for (const std::string& entry : bench.progress.log()) CHECK_FALSE(entry.starts_with("retire"));
}

TEST_CASE("file sink: an abort wakes a paused sink that really waits") {
  test::TempDir dir;
  FakeProgress progress;
  // The real clock and the real wait: the writes alone fail.
  struct Full final : FileLayer {
    ssize_t writev(int, const iovec*, int) override { return errno = ENOSPC, -1; }
  } layer;
  FileSinkOptions options;
  options.path = PathTemplate::parse(dir.file("out.log")).value();
  SinkRun run(make_file_sink(options, {"out", &progress}, layer));
  CHECK(run.send("x\n") == SendStatus::sent);
  run.abort();
  CHECK(run.join().has_value());
  CHECK(progress.completed() == 0);
}

TEST_CASE("file sink: an abort takes back all files of a delivery that was not complete") {
  Bench bench("{s}");
  BlockPool pool(1 << 20);
  FileSinkOptions options = bench.options();
  for (const std::uint32_t open_files : {1U, 10U}) {  // with one, the others are closed by then
    CAPTURE(open_files);
    options.max_open_files = open_files;
    bench.layer.writes = {{SIZE_MAX, 0}, {SIZE_MAX, 0}, {SIZE_MAX, 0}, {4, 0}, {0, EDQUOT}};
    bench.layer.on_wait = [](std::size_t) { return false; };
    FakeProgress progress;
    SinkRun run(make_file_sink(options, {"out", &progress}, bench.layer));
    const auto send = [&](std::string_view lines) {
      Batch batch;
      batch.open(freeze(test::block_of(pool, lines)));
      parse_json(batch, false);
      CHECK(run.send(run.delivery(batch)) == SendStatus::sent);
    };
    send("{\"s\":\"a\"}\n");
    send("{\"s\":\"a\"}\n{\"s\":\"b\"}\n{\"s\":\"c\"}\n");
    CHECK(run.finish().has_value());
    CHECK(progress.completed() == 1);
    CHECK(content(bench.dir.file("a")) == "{\"s\":\"a\"}\n");
    CHECK(content(bench.dir.file("b")).empty());
    CHECK(content(bench.dir.file("c")).empty());
    for (const char* name : {"a", "b", "c"}) std::filesystem::remove(bench.dir.file(name));
  }
}

TEST_CASE("file sink: a file that is rotated while it is paused keeps no part of the delivery") {
  Bench bench;
  bench.layer.writes = {{SIZE_MAX, 0}, {3, 0}, {0, ENOSPC}};
  bench.layer.on_wait = [&](std::size_t) {
    std::filesystem::rename(bench.path, bench.path + ".1");
    return true;
  };
  auto run = bench.start();
  CHECK(run->send("first\n") == SendStatus::sent);
  CHECK(run->send("second\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(content(bench.path + ".1") == "first\n");
  CHECK(content(bench.path) == "second\n");
}

TEST_CASE("file sink: what is cut off a file that was rotated is synced before the file leaves the journal") {
  Bench bench;
  bench.fsync = Fsync::interval;
  bench.layer.writes = {{SIZE_MAX, 0}, {3, 0}, {0, ENOSPC}};
  bench.layer.syncs = {0 /* the directory */, EIO};
  bench.layer.on_wait = [&](std::size_t waits) {
    if (waits == 1) std::filesystem::rename(bench.path, bench.path + ".1");
    return true;
  };
  std::vector<std::vector<std::uint64_t>> synced;
  bench.progress.on_announce = [&](const OutputMark&) { synced.push_back(bench.layer.synced); };
  auto run = bench.start();
  CHECK(run->send("first\n") == SendStatus::sent);
  CHECK(run->send("second\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(bench.layer.waits.size() == 2);  // for room, and for the sync
  REQUIRE(synced.size() == 2);           // what is announced next is the new file
  CHECK(synced[1] == std::vector<std::uint64_t>{6});
  CHECK(content(bench.path + ".1") == "first\n");
  CHECK(content(bench.path) == "second\n");
}

TEST_CASE(
    "file sink: the directories it makes are durable before the first byte, also when syncing them fails at first") {
  Bench bench("one/two/three/out.log");
  bench.fsync = Fsync::interval;
  bench.layer.syncs = {0, EIO};
  std::vector<std::string> synced;
  bench.layer.on_write = [&] { synced = bench.layer.synced_directories; };
  auto run = bench.start();
  CHECK(run->send("x\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  const std::string top = bench.dir.path().string();
  CHECK(synced == std::vector<std::string>{top, top + "/one", top + "/one/two", top + "/one/two/three"});
  CHECK(bench.layer.waits.size() == 1);
  CHECK(content(bench.path) == "x\n");
}

TEST_CASE("file sink: after a failed sync the bytes are written again, not only synced again") {
  Bench bench;
  bench.fsync = Fsync::always;
  bench.layer.syncs = {0 /* the directory */, 0, EIO, 0 /* what is cut off */, ENOSPC, 0, 0};
  int writes = 0;
  bench.layer.on_write = [&] { ++writes; };
  auto run = bench.start();
  CHECK(run->send("first\n") == SendStatus::sent);
  CHECK(run->send("second\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(content(bench.path) == "first\nsecond\n");
  CHECK(writes == 4);
  CHECK(bench.layer.waits.size() == 2);
}

TEST_CASE("file sink: nothing is written while the journal cannot take the announcement") {
  Bench bench;
  bench.progress.announce_failures = 2;
  std::string before;
  bench.layer.on_write = [&] { before = std::to_string(bench.layer.waits.size()); };
  auto run = bench.start();
  CHECK(run->send("x\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(before == "2");
  CHECK(content(bench.path) == "x\n");
}

TEST_CASE("file sink: a full file system is waited out and leaves no gap and no double") {
  // The real thing, where the test may mount.
  test::TempDir dir;
  if (::geteuid() != 0 || ::mount("logpipe-test", dir.path().c_str(), "tmpfs", 0, "size=256k") != 0) {
    MESSAGE("SKIPPED: a tmpfs cannot be mounted here (needs root and CAP_SYS_ADMIN)");
    return;
  }
  {
    const std::string path = dir.file("out.log");
    test::put(dir.file("ballast"), std::string(128 * 1024, 'b'));
    struct Layer final : FileLayer {
      bool wait(milliseconds, const std::stop_token&) override {
        // Paused: the disk is full. Make room as an operator would.
        ++waits;
        std::filesystem::remove(ballast);
        return true;
      }
      std::string ballast;
      int waits{0};
    } layer;
    layer.ballast = dir.file("ballast");
    FakeProgress progress;
    FileSinkOptions options;
    options.path = PathTemplate::parse(path).value();
    options.fsync = Fsync::never;
    SinkRun run(make_file_sink(options, {"out", &progress}, layer));
    std::string expected;
    for (int i = 0; i < 20; ++i) {
      std::string lines;
      for (int j = 0; j < 100; ++j)
        lines += "delivery " + std::to_string(i) + " line " + std::to_string(j) + std::string(70, '.') + "\n";
      expected += lines;
      CHECK(run.send(lines) == SendStatus::sent);
    }
    CHECK(run.finish().has_value());
    CHECK(layer.waits >= 1);
    CHECK((content(path) == expected));
  }
  CHECK(::umount(dir.path().c_str()) == 0);
}
