#include <barrier>
#include <latch>
#include <semaphore>
#include <thread>

#include "channel/context.hpp"
#include "delivery/checkpoint.hpp"
#include "tests/delivery/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

/// Lets a test wait for a sync of the journal, which is the last step of a commit.
struct WatchedFiles : FaultyFiles {
  std::counting_semaphore<> synced{0};
  Status sync(int fd, const fs::path& path) override {
    Status status = FaultyFiles::sync(fd, path);
    synced.release();
    return status;
  }
};

}  // namespace

TEST_CASE("group commit: commits by itself after a change and ends with its context") {
  TempDir dir;
  write_file(dir / "log", text_of(5000));
  WatchedFiles files;
  CheckpointOptions options;
  options.state_dir = dir / "state";
  options.files = &files;
  options.interval = std::chrono::milliseconds(1);
  auto store = std::move(*CheckpointStore::open(options));
  files.synced.acquire();  // of the new journal
  store->begin_run({"out"});
  auto [ctx, cancel] = with_cancel(Context::background());
  Status ended = fail(ErrorKind::internal, "not ended");
  std::thread committer([&, ctx = ctx] { ended = store->run(ctx); });
  const SourceFileRef file = store->attach("app", dir / "log", Fd(dir / "log"), 0).file;
  files.synced.acquire();
  SinkProgress& out = store->sink("out", {});
  for (std::uint64_t i = 0; i < 20; ++i) {
    out.complete(delivery_of(file, i, i + 1));
    files.synced.acquire();
  }
  cancel();
  committer.join();
  CHECK(ended);
  CHECK(store->commits() == 21);
  CHECK_FALSE(files.synced.try_acquire());  // nothing was committed without a change
}

TEST_CASE("group commit: an idle or waiting committer returns at once when its context ends") {
  TempDir dir;
  write_file(dir / "log", text_of(5000));
  CheckpointOptions options;
  options.state_dir = dir / "state";
  options.interval = std::chrono::hours(1);
  auto store = std::move(*CheckpointStore::open(options));
  store->begin_run({"out"});
  for (const bool changed : {false, true}) {
    if (changed) store->attach("app", dir / "log", Fd(dir / "log"), 0);
    auto [ctx, cancel] = with_cancel(Context::background());
    std::thread committer([&, ctx = ctx] { CHECK(store->run(ctx)); });
    cancel();
    committer.join();
  }
  CHECK(store->commits() == 0);
  CHECK(store->commit());
  CHECK(store->commits() == 1);
}

TEST_CASE("group commit: a full disk is tried again, a failed sync of an output ends it") {
  const LogCapture quiet;
  TempDir dir;
  write_file(dir / "log", text_of(5000));
  write_file(dir / "out", "");
  struct Files : WatchedFiles {
    std::counting_semaphore<> refused{0};
    std::atomic<bool> full{false};
    std::atomic<bool> broken{false};
    Result<std::size_t> write_at(int fd, std::span<const char> bytes, std::uint64_t offset,
                                 const fs::path& path) override {
      if (!full) return WatchedFiles::write_at(fd, bytes, offset, path);
      refused.release();
      return fail(Error::from_errno(ENOSPC, "write"));
    }
    Status sync(int fd, const fs::path& path) override {
      if (broken && path.string().starts_with("output")) return fail(Error::from_errno(EIO, "sync " + path.string()));
      return WatchedFiles::sync(fd, path);
    }
  } files;
  CheckpointOptions options;
  options.state_dir = dir / "state";
  options.files = &files;
  options.interval = std::chrono::milliseconds(1);
  auto store = std::move(*CheckpointStore::open(options));
  files.synced.acquire();
  store->begin_run({"out"});
  SinkProgress& out = store->sink("out", {});
  REQUIRE(out.announce(mark_of(dir / "out", 0)));
  files.full = true;
  Status ended;
  std::thread committer([&] { ended = store->run(Context::background()); });
  const SourceFileRef file = store->attach("app", dir / "log", Fd(dir / "log"), 0).file;
  for (int i = 0; i < 3; ++i) files.refused.acquire();
  files.full = false;
  files.synced.acquire();
  files.broken = true;
  OutputMark mark = mark_of(dir / "out", 10);
  mark.sync = std::make_shared<const OutputHandle>(::open((dir / "out").c_str(), O_WRONLY | O_CLOEXEC));
  out.complete(delivery_of(file, 0, 10), {&mark, 1});
  committer.join();
  REQUIRE_FALSE(ended);
  CHECK(ended.error().message.find("sink out") != std::string::npos);
  CHECK(store->commit_failures() >= 4);
}

TEST_CASE("group commit: sinks, sources and the committer work at the same time and nothing gets lost") {
  TempDir dir;
  constexpr int kSinks = 3;
  constexpr int kFiles = 4;
  constexpr std::uint64_t kSteps = 400;
  CheckpointOptions options;
  options.state_dir = dir / "state";
  options.interval = std::chrono::milliseconds(1);
  options.compact_at = 4096;
  auto store = std::move(*CheckpointStore::open(options));
  std::vector<std::string> names;
  for (int s = 0; s < kSinks; ++s) names.push_back("sink" + std::to_string(s));
  store->begin_run(names);
  std::vector<SinkProgress*> sinks;
  for (int s = 0; s < kSinks; ++s) {
    write_file(dir / names[s], "");
    sinks.push_back(&store->sink(names[s], {}));
  }
  std::vector<SourceFileRef> files(kFiles);
  auto [ctx, cancel] = with_cancel(Context::background());
  std::latch attached(kFiles);
  {
    std::vector<std::jthread> threads;
    threads.emplace_back([&, ctx = ctx] { CHECK(store->run(ctx)); });
    std::vector<std::jthread> workers;
    for (int f = 0; f < kFiles; ++f) {
      workers.emplace_back([&, f] {
        const fs::path path = dir / ("log" + std::to_string(f));
        write_file(path, text_of(kSteps * 10, static_cast<unsigned>(f)));
        files[f] = store->attach("app", path, Fd(path), 0).file;
        attached.count_down();
      });
    }
    for (int s = 0; s < kSinks; ++s) {
      workers.emplace_back([&, s] {
        attached.wait();
        const fs::path path = dir / names[s];
        REQUIRE(sinks[s]->announce(mark_of(path, 0)));
        for (std::uint64_t step = 0; step < kSteps; ++step) {
          for (const SourceFileRef& file : files) {
            const OutputMark mark = mark_of(path, (step + 1) * 5);
            sinks[s]->complete(delivery_of(file, step * 10, step * 10 + 10), {&mark, 1});
          }
          if (step % 50 == 17) {
            sinks[s]->retire(path);
            REQUIRE(sinks[s]->announce(mark_of(path, (step + 1) * 5)));
          }
          if (step % 100 == 3) static_cast<void>(store->positions());
        }
      });
    }
    workers.clear();
    cancel();
  }
  CHECK(store->commit());
  CHECK(store->commit_failures() == 0);
  store.reset();
  store = open_store(dir / "state");
  store->begin_run(names);
  CHECK(store->positions().size() == kSinks * kFiles);
  for (const auto& position : store->positions()) CHECK(position.committed == kSteps * 10);
  for (const std::string& name : names) {
    const auto recovered = store->sink(name, {}).recovered();
    REQUIRE(recovered.size() == 1);
    CHECK(recovered[0].length == kSteps * 5);
  }
}
