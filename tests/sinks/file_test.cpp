#include "sinks/file.hpp"

#include <doctest/doctest.h>
#include <sys/file.h>

#include <string>
#include <vector>

#include "config/load.hpp"
#include "event/json.hpp"
#include "tests/sinks/support.hpp"

using namespace logpipe;
using test::content;
using test::FakeProgress;
using test::services;
using test::SinkRun;

namespace {

FileSinkOptions to(const std::string& path) {
  FileSinkOptions options;
  options.path = PathTemplate::parse(path).value();
  return options;
}

std::unique_ptr<SinkRun> start(FileSinkOptions options, FakeProgress& progress,
                               FileLayer& layer = FileLayer::system()) {
  return std::make_unique<SinkRun>(make_file_sink(std::move(options), services(progress), layer));
}

OutputMark mark_of(const std::string& path, std::uint64_t length) {
  struct ::stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  const OutputHandle handle(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return {path, info.st_dev, info.st_ino, length, nullptr, FileLayer::system().birth_ns(handle.fd())};
}

Delivery parsed(SinkRun& run, BlockPool& pool, std::string_view lines) {
  Batch batch;
  batch.open(freeze(test::block_of(pool, lines)));
  parse_json(batch, false);
  return run.delivery(batch);
}

using Log = std::vector<std::string>;

}  // namespace

TEST_CASE("file sink: appends every delivery and completes it with the new length") {
  test::TempDir dir;
  const std::string path = dir.file("out.log");
  FakeProgress progress;
  auto run = start(to(path), progress);
  CHECK(run->send("one\n") == SendStatus::sent);
  CHECK(run->send("two\nthree\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(content(path) == "one\ntwo\nthree\n");
  const auto marks = progress.marks();
  REQUIRE(marks.size() == 2);
  CHECK(marks[0].length == 4);
  CHECK(marks[1].length == 14);
  CHECK(marks[1].inode == mark_of(path, 0).inode);
  CHECK(marks[1].device == mark_of(path, 0).device);
}

TEST_CASE("file sink: announces a file at its present length before the first byte") {
  test::TempDir dir;
  const std::string path = dir.file("out.log");
  test::put(path, "old\n");
  FakeProgress progress;
  std::string seen;
  progress.on_announce = [&](const OutputMark& mark) { seen = content(mark.path); };
  auto run = start(to(path), progress);
  CHECK(run->send("new\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(seen == "old\n");
  CHECK(content(path) == "old\nnew\n");
  CHECK(progress.log() == Log{"announce out.log 4", "complete 4", "retire out.log"});
}

TEST_CASE("file sink: what a pipe gave is not announced, so that no restart cuts it off") {
  test::TempDir dir;
  const std::string path = dir.file("out.log");
  FakeProgress progress;
  auto run = start(to(path), progress);
  BlockPool pool(1 << 20);
  Batch batch;
  batch.open(freeze(test::block_of(pool, "from a pipe\n", 0, CheckpointStore::unreplayable("in", "-"))));
  CHECK(run->send(run->delivery(batch)) == SendStatus::sent);
  REQUIRE(progress.wait_completed(1));
  CHECK(progress.log() == Log{"complete 12"});
  CHECK(progress.marks().empty());
  // Once something comes that can be read again, the length counts from there.
  CHECK(run->send("from a file\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(progress.log() == Log{"complete 12", "announce out.log 12", "complete 12", "retire out.log"});
  CHECK(content(path) == "from a pipe\nfrom a file\n");
}

TEST_CASE("file sink: without anything to write no file is made, and the delivery is complete all the same") {
  test::TempDir dir;
  FakeProgress progress;
  auto run = start(to(dir.file("out.log")), progress);
  CHECK(run->send(Delivery()) == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK_FALSE(std::filesystem::exists(dir.file("out.log")));
  CHECK(progress.log() == Log{"complete 0"});
}

TEST_CASE("file sink: what was written but not committed before a kill is cut off at the start") {
  test::TempDir dir;
  const std::string path = dir.file("out.log");
  test::put(path, "committed\nwritten, not committed\ntorn li");
  FakeProgress progress;
  progress.from_last_run = {mark_of(path, 10)};
  auto run = start(to(path), progress);
  CHECK(run->send("written, not committed\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(content(path) == "committed\nwritten, not committed\n");
  CHECK(progress.log() == Log{"retire out.log", "announce out.log 10", "complete 23", "retire out.log"});
}

TEST_CASE("file sink: cuts back even when there is nothing to write any more") {
  test::TempDir dir;
  const std::string path = dir.file("out.log");
  test::put(path, "committed\nrest");
  FakeProgress progress;
  progress.from_last_run = {mark_of(path, 10)};
  auto run = start(to(path), progress);
  CHECK(run->finish().has_value());
  CHECK(content(path) == "committed\n");
}

TEST_CASE("file sink: an output of the last run under another name is cut back too and leaves the journal") {
  test::TempDir dir;
  const std::string before = dir.file("before.log");
  test::put(before, "12345678");
  FakeProgress progress;
  progress.from_last_run = {mark_of(before, 5)};
  auto run = start(to(dir.file("now.log")), progress);
  CHECK(run->finish().has_value());
  CHECK(content(before) == "12345");
  CHECK(progress.log() == Log{"retire before.log"});
}

TEST_CASE("file sink: an output that was renamed since is cut back under its new name") {
  for (const char* name : {"out.log.1", "out-20260101.log", "zzz"}) {
    for (const bool replaced : {false, true}) {
      CAPTURE(name);
      test::TempDir dir;
      const std::string path = dir.file("out.log");
      test::put(path, "committed\nwritten, not committed\ntorn li");
      FakeProgress progress;
      progress.from_last_run = {mark_of(path, 10)};
      std::filesystem::rename(path, dir.file(name));
      test::put(dir.file("other"), "of somebody else, and longer than what was committed");
      if (replaced) test::put(path, "new file\n");
      auto run = start(to(path), progress);
      CHECK(run->send("again\n") == SendStatus::sent);
      CHECK(run->finish().has_value());
      CHECK(content(dir.file(name)) == "committed\n");
      CHECK(content(path) == (replaced ? "new file\nagain\n" : "again\n"));
      CHECK(content(dir.file("other")) == "of somebody else, and longer than what was committed");
      CHECK(progress.log()[0] == "retire out.log");
    }
  }
}

TEST_CASE(
    "file sink: without birth times a name that rotation makes is enough for a renamed output, and any other not") {
  for (const std::string name : {"out.log-20260131T235959.123Z.gz", "out.log.gz.1", "other.gz"}) {
    CAPTURE(name);
    test::TempDir dir;
    const std::string path = dir.file("out.log.gz");
    test::put(path, "committed\nwritten, not committed\n");
    FakeProgress progress;
    progress.from_last_run = {mark_of(path, 10)};
    progress.from_last_run[0].birth_ns = 0;
    std::filesystem::rename(path, dir.file(name));
    auto run = start(to(path), progress);
    CHECK(run->finish().has_value());
    CHECK((content(dir.file(name)) == "committed\n") == (name != "other.gz"));
  }
}

TEST_CASE("file sink: two generations of one path are each cut where they were committed") {
  test::TempDir dir;
  const std::string path = dir.file("out.log");
  test::put(dir.file("out.log.1"), "old, committed\nold, not committed\n");
  test::put(path, "new, not committed\n");
  FakeProgress progress;
  progress.from_last_run = {mark_of(dir.file("out.log.1"), 15), mark_of(path, 0)};
  progress.from_last_run[0].path = path;
  auto run = start(to(path), progress);
  CHECK(run->finish().has_value());
  CHECK(content(dir.file("out.log.1")) == "old, committed\n");
  CHECK(content(path).empty());
}

TEST_CASE("file sink: another file that has got the inode of an output is not cut") {
  test::TempDir dir;
  const std::string path = dir.file("out.log");
  for (const char* name : {"out.log", "out.log.1", "other"}) {
    test::put(dir.file(name), "of somebody else");
    FakeProgress progress;
    OutputMark mark = mark_of(dir.file(name), 3);
    mark.path = path;
    ++mark.birth_ns;
    progress.from_last_run = {mark};
    auto run = start(to(path), progress);
    CHECK(run->finish().has_value());
    CHECK(content(dir.file(name)) == "of somebody else");
    CHECK(progress.log() == Log{"retire out.log"});
  }
  // Without birth times only a name as rotation makes it is believed.
  test::put(dir.file("other"), "of somebody else");
  test::put(dir.file("out.log.1"), "ours, not committed");
  FakeProgress progress;
  progress.from_last_run = {mark_of(dir.file("other"), 3), mark_of(dir.file("out.log.1"), 4)};
  for (OutputMark& mark : progress.from_last_run) {
    mark.path = path;
    mark.birth_ns = 0;
  }
  auto run = start(to(path), progress);
  CHECK(run->finish().has_value());
  CHECK(content(dir.file("other")) == "of somebody else");
  CHECK(content(dir.file("out.log.1")) == "ours");
}

TEST_CASE("file sink: leaves files alone that are not the ones it knew") {
  test::TempDir dir;
  const std::string path = dir.file("out.log");
  test::put(path, "somebody else's");
  OutputMark other = mark_of(path, 3);
  ++other.inode;
  OutputMark gone = other;
  gone.path = dir.file("gone.log");
  FakeProgress progress;
  progress.from_last_run = {other, gone};
  auto run = start(to(path), progress);
  CHECK(run->send("x\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(content(path) == "somebody else'sx\n");
  CHECK(progress.announced().size() == 1);
}

TEST_CASE("file sink: goes on at the end of a file that has become shorter than what was committed") {
  test::TempDir dir;
  const std::string path = dir.file("out.log");
  test::put(path, "abc\n");
  FakeProgress progress;
  progress.from_last_run = {mark_of(path, 100)};
  auto run = start(to(path), progress);
  CHECK(run->send("x\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(content(path) == "abc\nx\n");
  CHECK(progress.log()[1] == "announce out.log 4");
  CHECK(progress.marks()[0].length == 6);
}

TEST_CASE("file sink: a renamed or removed output is opened anew within a second") {
  for (const bool removed : {false, true}) {
    CAPTURE(removed);
    test::TempDir dir;
    const std::string path = dir.file("out.log");
    FakeProgress progress;
    test::FaultyLayer layer;
    auto run = start(to(path), progress, layer);
    CHECK(run->send("one\n") == SendStatus::sent);
    REQUIRE(progress.wait_completed(1));
    if (removed) {
      std::filesystem::remove(path);
    } else {
      std::filesystem::rename(path, dir.file("out.log.1"));
    }
    CHECK(run->send("two\n") == SendStatus::sent);
    REQUIRE(progress.wait_completed(2));
    CHECK_FALSE(std::filesystem::exists(path));  // looked at most once a second
    layer.clock += std::chrono::seconds(1);
    CHECK(run->send("three\n") == SendStatus::sent);
    CHECK(run->finish().has_value());
    CHECK(content(path) == "three\n");
    if (!removed) CHECK(content(dir.file("out.log.1")) == "one\ntwo\n");
    CHECK(progress.announced().size() == 2);
    CHECK(progress.announced()[1].length == 0);
    CHECK(progress.announced()[1].inode == mark_of(path, 0).inode);
  }
}

TEST_CASE("file sink: a file that was cut in place (copytruncate) is appended to at its end") {
  test::TempDir dir;
  const std::string path = dir.file("out.log");
  FakeProgress progress;
  auto run = start(to(path), progress);
  CHECK(run->send("one\n") == SendStatus::sent);
  REQUIRE(progress.wait_completed(1));
  std::filesystem::resize_file(path, 0);
  CHECK(run->send("two\n") == SendStatus::sent);
  REQUIRE(progress.wait_completed(2));
  test::add(path, "foreign\n");
  CHECK(run->send("three\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(content(path) == "two\nforeign\nthree\n");
  CHECK(progress.marks()[1].length == 4);
  CHECK(progress.marks()[2].length == 18);
}

TEST_CASE("file sink: a template makes one file per value, in order per file") {
  test::TempDir dir;
  FakeProgress progress;
  BlockPool pool(1 << 20);
  auto run = start(to(dir.file("{s}/%Y.log")), progress);
  CHECK(run->send(
            parsed(*run, pool, "{\"s\":\"a\",\"n\":1}\n{\"s\":\"b\",\"n\":2}\n{\"s\":\"a\",\"n\":3}\n{\"n\":4}\n")) ==
        SendStatus::sent);
  CHECK(run->send(parsed(*run, pool, "{\"s\":\"b\",\"n\":5}\n")) == SendStatus::sent);
  CHECK(run->finish().has_value());
  std::string year;
  for (const auto& entry : std::filesystem::directory_iterator(dir.path() / "a"))
    year = entry.path().filename().string();
  CHECK(content(dir.file("a/" + year)) == "{\"s\":\"a\",\"n\":1}\n{\"s\":\"a\",\"n\":3}\n");
  CHECK(content(dir.file("b/" + year)) == "{\"s\":\"b\",\"n\":2}\n{\"s\":\"b\",\"n\":5}\n");
  CHECK(content(dir.file("unknown/" + year)) == "{\"n\":4}\n");
  CHECK(progress.last_outputs().size() == 1);
  CHECK(progress.marks().size() == 4);
}

TEST_CASE("file sink: encode groups the events of a batch by path") {
  FakeProgress progress;
  const auto sink = make_file_sink(to("/l/{s}"), services(progress));
  BlockPool pool(1 << 20);
  Batch batch;
  batch.open(freeze(test::block_of(pool, "{\"s\":\"a\"}\n{\"s\":\"b\",\"long\":1}\n{\"s\":\"a\"}\n")));
  parse_json(batch, false);
  Delivery out(pool);
  sink->encode(batch, batch.events, out);
  REQUIRE(out.parts.size() == 2);
  CHECK(out.parts[0].path == "/l/a");
  CHECK(out.parts[0].bytes == 20);
  CHECK(out.parts[0].events == 2);
  CHECK(out.parts[1].path == "/l/b");
  CHECK(out.parts[1].bytes == 19);
  CHECK(out.parts[1].events == 1);
  CHECK(test::written(out.encoded, &batch.block()) == "{\"s\":\"a\"}\n{\"s\":\"a\"}\n{\"s\":\"b\",\"long\":1}\n");
}

TEST_CASE("file sink: the least recently used file is closed for another and leaves the journal after its delivery") {
  test::TempDir dir;
  FakeProgress progress;
  MetricsRegistry metrics;
  BlockPool pool(1 << 20);
  FileSinkOptions options = to(dir.file("{s}"));
  options.max_open_files = 2;
  SinkRun run(make_file_sink(options, services(progress, &metrics)));
  CHECK(run.send(parsed(run, pool, "{\"s\":\"a\"}\n{\"s\":\"b\"}\n")) == SendStatus::sent);
  CHECK(run.send(parsed(run, pool, "{\"s\":\"a\"}\n{\"s\":\"c\"}\n")) == SendStatus::sent);
  REQUIRE(progress.wait_completed(2));
  CHECK(metrics.value("logpipe_sink_open_files", {{"sink", "out"}}) == 2);
  CHECK(run.send(parsed(run, pool, "{\"s\":\"b\"}\n")) == SendStatus::sent);
  REQUIRE(progress.wait_completed(3));
  CHECK(run.finish().has_value());
  CHECK(content(dir.file("a")) == "{\"s\":\"a\"}\n{\"s\":\"a\"}\n");
  CHECK(content(dir.file("b")) == "{\"s\":\"b\"}\n{\"s\":\"b\"}\n");
  const Log log = progress.log();
  REQUIRE(log.size() >= 9);
  CHECK(Log(log.begin(), log.begin() + 8) == Log{"announce a 0", "announce b 0", "complete 20", "announce c 0",
                                                 "complete 20", "retire b", "announce b 10", "complete 10"});
  CHECK(log[8] == "retire a");
}

TEST_CASE("file sink: names made from fields do not follow symbolic links") {
  test::TempDir dir;
  test::put(dir.file("target"), "precious");
  std::filesystem::create_symlink(dir.file("target"), dir.file("link"));
  BlockPool pool(1 << 20);
  {
    FakeProgress progress;
    auto run = start(to(dir.file("{s}")), progress);
    CHECK(run->send(parsed(*run, pool, "{\"s\":\"link\"}\n")) == SendStatus::sent);
    const Status status = run->finish();
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().kind == ErrorKind::io);
    CHECK(status.error().message.find("symbolic link") != std::string::npos);
    CHECK(content(dir.file("target")) == "precious");
    CHECK(progress.completed() == 0);
  }
  FakeProgress progress;  // a name that the operator wrote may be one
  auto run = start(to(dir.file("link")), progress);
  CHECK(run->send("x\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(content(dir.file("target")) == "preciousx\n");
}

TEST_CASE("file sink: new files get the mode, and directories are made only when wanted") {
  test::TempDir dir;
  const mode_t before = ::umask(0);
  FakeProgress progress;
  FileSinkOptions options = to(dir.file("deep/er/out.log"));
  options.mode.bits = 0604;
  auto run = start(options, progress);
  CHECK(run->send("x\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  ::umask(before);
  struct ::stat info {};
  REQUIRE(::stat(dir.file("deep/er/out.log").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0604);

  FakeProgress other;
  options = to(dir.file("no/out.log"));
  options.create_directories = false;
  run = start(options, other);
  CHECK(run->send("x\n") == SendStatus::sent);
  const Status status = run->finish();
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().message == "open " + dir.file("no/out.log") + ": No such file or directory");
}

TEST_CASE("file sink: two writers in one file are an error, one after the other is none") {
  test::TempDir dir;
  const std::string path = dir.file("out.log");
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
  REQUIRE(::flock(fd, LOCK_EX) == 0);
  FakeProgress progress;
  auto run = start(to(path), progress);
  CHECK(run->send("x\n") == SendStatus::sent);
  const Status status = run->finish();
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().message.find("another sink or process") != std::string::npos);
  ::close(fd);

  for (int i = 0; i < 2; ++i) {
    FakeProgress next;  // its marks keep the descriptor open, not the lock
    auto again = start(to(path), next);
    CHECK(again->send("y\n") == SendStatus::sent);
    CHECK(again->finish().has_value());
    CHECK(next.marks().size() == 1);
    if (i == 1) CHECK(content(path) == "y\ny\n");
  }
}

TEST_CASE("file sink: fsync decides who syncs") {
  test::TempDir dir;
  struct Case {
    Fsync fsync;
    bool mark_has_handle;
    int calls_while_running;
  };
  // A new file's directory is synced once, when anything is.
  for (const Case& c : {Case{Fsync::never, false, 0}, Case{Fsync::interval, true, 1}, Case{Fsync::always, false, 3}}) {
    const std::string path = dir.file(std::to_string(static_cast<int>(c.fsync)));
    CAPTURE(path);
    FakeProgress progress;
    test::FaultyLayer layer;
    FileSinkOptions options = to(path);
    options.fsync = c.fsync;
    auto run = start(options, progress, layer);
    CHECK(run->send("a\n") == SendStatus::sent);
    CHECK(run->send("b\n") == SendStatus::sent);
    REQUIRE(progress.wait_completed(2));
    CHECK((progress.marks()[1].sync != nullptr) == c.mark_has_handle);
    CHECK(layer.sync_calls == c.calls_while_running);
    CHECK(run->finish().has_value());
    CHECK(layer.sync_calls == c.calls_while_running);
    CHECK((progress.announced()[0].sync != nullptr) == (c.fsync != Fsync::never));
  }
}

TEST_CASE("file sink: a device takes everything and has no length") {
  FakeProgress progress;
  auto run = start(to("/dev/null"), progress);
  CHECK(run->send("x\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(progress.log() == Log{"complete 2"});
  CHECK(progress.marks().empty());
}

TEST_CASE("file sink: a FIFO or a directory is refused at once") {
  test::TempDir dir;
  REQUIRE(::mkfifo(dir.file("fifo").c_str(), 0600) == 0);
  std::filesystem::create_directory(dir.file("dir"));
  const int reader = ::open(dir.file("fifo").c_str(), O_RDONLY | O_NONBLOCK);
  for (const char* name : {"fifo", "dir"}) {
    CAPTURE(name);
    FakeProgress progress;
    auto run = start(to(dir.file(name)), progress);
    CHECK(run->send("x\n") == SendStatus::sent);
    const Status status = run->finish();
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().kind == ErrorKind::io);
  }
  ::close(reader);
}

TEST_CASE("file sink: a delivery of many pieces comes out whole") {
  test::TempDir dir;
  const std::string path = dir.file("out.log");
  // Every other line of 2000 bytes: runs too long to be copied, more of them than one writev takes.
  std::string text, expected;
  for (int i = 0; i < 3000; ++i) {
    std::string line = std::to_string(i) + ' ';
    line.resize(1999, static_cast<char>('a' + i % 26));
    line += '\n';
    text += line;
    if (i % 2 == 0) expected += line;
  }
  FakeProgress progress;
  BlockPool pool(64 << 20);
  Batch batch;
  batch.open(freeze(test::block_of(pool, text)));
  std::size_t n = 0;
  batch.retain(0, true, [&](Event&) { return n++ % 2 == 0 ? std::nullopt : std::optional(Reason::level); });
  test::FaultyLayer layer;
  layer.writes = {{1000, 0}, {2000, 0}, {1, 0}, {1999999, 0}};
  auto run = start(to(path), progress, layer);
  Delivery delivery = run->delivery(batch);
  CHECK(delivery.encoded.slices().size() == 1500);
  CHECK(run->send(std::move(delivery)) == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(content(path) == expected);
}

TEST_CASE("file sink: options are read as written") {
  config::Diagnostics diagnostics;
  const config::FixedEnvironment environment;
  const config::Node node = config::load_text(
      "t.yaml", "path: /l/{service}\nencoding: json\nfsync: always\nmode: 0600\ntime_zone: local\nmax_open_files: 3\n",
      environment, diagnostics);
  const auto options = config::decode<FileSinkOptions>(node, diagnostics, "sinks.out");
  CHECK(config::render_text(diagnostics) == "");
  CHECK(options.path.spelling() == "/l/{service}");
  CHECK(options.encoding == Encoding::json);
  CHECK(options.fsync == Fsync::always);
  CHECK(options.mode.bits == 0600);
  CHECK(options.time_zone == TimeZone::local);
  CHECK(options.max_open_files == 3);
}

TEST_CASE("file sink: wrong options are told with their place") {
  struct Case {
    const char* yaml;
    std::string_view place;
    std::string_view message;
  };
  const Case cases[] = {
      {"path: /l/%Q.log\n", "t.yaml:1:10:", "unknown conversion"},
      {"path: \"/l/{x\"\n", "t.yaml:1:11:", "is not closed"},
      {"path: /l\nmode: 0999\n", "t.yaml:2:7:", "permissions in octal"},
      {"path: /l\nmode: 0444\n", "t.yaml:2:7:", "let the owner write"},
      {"path: /l\nfsync: sometimes\n", "t.yaml:2:8:", "sometimes"},
      {"path: /l\nmax_open_files: 0\n", "t.yaml:2:17:", "max_open_files"},
      {"encoding: json\n", "t.yaml", "path"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.yaml);
    config::Diagnostics diagnostics;
    const config::FixedEnvironment environment;
    const config::Node node = config::load_text("t.yaml", c.yaml, environment, diagnostics);
    static_cast<void>(config::decode<FileSinkOptions>(node, diagnostics, "sinks.out"));
    const std::string text = config::render_text(diagnostics);
    CAPTURE(text);
    CHECK(text.starts_with(c.place));
    CHECK(text.find(c.message) != std::string::npos);
  }
}
