// The file sink and the real journal together: what a kill leaves behind, and what the next start makes of it.

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <thread>

#include "delivery/checkpoint.hpp"
#include "sinks/file.hpp"
#include "tests/sinks/support.hpp"

using namespace logpipe;
using test::content;

namespace {

/// One life of the process: a journal, a source file and a sink. Dropping it without commit() is the kill.
struct Life {
  Life(const test::TempDir& dir, const std::string& output) {
    store = CheckpointStore::open({dir.path() / "state"}).value();
    store->begin_run({"out"});
    input = ::open(dir.file("input").c_str(), O_RDONLY | O_CLOEXEC);
    resume = store->attach("in", dir.file("input"), input, 0);
    progress = &store->sink("out", {});
    FileSinkOptions options;
    options.path = PathTemplate::parse(output).value();
    run = std::make_unique<test::SinkRun>(make_file_sink(options, {"out", progress}));
  }
  ~Life() {
    run.reset();
    ::close(input);
  }
  /// Delivers the next `bytes` of the input.
  void deliver(const std::string& text, std::size_t bytes) {
    Batch batch;
    batch.open(
        freeze(test::block_of(pool, std::string_view(text).substr(resume.offset, bytes), resume.offset, resume.file)));
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
        for (;;) {
          CHECK(life.store->commit().has_value());
          const auto positions = life.store->positions();
          if (!positions.empty() && positions[0].committed == size) break;
          std::this_thread::yield();
        }
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
