#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "config/load.hpp"
#include "delivery/compression.hpp"
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

constexpr Compression kKinds[] = {Compression::gzip, Compression::zstd};

std::string frame_of(Compression kind, std::string_view text) {
  std::string out;
  CHECK(FrameCompressor(kind, levels_of(kind).usual).append(text, out).has_value());
  return out;
}

/// What a file holds, and as how many frames.
struct Held {
  std::string text;
  std::uint64_t frames{0};
};
Held held(Compression kind, const std::string& path) {
  std::string bytes = content(path);
  std::string_view left = bytes;
  Decompressor decompressor(kind);
  std::string piece(100'000, '\0');
  Held result;
  for (;;) {
    const auto step = decompressor.step(left, piece);
    REQUIRE(step.has_value());
    left.remove_prefix(step->consumed);
    result.text.append(piece, 0, step->produced);
    if (step->consumed == 0 && step->produced == 0) break;
  }
  CHECK(left.empty());
  CHECK(decompressor.finish().has_value());
  result.frames = decompressor.frames();
  return result;
}

struct Bench {
  explicit Bench(Compression compression, std::string_view name = "out.log") : kind(compression), path(dir.file(name)) {
    options.path = PathTemplate::parse(path).value();
    options.fsync = Fsync::never;
    options.compression = kind;
    options.compression_wait = 60s;  // longer than any test: what ends the waiting is what the test is about
  }
  std::unique_ptr<SinkRun> start() {
    return std::make_unique<SinkRun>(make_file_sink(options, {"out", &progress, &metrics, &health}, layer));
  }
  std::optional<double> metric(std::string_view name) const { return metrics.value(name, {{"sink", "out"}}); }

  Compression kind;
  test::TempDir dir;
  std::string path;
  FileSinkOptions options;
  FakeProgress progress;
  MetricsRegistry metrics;
  HealthTable health;
  FaultyLayer layer;
};

std::string many_lines(std::size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) text += "line " + std::to_string(i * 7919) + "\n";
  return text;
}

}  // namespace

TEST_CASE("file compression: small deliveries wait for each other, become one frame and are complete together") {
  for (const Compression kind : kKinds) {
    Bench bench(kind);
    auto run = bench.start();
    for (const char* lines : {"one\n", "two\nthree\n", "four\n"}) CHECK(run->send(lines) == SendStatus::sent);
    CHECK(run->finish().has_value());  // a drain waits for nothing
    const Held file = held(kind, bench.path);
    CHECK(file.text == "one\ntwo\nthree\nfour\n");
    CHECK(file.frames == 1);
    CHECK(bench.progress.log() == std::vector<std::string>{"announce out.log 0", "complete 4 10 5", "retire out.log"});
    REQUIRE(bench.progress.marks().size() == 1);
    CHECK(bench.progress.marks()[0].length == content(bench.path).size());
    CHECK(bench.metric("logpipe_sink_uncompressed_bytes_total") == 19);
    CHECK(bench.metric("logpipe_sink_compressed_bytes_total") == content(bench.path).size());
  }
}

TEST_CASE("file compression: a frame is written when it is full") {
  for (const Compression kind : kKinds) {
    Bench bench(kind);
    auto run = bench.start();
    const std::string part = many_lines(100'000);
    for (int i = 0; i < 6; ++i) CHECK(run->send(part) == SendStatus::sent);
    REQUIRE(bench.progress.wait_completed(6));  // 3 and 3, of 300 kB each
    CHECK(run->send("the last\n") == SendStatus::sent);
    CHECK(run->finish().has_value());
    const Held file = held(kind, bench.path);
    CHECK((file.text == part + part + part + part + part + part + "the last\n"));
    CHECK(file.frames == 3);
  }
}

TEST_CASE("file compression: nothing waits longer than it should, without any other delivery") {
  Bench bench(Compression::zstd);
  bench.options.compression_wait = 1ms;
  auto run = bench.start();
  CHECK(run->send("alone\n") == SendStatus::sent);
  CHECK(bench.progress.wait_completed(1));
  CHECK(held(bench.kind, bench.path).text == "alone\n");
  CHECK(run->finish().has_value());
}

TEST_CASE("file compression: what holds much memory for little content does not wait") {
  Bench bench(Compression::gzip);
  auto run = bench.start();
  // Of blocks of 64 KiB a line each: what they hold is bounded long before a frame is full.
  BlockPool pool(64 << 20);
  std::size_t sent = 0;
  for (std::size_t memory = 0; memory < (5U << 20); ++sent) {
    Batch batch;
    batch.open(freeze(test::block_of(pool, std::string(2000, 'x') + "\n")));
    Delivery delivery = run->delivery(batch);
    REQUIRE(delivery.memory() > 2000);
    memory += delivery.memory();
    CHECK(run->send(std::move(delivery)) == SendStatus::sent);
  }
  CHECK(bench.progress.wait_completed(1));
  CHECK(run->finish().has_value());
  CHECK(held(bench.kind, bench.path).text.size() == 2001 * sent);
}

TEST_CASE("file compression: a delivery without lines is complete at once when nothing waits") {
  Bench bench(Compression::gzip);
  auto run = bench.start();
  CHECK(run->send(Delivery()) == SendStatus::sent);
  CHECK(bench.progress.wait_completed(1));
  CHECK(run->finish().has_value());
  CHECK_FALSE(std::filesystem::exists(bench.path));
}

TEST_CASE("file compression: of a template every file gets a frame of its own, in order") {
  for (const Compression kind : kKinds) {
    Bench bench(kind, "{s}.log");
    auto run = bench.start();
    BlockPool pool(1 << 20);
    for (const char* lines : {"{\"s\":\"a\",\"n\":1}\n{\"s\":\"b\",\"n\":2}\n", "{\"s\":\"b\",\"n\":3}\n",
                              "{\"s\":\"c\",\"n\":4}\n{\"s\":\"a\",\"n\":5}\n"}) {
      Batch batch;
      batch.open(freeze(test::block_of(pool, lines)));
      parse_json(batch, false);
      CHECK(run->send(run->delivery(batch)) == SendStatus::sent);
    }
    CHECK(run->finish().has_value());
    CHECK(held(kind, bench.dir.file("a.log")).text == "{\"s\":\"a\",\"n\":1}\n{\"s\":\"a\",\"n\":5}\n");
    CHECK(held(kind, bench.dir.file("b.log")).text == "{\"s\":\"b\",\"n\":2}\n{\"s\":\"b\",\"n\":3}\n");
    CHECK(held(kind, bench.dir.file("c.log")).text == "{\"s\":\"c\",\"n\":4}\n");
    CHECK(held(kind, bench.dir.file("a.log")).frames == 1);
    REQUIRE(bench.progress.last_outputs().size() == 3);
  }
}

TEST_CASE("file compression: an abort writes nothing of what was waiting") {
  Bench bench(Compression::zstd);
  auto run = bench.start();
  CHECK(run->send("waiting\n") == SendStatus::sent);
  run->abort();
  CHECK(run->join().has_value());
  CHECK(bench.progress.completed() == 0);
  CHECK(content(bench.path).empty());
}

TEST_CASE("file compression: a frame goes on behind a short write, and a rest of it is cut off at an abort") {
  for (const Compression kind : kKinds) {
    Bench bench(kind);
    bench.layer.writes = {{1, 0}, {3, 0}, {0, ENOSPC}, {SIZE_MAX, 0}, {5, 0}, {0, ENOSPC}};
    bench.layer.on_wait = [](std::size_t n) { return n == 1; };
    bench.options.compression_wait = 0ms;
    auto run = bench.start();
    CHECK(run->send("complete\n") == SendStatus::sent);
    REQUIRE(bench.progress.wait_completed(1));
    CHECK(run->send("never complete\n") == SendStatus::sent);
    CHECK(run->finish().has_value());
    CHECK(held(kind, bench.path).text == "complete\n");
    CHECK(held(kind, bench.path).frames == 1);
    CHECK(bench.progress.completed() == 1);
  }
}

TEST_CASE("file compression: after a failed sync the whole frame is written again, and the old one is gone") {
  Bench bench(Compression::gzip);
  bench.options.fsync = Fsync::always;
  bench.layer.syncs = {0 /* the directory */, EIO, 0};
  auto run = bench.start();
  CHECK(run->send("once\n") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(held(bench.kind, bench.path).text == "once\n");
  CHECK(held(bench.kind, bench.path).frames == 1);
}

TEST_CASE("file compression: a file that is there is appended to, and a torn frame at its end cut off") {
  for (const Compression kind : kKinds) {
    for (const std::size_t torn : {std::size_t{0}, std::size_t{1}, std::size_t{9}, std::size_t{30}}) {
      CAPTURE(torn);
      Bench bench(kind);
      const std::string old = frame_of(kind, "old\n");
      test::put(bench.path, old + frame_of(kind, many_lines(1000)).substr(0, torn));
      auto run = bench.start();
      CHECK(run->send("new\n") == SendStatus::sent);
      CHECK(run->finish().has_value());
      CHECK(held(kind, bench.path).text == "old\nnew\n");
      CHECK(bench.metric("logpipe_sink_cut_bytes_total") == torn);
    }
  }
}

TEST_CASE("file compression: a file with other content is refused with its name and left as it is") {
  for (const Compression kind : kKinds) {
    Bench bench(kind);
    test::put(bench.path, "plain lines, written before compression was turned on\n");
    auto run = bench.start();
    CHECK(run->send("new\n") == SendStatus::sent);
    const Status status = run->finish();
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().message.find(bench.path) != std::string::npos);
    CHECK(status.error().message.find("not " + std::string(name_of(kind))) != std::string::npos);
    CHECK(content(bench.path) == "plain lines, written before compression was turned on\n");
  }
}

TEST_CASE("file compression: a file closed for another and opened again is not walked again") {
  class Counting final : public FileLayer {
   public:
    int for_reading{0};
    int open(const char* path, int flags, mode_t mode) override {
      if ((flags & (O_WRONLY | O_RDWR | O_DIRECTORY)) == 0) ++for_reading;
      return FileLayer::open(path, flags, mode);
    }
  } layer;
  Bench bench(Compression::zstd, "{s}");
  bench.options.max_open_files = 1;
  bench.options.compression_wait = 0ms;
  test::put(bench.dir.file("a"), frame_of(bench.kind, "old\n"));
  SinkRun run(make_file_sink(bench.options, {"out", &bench.progress}, layer));
  BlockPool pool(1 << 20);
  for (int i = 0; i < 20; ++i) {
    Batch batch;
    batch.open(freeze(test::block_of(pool, i % 2 == 0 ? "{\"s\":\"a\"}\n" : "{\"s\":\"b\"}\n")));
    parse_json(batch, false);
    CHECK(run.send(run.delivery(batch)) == SendStatus::sent);
  }
  CHECK(run.finish().has_value());
  CHECK(layer.for_reading == 1);
  CHECK(held(bench.kind, bench.dir.file("a")).text.size() == 4 + 10 * 10);
}

TEST_CASE("file compression: what a pipe gave is not announced, nor is it cut off") {
  Bench bench(Compression::gzip);
  BlockPool pool(1 << 20);
  const SourceFileRef pipe = CheckpointStore::unreplayable("in", "-");
  auto run = bench.start();
  Batch batch;
  batch.open(freeze(test::block_of(pool, "from a pipe\n", 0, pipe)));
  CHECK(run->send(run->delivery(batch)) == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(bench.progress.announced().empty());
  CHECK(held(bench.kind, bench.path).text == "from a pipe\n");
}

TEST_CASE("file compression: wrong levels are told with their place") {
  const auto errors = [](const std::string& options) {
    config::Diagnostics diagnostics;
    const config::FixedEnvironment environment;
    const config::Node node = config::load_text("t.yaml", "path: out.log\n" + options, environment, diagnostics);
    static_cast<void>(config::decode<FileSinkOptions>(node, diagnostics, "sinks.out"));
    return config::render_text(diagnostics);
  };
  CHECK(errors("compression: zstd\ncompression_level: 19").empty());
  CHECK(errors("compression: gzip\ncompression_level: 10").find("gzip from 1 to 9") != std::string::npos);
  CHECK(errors("compression: zstd\ncompression_level: 0").find("zstd from 1 to 19") != std::string::npos);
  CHECK(errors("compression_level: 3").find("nothing is compressed") != std::string::npos);
}
