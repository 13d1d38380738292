// The file sink and the real journal together: what a kill leaves behind, and what the next start makes of it.

#include <doctest/doctest.h>

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "delivery/checkpoint.hpp"
#include "delivery/files.hpp"
#include "event/json.hpp"
#include "sinks/file.hpp"
#include "tests/sinks/support.hpp"

using namespace logpipe;
using test::content;

namespace {

/// One life of the process: a journal, a source file and a sink. Dropping it without commit() is the kill.
struct Life {
  Life(const test::TempDir& dir, const std::string& output, std::uint32_t max_open_files = 64,
       StateFiles* files = nullptr) {
    store = CheckpointStore::open({.state_dir = dir.path() / "state", .files = files}).value();
    store->begin_run({"out"});
    input = ::open(dir.file("input").c_str(), O_RDONLY | O_CLOEXEC);
    resume = store->attach("in", dir.file("input"), input, 0);
    progress = &store->sink("out", {});
    FileSinkOptions options;
    options.path = PathTemplate::parse(output).value();
    options.max_open_files = max_open_files;
    run = std::make_unique<test::SinkRun>(make_file_sink(options, {"out", progress}));
  }
  ~Life() {
    run.reset();
    ::close(input);
  }
  /// Delivers the next `bytes` of the input.
  void deliver(const std::string& text, std::size_t bytes) {
    if (bytes == 0) return;
    Batch batch;
    batch.open(
        freeze(test::block_of(pool, std::string_view(text).substr(resume.offset, bytes), resume.offset, resume.file)));
    parse_json(batch, false);
    resume.offset += bytes;
    CHECK(run->send(run->delivery(batch)) == SendStatus::sent);
  }
  /// Lets the sink write what it has, and ends it as a kill does: nothing is retired.
  void drain_then_kill() {
    run->close();
    CHECK(run->join().has_value());
  }

  BlockPool pool{1 << 20};
  std::unique_ptr<CheckpointStore> store;
  SinkProgress* progress{nullptr};
  int input{-1};
  Resume resume;
  std::unique_ptr<test::SinkRun> run;
};

}  // namespace

TEST_CASE("file sink with a journal: killed at any moment, everything is there once") {
  const std::string text = "one\ntwo\nthree\nfour\nfive\nsix\n";
  // How many lines are delivered before a commit, and how many more before the kill.
  struct Moment {
    int committed;
    int more;
  };
  for (const Moment& moment : {Moment{0, 0}, {0, 3}, {2, 0}, {2, 2}, {3, 3}, {6, 0}}) {
    const int committed = moment.committed;
    const int more = moment.more;
    CAPTURE(committed);
    CAPTURE(more);
    test::TempDir dir;
    test::put(dir.file("input"), text);
    const std::string output = dir.file("out.log");
    const auto line_bytes = [&](const Life& life) {
      return text.find('\n', life.resume.offset) + 1 - life.resume.offset;
    };
    {
      Life life(dir, output);
      for (int i = 0; i < committed; ++i) life.deliver(text, line_bytes(life));
      if (committed > 0) {
        const auto size = life.resume.offset;
        // Until the sink has completed what was sent.
        while (life.store->positions().at(0).committed != size) std::this_thread::yield();
        CHECK(life.store->commit().has_value());
      }
      for (int i = 0; i < more; ++i) life.deliver(text, line_bytes(life));
      life.drain_then_kill();
      CHECK(content(output) == text.substr(0, life.resume.offset));
      test::add(more > 0 ? output : dir.file("nothing"), "torn li");
    }
    Life life(dir, output);
    std::size_t expected = 0;
    for (int i = 0; i < committed; ++i) expected = text.find('\n', expected) + 1;
    CHECK(life.resume.offset == expected);
    life.deliver(text, text.size() - life.resume.offset);
    CHECK(life.run->finish().has_value());
    CHECK(content(output) == text);
    CHECK(life.store->commit().has_value());
  }
}

namespace {

/// Lets something happen while a commit syncs an output.
class SlowSyncs final : public StateFiles {
 public:
  std::function<void()> on_output_sync;
  Status sync(int fd, const std::filesystem::path& path) override {
    if (on_output_sync && path.string().starts_with("output")) std::exchange(on_output_sync, nullptr)();
    return StateFiles::sync(fd, path);
  }
};

}  // namespace

TEST_CASE("file sink with a journal: more files than may be open, killed again and again, everything is there once") {
  std::mt19937 random(77);
  std::string text;
  std::map<std::string, std::string> expected;
  for (int i = 0; i < 8000; ++i) {
    const std::string value(1, static_cast<char>('a' + random() % 10));
    const std::string line = R"({"v":")" + value + R"(","n":)" + std::to_string(i) + "}\n";
    text += line;
    expected[value] += line;
  }
  test::TempDir dir;
  test::put(dir.file("input"), text);
  const std::string output = dir.file("{v}.log");
  const auto lines = [&](const Life& life, int count) {
    std::size_t end = life.resume.offset;
    while (count-- > 0 && end < text.size()) end = text.find('\n', end) + 1;
    return end - life.resume.offset;
  };
  const auto wait_delivered = [](const Life& life) {
    while (life.store->positions().at(0).committed != life.resume.offset) std::this_thread::yield();
  };
  for (int kill = 0; kill < 60; ++kill) {
    SlowSyncs files;
    Life life(dir, output, 3, &files);
    for (auto commits = 1 + random() % 2; commits > 0; --commits) {
      for (auto left = 1 + random() % 5; left > 0; --left)
        life.deliver(text, lines(life, static_cast<int>(random() % 9)));
      wait_delivered(life);
      // The sink goes on meanwhile, as far as it gets: files are closed and opened again between the two halves.
      files.on_output_sync = [&] {
        for (int i = 0; i < 8; ++i) life.deliver(text, lines(life, 3));
        wait_delivered(life);
      };
      CHECK(life.store->commit().has_value());
    }
    life.run->abort();
  }
  Life life(dir, output, 3);
  life.deliver(text, text.size() - life.resume.offset);
  CHECK(life.run->finish().has_value());
  for (const auto& [value, lines_of_value] : expected) {
    CAPTURE(value);
    CHECK((content(dir.file(value + ".log")) == lines_of_value));
  }
}
