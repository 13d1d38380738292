#include "sinks/rotation.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "config/load.hpp"
#include "event/json.hpp"
#include "sinks/file.hpp"
#include "tests/sinks/support.hpp"

using namespace logpipe;
using namespace std::chrono_literals;
using test::content;
using test::FakeProgress;
using test::FaultyLayer;
using test::SinkRun;

namespace {

/// 2026-01-31 23:59:59.123 UTC
constexpr WallTime kMoment = std::chrono::sys_days(std::chrono::year(2026) / 1 / 31) + 23h + 59min + 59s + 123ms;

struct Bench {
  explicit Bench(std::string_view name = "out.log") : path(dir.file(name)) {
    options.path = PathTemplate::parse(path).value();
    options.fsync = Fsync::never;
    layer.wall = kMoment;
  }
  std::unique_ptr<SinkRun> start() {
    return std::make_unique<SinkRun>(make_file_sink(options, {"out", &progress, &metrics, &health}, layer));
  }
  /// Sends and waits until it is complete, so that a clock may be moved in between.
  void send(SinkRun& run, std::string_view lines) {
    CHECK(run.send(lines) == SendStatus::sent);
    REQUIRE(progress.wait_completed(++sent));
  }
  std::optional<double> metric(std::string_view name) const { return metrics.value(name, {{"sink", "out"}}); }
  /// The names in the directory, sorted.
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator(dir.path())) all.push_back(entry.path().filename());
    std::sort(all.begin(), all.end());
    return all;
  }

  test::TempDir dir;
  std::string path;
  FileSinkOptions options;
  FakeProgress progress;
  MetricsRegistry metrics;
  HealthTable health;
  FaultyLayer layer;
  std::size_t sent{0};
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("rotation: names tell the moment and keep the ending of a compressed file") {
  CHECK(rotated_name("out.log", kMoment) == "out.log-20260131T235959.123Z");
  CHECK(rotated_name("out.log.gz", kMoment) == "out.log-20260131T235959.123Z.gz");
  CHECK(rotated_name("out.log.zst", kMoment + 877ms) == "out.log-20260201T000000.000Z.zst");
  for (const char* name : {"out.log", "out.log.gz", "x"}) {
    CHECK(rotated_moment(name, rotated_name(name, kMoment)) == kMoment);
  }
}

TEST_CASE("rotation: only names exactly like ours are taken for ours") {
  for (const char* name :
       {"out.log", "out.log-", "out.log.1", "out.log-20260131", "out.log-20260131T235959Z",
        "out.log-20260131T235959.12Z", "out.log-20260131T235959.1234Z", "out.log-20260131T235959.123Z.gz",
        "out.log-20260131T235959.123Zx", "out.log-20261331T235959.123Z", "out.log-20260230T235959.123Z",
        "out.log-20260131T245959.123Z", "out.log-2026013aT235959.123Z", "out.log-20260131 235959.123Z",
        "xout.log-20260131T235959.123Z", "out.logs-20260131T235959.123Z", "out.log--0260131T235959.123Z",
        "out.log-20260131T235959.+23Z"}) {
    CAPTURE(name);
    CHECK_FALSE(rotated_moment("out.log", name));
  }
  CHECK_FALSE(rotated_moment("out.log.gz", "out.log-20260131T235959.123Z"));
  CHECK(rotated_moment("out.log", "out.log-20260131T235959.123Z"));
}

TEST_CASE("rotation: periods begin at full hours and at midnight UTC, before 1970, too") {
  CHECK(period_of(kMoment, 1h) + 1 == period_of(kMoment + 877ms, 1h));
  CHECK(period_of(kMoment, 24h) + 1 == period_of(kMoment + 877ms, 24h));
  CHECK(period_of(kMoment - 86399s, 24h) == period_of(kMoment, 24h));
  CHECK(period_of(WallTime(-1ms), 24h) == -1);
  CHECK(period_of(WallTime(0ms), 24h) == 0);
}

TEST_CASE("file sink: a file is rotated before a write that would make it too large") {
  Bench bench;
  bench.options.rotate.max_bytes = config::Bytes(10);
  auto run = bench.start();
  bench.send(*run, "one\n");
  bench.send(*run, "three\n");  // 10 bytes: fits
  bench.send(*run, "a line longer than the limit\n");
  bench.send(*run, "x\n");
  CHECK(run->finish().has_value());
  // The clock stands, and yet no name comes twice.
  CHECK(bench.names() == Names{"out.log", "out.log-20260131T235959.123Z", "out.log-20260131T235959.124Z"});
  CHECK(content(bench.path + "-20260131T235959.123Z") == "one\nthree\n");
  CHECK(content(bench.path + "-20260131T235959.124Z") == "a line longer than the limit\n");
  CHECK(content(bench.path) == "x\n");
  CHECK(bench.metric("logpipe_sink_rotated_files_total") == 2);
  // Out of the journal before the next file is in.
  CHECK(bench.progress.log() == std::vector<std::string>{"announce out.log 0", "complete 4", "complete 6",
                                                         "retire out.log", "announce out.log 0", "complete 29",
                                                         "retire out.log", "announce out.log 0", "complete 2",
                                                         "retire out.log"});
}

TEST_CASE("file sink: a file is rotated at the first write of another period, also one of an earlier process") {
  Bench bench;
  bench.options.rotate.every = 24h;
  {
    auto run = bench.start();
    bench.send(*run, "one\n");
    *bench.layer.wall += 800ms;
    bench.send(*run, "two\n");
    *bench.layer.wall += 77ms;  // midnight
    bench.send(*run, "three\n");
    *bench.layer.wall -= 24h;  // put back: nothing happens
    bench.send(*run, "four\n");
    CHECK(run->finish().has_value());
  }
  CHECK(bench.names() == Names{"out.log", "out.log-20260201T000000.000Z"});
  CHECK(content(bench.path + "-20260201T000000.000Z") == "one\ntwo\n");
  CHECK(content(bench.path) == "three\nfour\n");
  // It was made on this day, as the file system says, and is opened again on the next.
  bench.layer.birth = static_cast<std::uint64_t>(std::chrono::nanoseconds((kMoment + 2s).time_since_epoch()).count());
  bench.layer.wall = kMoment + 12h;
  {
    auto run = bench.start();
    bench.send(*run, "five\n");
    CHECK(run->finish().has_value());
    CHECK(content(bench.path) == "three\nfour\nfive\n");
  }
  bench.layer.wall = kMoment + 24h + 1s;
  auto run = bench.start();
  bench.send(*run, "six\n");
  CHECK(run->finish().has_value());
  CHECK(content(bench.path) == "six\n");
  CHECK(content(bench.path + "-20260202T000000.123Z") == "three\nfour\nfive\n");
}

TEST_CASE("file sink: an empty file is never rotated, however old") {
  Bench bench;
  bench.options.rotate.every = 1h;
  bench.options.rotate.max_bytes = config::Bytes(1);
  test::put(bench.path, "");
  bench.layer.birth = 1'000'000'000;
  auto run = bench.start();
  bench.send(*run, "first\n");
  CHECK(run->finish().has_value());
  CHECK(bench.names() == Names{"out.log"});
}

TEST_CASE("file sink: of rotated files as many stay as are to be kept, and nothing else is touched") {
  Bench bench;
  bench.options.rotate.max_bytes = config::Bytes(1);
  bench.options.rotate.keep = 2;
  const std::string foreign[] = {bench.path + "-20250101T000000.000Z.bak", bench.path + ".1", bench.path + "-old"};
  for (const std::string& path : foreign) test::put(path, "of somebody else");
  test::put(bench.path + "-20250101T000000.000Z", "of an earlier process");
  std::filesystem::create_directory(bench.path + "-20240101T000000.000Z");  // a directory is no file of ours
  auto run = bench.start();
  for (const char* line : {"one\n", "two\n", "three\n", "four\n"}) bench.send(*run, line);
  CHECK(run->finish().has_value());
  for (const std::string& path : foreign) CHECK(content(path) == "of somebody else");
  CHECK(std::filesystem::exists(bench.path + "-20240101T000000.000Z"));
  CHECK(rotated_files(bench.layer, bench.path).size() == 3);  // two, and the directory
  CHECK(content(bench.path + "-20260131T235959.124Z") == "two\n");
  CHECK(content(bench.path + "-20260131T235959.125Z") == "three\n");
  CHECK(content(bench.path) == "four\n");
  CHECK(bench.layer.removed == Names{bench.path + "-20250101T000000.000Z", bench.path + "-20260131T235959.123Z"});
  CHECK(bench.metric("logpipe_sink_removed_files_total") == 2);
}

TEST_CASE("file sink: of rotated files as many bytes stay as are to be kept, and always the youngest") {
  Bench bench;
  bench.options.rotate.max_bytes = config::Bytes(1);
  bench.options.rotate.keep_bytes = config::Bytes(10);
  auto run = bench.start();
  for (const char* line : {"1234\n", "5678\n", "9012\n", "longer than what is kept\n", "end\n"}) bench.send(*run, line);
  CHECK(run->finish().has_value());
  CHECK(bench.layer.removed.size() == 3);
  CHECK(bench.names() == Names{"out.log", "out.log-20260131T235959.126Z"});
  CHECK(content(bench.path + "-20260131T235959.126Z") == "longer than what is kept\n");
}

TEST_CASE("file sink: a rotation that fails is told, the file goes on growing, and it is tried again later") {
  Bench bench;
  bench.options.rotate.max_bytes = config::Bytes(1);
  bench.layer.renames = {EACCES};
  auto run = bench.start();
  bench.send(*run, "one\n");
  bench.send(*run, "two\n");
  bench.send(*run, "three\n");
  CHECK(content(bench.path) == "one\ntwo\nthree\n");
  CHECK(bench.metric("logpipe_sink_rotation_failures_total") == 1);
  bench.layer.clock += 61s;
  bench.send(*run, "four\n");
  CHECK(run->finish().has_value());
  CHECK(content(bench.path) == "four\n");
  CHECK(bench.metric("logpipe_sink_rotated_files_total") == 1);
}

TEST_CASE("file sink: a symbolic link is not rotated, which is told, and what it leads to goes on growing") {
  Bench bench;
  bench.options.rotate.max_bytes = config::Bytes(1);
  const std::string target = bench.dir.file("target");
  test::put(target, "");
  std::filesystem::create_symlink(target, bench.path);
  auto run = bench.start();
  bench.send(*run, "one\n");
  bench.send(*run, "two\n");
  CHECK(run->finish().has_value());
  CHECK(bench.names() == Names{"out.log", "target"});
  CHECK(std::filesystem::is_symlink(bench.path));
  CHECK(content(target) == "one\ntwo\n");
  CHECK(bench.metric("logpipe_sink_rotation_failures_total") == 1);
}

TEST_CASE("rotation: a moment of a far future does not stop it, and one of a clock that was ahead is followed") {
  const auto at = [](WallTime moment) { return RotatedFile{"x", moment}; };
  const WallTime end = std::chrono::sys_days(std::chrono::year(9999) / 12 / 31) + 24h - 1ms;
  CHECK(moment_after({}, kMoment) == kMoment);
  CHECK(moment_after({at(end)}, kMoment) == kMoment);
  CHECK(moment_after({at(end), at(end - 1ms), at(kMoment)}, kMoment) == kMoment + 1ms);
  CHECK(moment_after({at(kMoment + 24h * 365 * 60)}, kMoment) == kMoment + 24h * 365 * 60 + 1ms);
  CHECK(moment_after({at(kMoment - 1h)}, kMoment) == kMoment);
}

TEST_CASE("rotation: what fields make never looks like a rotated file") {
  const auto changed = [](std::string path) {
    make_unlike_rotated(path);
    return path;
  };
  CHECK(changed("/l/a-99991231T235959.999Z") == "/l/a-99991231T235959.999_");
  CHECK(changed("a-20000101T000000.000Z.gz") == "a-20000101T000000.000_.gz");
  for (const char* same : {"/l/a.log", "/l/a-20000101T000000.000Z/b", "/l/20000101T000000.000Z", "", "/l/a.gz",
                           "/l/a-20000101T000000.000Z.log", "/l/a-20001301T000000.000Z"}) {
    CHECK(changed(same) == same);
  }
}

TEST_CASE("file sink: a field's value neither stops the rotation of another file nor has its own removed") {
  Bench bench("{v}");
  bench.options.rotate.max_bytes = config::Bytes(1);
  bench.options.rotate.keep = 1;
  auto run = bench.start();
  BlockPool pool(1 << 20);
  const auto send = [&](const std::string& value) {
    Batch batch;
    batch.open(freeze(test::block_of(pool, R"({"v":")" + value + "\"}\n")));
    parse_json(batch, false);
    CHECK(run->send(run->delivery(batch)) == SendStatus::sent);
    REQUIRE(bench.progress.wait_completed(++bench.sent));
  };
  send("a-99991231T235959.999Z");
  send("a-20000101T000000.000Z");
  for (int i = 0; i < 3; ++i) send("a");
  CHECK(run->finish().has_value());
  CHECK(bench.names() == Names{"a", "a-20000101T000000.000_", "a-20260131T235959.124Z", "a-99991231T235959.999_"});
}

TEST_CASE("file sink: an output that is called like a rotated file of another is not removed while it is open") {
  Bench bench;
  test::put(bench.path + "-20000101T000000.000Z", "written to");
  test::put(bench.path + "-20000102T000000.000Z", "left");
  struct ::stat open {};
  REQUIRE(::stat((bench.path + "-20000101T000000.000Z").c_str(), &open) == 0);
  const auto in_use = [&](const struct ::stat& info) { return info.st_ino == open.st_ino; };
  RotateOptions options;
  options.keep = 1;
  std::string error;
  CHECK(remove_old(bench.layer, bench.path, options, in_use, error) == 0);  // it is not counted either
  test::put(bench.path + "-20000103T000000.000Z", "younger");
  CHECK(remove_old(bench.layer, bench.path, options, in_use, error) == 1);
  CHECK(bench.names() == Names{"out.log-20000101T000000.000Z", "out.log-20000103T000000.000Z"});
}

TEST_CASE("file sink: a file that somebody else has renamed in this moment is not renamed by us") {
  Bench bench;
  bench.options.rotate.max_bytes = config::Bytes(1);
  auto run = bench.start();
  bench.send(*run, "one\n");
  std::filesystem::rename(bench.path, bench.path + ".1");
  test::put(bench.path, "");
  bench.send(*run, "two\n");
  CHECK(run->finish().has_value());
  CHECK(bench.names() == Names{"out.log", "out.log.1"});
  CHECK(content(bench.path) == "two\n");
}

TEST_CASE("file sink: compressed files are rotated between frames") {
  for (const Compression kind : {Compression::gzip, Compression::zstd}) {
    Bench bench(kind == Compression::gzip ? "out.log.gz" : "out.log.zst");
    bench.options.compression = kind;
    bench.options.compression_wait = 0ms;
    bench.options.rotate.max_bytes = config::Bytes(1);
    auto run = bench.start();
    bench.send(*run, "one\n");
    bench.send(*run, "two\n");
    CHECK(run->finish().has_value());
    const std::string name =
        kind == Compression::gzip ? "out.log-20260131T235959.123Z.gz" : "out.log-20260131T235959.123Z.zst";
    std::string one, two;
    CHECK(FrameCompressor(kind, levels_of(kind).usual).append("one\n", one).has_value());
    CHECK(FrameCompressor(kind, levels_of(kind).usual).append("two\n", two).has_value());
    CHECK(content(bench.dir.file(name)) == one);
    CHECK(content(bench.path) == two);
  }
}

TEST_CASE("file sink: asked to open its files anew, it does before the next byte, without waiting a second") {
  Bench bench;
  auto run = bench.start();
  bench.send(*run, "one\n");
  std::filesystem::rename(bench.path, bench.path + ".1");
  // The clock stands, so nothing would be noticed without being asked.
  bench.send(*run, "two\n");
  CHECK(content(bench.path + ".1") == "one\ntwo\n");
  run->reopen();
  bench.send(*run, "three\n");
  CHECK(content(bench.path) == "three\n");
  run->reopen();  // nothing has moved
  bench.send(*run, "four\n");
  CHECK(run->finish().has_value());
  CHECK(content(bench.path + ".1") == "one\ntwo\n");
  CHECK(content(bench.path) == "three\nfour\n");
  CHECK(bench.metric("logpipe_sink_reopened_files_total") == 1);
}

TEST_CASE("file sink: asked in the middle of a delivery, it opens anew what the delivery has not come to") {
  Bench bench("{v}.log");
  auto run = bench.start();
  BlockPool pool(1 << 20);
  const auto send = [&] {
    Batch batch;
    batch.open(freeze(test::block_of(pool, "{\"v\":\"a\"}\n{\"v\":\"b\"}\n{\"v\":\"c\"}\n")));
    parse_json(batch, false);
    CHECK(run->send(run->delivery(batch)) == SendStatus::sent);
    REQUIRE(bench.progress.wait_completed(++bench.sent));
  };
  send();
  int writes = 0;
  bench.layer.on_write = [&] {
    if (++writes != 2) return;  // a is written, b is being written
    for (const char* name : {"a.log", "b.log", "c.log"}) {
      std::filesystem::rename(bench.dir.file(name), bench.dir.file(name) + ".1");
    }
    run->reopen();
  };
  send();
  const auto lines = [&](const char* name) {
    const std::string text = content(bench.dir.file(name));
    return std::count(text.begin(), text.end(), '\n');
  };
  CHECK(lines("b.log.1") == 2);
  CHECK(lines("c.log.1") == 1);
  CHECK(lines("c.log") == 1);
  send();
  CHECK(run->finish().has_value());
  CHECK(lines("a.log.1") == 2);
  CHECK(lines("b.log.1") == 2);
  CHECK(lines("c.log.1") == 1);
  CHECK(lines("a.log") == 1);
  CHECK(lines("b.log") == 1);
  CHECK(lines("c.log") == 2);
}

TEST_CASE("file sink: options of rotation are read, and what cannot be is told with its place") {
  const auto decoded = [](const std::string& rotate, std::string& errors) {
    config::Diagnostics diagnostics;
    const config::FixedEnvironment environment;
    const config::Node node =
        config::load_text("t.yaml", "path: /l\nrotate: " + rotate + "\n", environment, diagnostics);
    auto options = config::decode<FileSinkOptions>(node, diagnostics, "sinks.out");
    errors = config::render_text(diagnostics);
    return options;
  };
  std::string errors;
  const auto options = decoded("{max_bytes: 100MiB, every: 1d, keep: 7, keep_bytes: 1GiB}", errors);
  CHECK(errors.empty());
  CHECK(options.rotate.max_bytes->value == 100U << 20);
  CHECK(*options.rotate.every == 24h);
  CHECK(*options.rotate.keep == 7);
  CHECK(options.rotate.keep_bytes->value == 1U << 30);
  static_cast<void>(decoded("{keep: 7}", errors));
  CHECK(errors.find("nothing is rotated") != std::string::npos);
  static_cast<void>(decoded("{max_bytes: 1}", errors));
  CHECK(errors.starts_with("t.yaml:2:"));
  static_cast<void>(decoded("{every: 1ms}", errors));
  CHECK_FALSE(errors.empty());
}
