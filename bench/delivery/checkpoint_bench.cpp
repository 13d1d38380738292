// What checkpoints cost: a commit with few and many changed files, and what each delivery pays on the sink's thread.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "delivery/checkpoint.hpp"
#include "delivery/watermark.hpp"

using namespace logpipe;

namespace {

class Fixture {
 public:
  Fixture(int files, bool on_disk) {
    std::string name = (std::filesystem::temp_directory_path() / "logpipe-bench-XXXXXX").string();
    if (!::mkdtemp(name.data())) std::abort();
    directory = name;
    CheckpointOptions options;
    if (on_disk) options.state_dir = directory / "state";
    store = std::move(*CheckpointStore::open(options));
    store->begin_run({"out"});
    for (int i = 0; i < files; ++i) {
      const auto path = directory / ("log" + std::to_string(i));
      std::ofstream(path) << std::string(2048, 'x') << i;
      const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      sources.push_back(store->attach("app", path, fd, 0).file);
      ::close(fd);
    }
    out = &store->sink("out", {});
    for (const SourceFileRef& file : sources) {
      deliveries.emplace_back();
      deliveries.back().ranges.push_back({file, 0, 0});
    }
    if (!store->commit()) std::abort();
  }
  ~Fixture() {
    store.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }
  /// The next batch of one file; the output grows with it.
  void step(std::size_t file) {
    SourceRange& range = deliveries[file].ranges[0];
    range.begin = range.end;
    range.end += 256 * 1024;
    mark.length += 256 * 1024;
    out->complete(deliveries[file], {&mark, 1});
  }

  std::filesystem::path directory;
  std::unique_ptr<CheckpointStore> store;
  std::vector<SourceFileRef> sources;
  std::vector<Delivery> deliveries;
  SinkProgress* out{nullptr};
  OutputMark mark{"/var/log/out.jsonl", 1, 2, 0, nullptr};
};

void BM_Checkpoint_Commit(benchmark::State& state) {
  const auto files = static_cast<std::size_t>(state.range(0));
  Fixture fixture(state.range(0), true);
  for (auto _ : state) {
    state.PauseTiming();
    for (std::size_t i = 0; i < files; ++i) fixture.step(i);
    state.ResumeTiming();
    if (!fixture.store->commit()) state.SkipWithError("commit failed");
  }
}
BENCHMARK(BM_Checkpoint_Commit)->ArgName("changed_files")->Arg(1)->Arg(100)->UseRealTime();

void BM_Checkpoint_Complete(benchmark::State& state) {
  const auto files = static_cast<std::size_t>(state.range(0));
  Fixture fixture(state.range(0), false);
  std::size_t next = 0;
  for (auto _ : state) {
    fixture.step(next);
    next = (next + 1) % files;
  }
}
BENCHMARK(BM_Checkpoint_Complete)->ArgName("files")->Arg(1)->Arg(100);

void BM_Watermark_OutOfOrder(benchmark::State& state) {
  Watermark mark;
  std::uint64_t base = 0;
  for (auto _ : state) {
    // A window of eight tickets, finished backwards.
    for (std::uint64_t i = 8; i-- > 0;) benchmark::DoNotOptimize(mark.complete(base + i * 10, base + i * 10 + 10));
    base += 80;
  }
  state.SetItemsProcessed(state.iterations() * 8);
}
BENCHMARK(BM_Watermark_OutOfOrder);

}  // namespace
