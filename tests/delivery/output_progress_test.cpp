#include <algorithm>
#include <random>

#include "delivery/checkpoint.hpp"
#include "tests/delivery/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

/// What a new process would find.
struct Found {
  std::uint64_t position{0};
  std::vector<OutputMark> outputs;
};
Found found_by_next(const TempDir& dir) {
  // The running store holds the lock, so the next process looks at a copy.
  TempDir copy;
  fs::create_directory(copy / "state");
  fs::copy_file(dir / "state/journal", copy / "state/journal");
  auto store = open_store(copy / "state");
  store->begin_run({"out"});
  Found found;
  found.position = store->attach("app", dir / "log", Fd(dir / "log"), 0).offset;
  found.outputs = store->sink("out", {}).recovered();
  return found;
}

struct Run {
  explicit Run(const TempDir& dir, StateFiles* files = nullptr) {
    write_file(dir / "log", text_of(100'000));
    write_file(dir / "out", "");
    store = open_store(dir / "state", files);
    store->begin_run({"out"});
    file = store->attach("app", dir / "log", Fd(dir / "log"), 0).file;
    out = &store->sink("out", {});
  }
  std::unique_ptr<CheckpointStore> store;
  SourceFileRef file;
  SinkProgress* out;
};

}  // namespace

TEST_CASE("outputs: positions and lengths are committed together") {
  TempDir dir;
  Run run(dir);
  CHECK(run.out->recovered().empty());
  REQUIRE(run.out->announce(mark_of(dir / "out", 0)));
  const OutputMark first[] = {mark_of(dir / "out", 500)};
  run.out->complete(delivery_of(run.file, 0, 1000), first);
  CHECK(run.store->commit());
  const OutputMark second[] = {mark_of(dir / "out", 900)};
  run.out->complete(delivery_of(run.file, 1000, 2000), second);

  const Found found = found_by_next(dir);
  CHECK(found.position == 1000);
  REQUIRE(found.outputs.size() == 1);
  CHECK(found.outputs[0].path == (dir / "out").string());
  CHECK(found.outputs[0].inode == second[0].inode);
  CHECK(found.outputs[0].length == 500);
}

TEST_CASE("outputs: deliveries that are completed together are committed together") {
  TempDir dir;
  Run run(dir);
  std::size_t told = 0;
  std::vector<Found> between;
  CheckpointStore::Hooks hooks;
  hooks.completed = [&](const Delivery&) {
    ++told;
    CHECK(run.store->commit());
    between.push_back(found_by_next(dir));
  };
  run.out = &run.store->sink("out", std::move(hooks));
  REQUIRE(run.out->announce(mark_of(dir / "out", 0)));
  std::vector<Delivery> deliveries;
  deliveries.push_back(delivery_of(run.file, 0, 1000));
  deliveries.push_back(delivery_of(run.file, 1000, 2500));
  const OutputMark marks[] = {mark_of(dir / "out", 123)};
  run.out->complete_together(deliveries, marks);
  CHECK(told == 2);
  REQUIRE(between.size() == 2);
  for (const Found& found : between) {
    CHECK(found.position == 2500);
    REQUIRE(found.outputs.size() == 1);
    CHECK(found.outputs[0].length == 123);
  }
}

TEST_CASE("outputs: an announced file is in the journal at once, before any commit") {
  TempDir dir;
  Run run(dir);
  CHECK(run.store->commit());
  REQUIRE(run.out->announce(mark_of(dir / "out", 77)));
  const Found found = found_by_next(dir);
  CHECK(found.position == 0);
  REQUIRE(found.outputs.size() == 1);
  CHECK(found.outputs[0].length == 77);
}

TEST_CASE("outputs: announcing again what is not committed does not move the place of the cut") {
  TempDir dir;
  Run run(dir);
  REQUIRE(run.out->announce(mark_of(dir / "out", 10)));
  const OutputMark mark[] = {mark_of(dir / "out", 60)};
  run.out->complete(delivery_of(run.file, 0, 1000), mark);
  run.out->retire(dir / "out");
  REQUIRE(run.out->announce(mark_of(dir / "out", 60)));
  const Found found = found_by_next(dir);
  CHECK(found.position == 0);
  REQUIRE(found.outputs.size() == 1);
  CHECK(found.outputs[0].length == 10);
  CHECK(run.store->commit());
  CHECK(found_by_next(dir).outputs.at(0).length == 60);
}

TEST_CASE("outputs: a retired file leaves with the next commit and not before") {
  TempDir dir;
  Run run(dir);
  REQUIRE(run.out->announce(mark_of(dir / "out", 0)));
  const OutputMark mark[] = {mark_of(dir / "out", 60)};
  run.out->complete(delivery_of(run.file, 0, 1000), mark);
  run.out->retire(dir / "out");
  CHECK(found_by_next(dir).outputs.size() == 1);
  CHECK(run.store->commit());
  const Found found = found_by_next(dir);
  CHECK(found.outputs.empty());
  CHECK(found.position == 1000);
  // Opened again later it is announced with the length it has now.
  REQUIRE(run.out->announce(mark_of(dir / "out", 60)));
  CHECK(found_by_next(dir).outputs.at(0).length == 60);
}

TEST_CASE("outputs: a retired file that is announced again while a commit is under way stays in the journal") {
  TempDir dir;
  FaultyFiles files;
  Run run(dir, &files);
  REQUIRE(run.out->announce(mark_of(dir / "out", 0)));
  OutputMark mark = mark_of(dir / "out", 60);
  mark.sync = std::make_shared<const OutputHandle>(::open((dir / "out").c_str(), O_WRONLY | O_CLOEXEC));
  run.out->complete(delivery_of(run.file, 0, 1000), {&mark, 1});
  run.out->retire(dir / "out");
  bool announced = false;
  files.on_output_sync = [&] { announced = run.out->announce(mark_of(dir / "out", 60)).has_value(); };
  CHECK(run.store->commit());
  CHECK(announced);
  const Found found = found_by_next(dir);
  CHECK(found.position == 1000);
  REQUIRE(found.outputs.size() == 1);
  CHECK(found.outputs[0].length == 60);
}

TEST_CASE("outputs: a retired file that is written and retired again during a commit keeps the mark of that commit") {
  TempDir dir;
  FaultyFiles files;
  Run run(dir, &files);
  REQUIRE(run.out->announce(mark_of(dir / "out", 0)));
  OutputMark mark = mark_of(dir / "out", 60);
  mark.sync = std::make_shared<const OutputHandle>(::open((dir / "out").c_str(), O_WRONLY | O_CLOEXEC));
  run.out->complete(delivery_of(run.file, 0, 1000), {&mark, 1});
  run.out->retire(dir / "out");
  bool announced = false;
  files.on_output_sync = [&] {
    announced = run.out->announce(mark_of(dir / "out", 60)).has_value();
    const OutputMark more[] = {mark_of(dir / "out", 90)};
    run.out->complete(delivery_of(run.file, 1000, 2000), more);
    run.out->retire(dir / "out");
  };
  CHECK(run.store->commit());
  CHECK(announced);
  Found found = found_by_next(dir);
  CHECK(found.position == 1000);
  REQUIRE(found.outputs.size() == 1);
  CHECK(found.outputs[0].length == 60);
  files.on_output_sync = nullptr;
  CHECK(run.store->commit());
  found = found_by_next(dir);
  CHECK(found.position == 2000);
  CHECK(found.outputs.empty());
}

TEST_CASE("outputs: a file that is made anew under the same inode during a commit keeps its own length") {
  TempDir dir;
  FaultyFiles files;
  Run run(dir, &files);
  REQUIRE(run.out->announce(mark_of(dir / "out", 0)));
  OutputMark mark = mark_of(dir / "out", 60);
  mark.sync = std::make_shared<const OutputHandle>(::open((dir / "out").c_str(), O_WRONLY | O_CLOEXEC));
  run.out->complete(delivery_of(run.file, 0, 1000), {&mark, 1});
  CHECK(run.store->commit());
  mark.length = 90;
  run.out->complete(delivery_of(run.file, 1000, 2000), {&mark, 1});
  // Removed and made again: empty, and the system has given it the same inode.
  files.on_output_sync = [&] {
    run.out->retire(dir / "out");
    CHECK(run.out->announce(mark_of(dir / "out", 0)));
  };
  CHECK(run.store->commit());
  const Found found = found_by_next(dir);
  CHECK(found.position == 2000);
  REQUIRE(found.outputs.size() == 1);
  CHECK(found.outputs[0].length == 0);
}

TEST_CASE("outputs: a file that replaced another under the same path stands beside it until the commit") {
  TempDir dir;
  Run run(dir);
  REQUIRE(run.out->announce(mark_of(dir / "out", 0)));
  const OutputMark before[] = {mark_of(dir / "out", 60)};
  run.out->complete(delivery_of(run.file, 0, 1000), before);
  fs::rename(dir / "out", dir / "out.1");
  write_file(dir / "out", "");
  run.out->retire(dir / "out");
  REQUIRE(run.out->announce(mark_of(dir / "out", 0)));
  CHECK(found_by_next(dir).outputs.size() == 2);
  const OutputMark after[] = {mark_of(dir / "out", 5)};
  run.out->complete(delivery_of(run.file, 1000, 1100), after);
  CHECK(run.store->commit());
  const Found found = found_by_next(dir);
  REQUIRE(found.outputs.size() == 1);
  CHECK(found.outputs[0].inode == after[0].inode);
  CHECK(found.outputs[0].length == 5);
}

TEST_CASE("outputs: while a delivery is missing nothing behind it is committed, positions nor lengths") {
  TempDir dir;
  Run run(dir);
  REQUIRE(run.out->announce(mark_of(dir / "out", 0)));
  const OutputMark one[] = {mark_of(dir / "out", 10)};
  const OutputMark two[] = {mark_of(dir / "out", 20)};
  const OutputMark three[] = {mark_of(dir / "out", 30)};
  run.out->complete(delivery_of(run.file, 0, 100), one);
  run.out->complete(delivery_of(run.file, 200, 300), two);
  CHECK(run.store->commit());
  Found found = found_by_next(dir);
  CHECK(found.position == 100);
  CHECK(found.outputs.at(0).length == 10);
  run.out->complete(delivery_of(run.file, 100, 200), three);
  CHECK(run.store->commit());
  found = found_by_next(dir);
  CHECK(found.position == 300);
  CHECK(found.outputs.at(0).length == 30);
}

TEST_CASE("outputs: a sink that writes none commits its low-watermark in spite of holes") {
  TempDir dir;
  Run run(dir);
  run.out->complete(delivery_of(run.file, 200, 300));
  run.out->complete(delivery_of(run.file, 0, 100));
  CHECK(run.store->commit());
  CHECK(found_by_next(dir).position == 100);
}

TEST_CASE("outputs: under random completion orders a restart finds exactly a moment without holes") {
  const unsigned seed = 4711;
  INFO("seed ", seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 20; ++round) {
    TempDir dir;
    Run run(dir);
    write_file(dir / "second", text_of(50'000, 3));
    const SourceFileRef second = run.store->attach("app", dir / "second", Fd(dir / "second"), 0).file;
    REQUIRE(run.out->announce(mark_of(dir / "out", 0)));
    // The model: which deliveries of which file are written; a moment is whole when no file has a hole.
    struct Work {
      int file;
      int index;
    };
    std::vector<Work> work;
    for (int i = 0; i < 60; ++i) work.push_back({static_cast<int>(random() % 2), 0});
    int next[2] = {0, 0};
    for (Work& item : work) item.index = next[item.file]++;
    // Completed out of order within a window, as a pool of eight would.
    for (std::size_t i = 0; i + 1 < work.size(); ++i) {
      std::swap(work[i], work[i + random() % std::min<std::size_t>(4, work.size() - i)]);
    }
    std::vector<bool> done[2] = {std::vector<bool>(next[0]), std::vector<bool>(next[1])};
    std::uint64_t length = 0;
    std::uint64_t whole_length = 0;
    std::uint64_t whole_position[2] = {0, 0};
    for (const Work& item : work) {
      length += 7;
      const OutputMark mark[] = {mark_of(dir / "out", length)};
      const SourceFileRef& file = item.file ? second : run.file;
      const auto begin = static_cast<std::uint64_t>(item.index) * 100;
      run.out->complete(delivery_of(file, begin, begin + 100), mark);
      done[item.file][static_cast<std::size_t>(item.index)] = true;
      std::uint64_t prefix[2];
      bool whole = true;
      for (const int f : {0, 1}) {
        const auto hole = std::find(done[f].begin(), done[f].end(), false);
        prefix[f] = static_cast<std::uint64_t>(hole - done[f].begin()) * 100;
        whole = whole && std::find(hole, done[f].end(), true) == done[f].end();
      }
      if (whole) {
        whole_length = length;
        whole_position[0] = prefix[0];
        whole_position[1] = prefix[1];
      }
      if (random() % 4 != 0) continue;
      REQUIRE(run.store->commit());
      const Found found = found_by_next(dir);
      REQUIRE(found.outputs.size() == 1);
      REQUIRE(found.outputs[0].length == whole_length);
      REQUIRE(found.position == whole_position[0]);
      REQUIRE(position_of(*run.store, "out", second->id) == whole_position[1]);
    }
  }
}

TEST_CASE("outputs: a reload cuts back to the last moment without holes") {
  TempDir dir;
  Run run(dir);
  REQUIRE(run.out->announce(mark_of(dir / "out", 0)));
  const OutputMark one[] = {mark_of(dir / "out", 10)};
  const OutputMark two[] = {mark_of(dir / "out", 20)};
  run.out->complete(delivery_of(run.file, 0, 100), one);
  run.out->complete(delivery_of(run.file, 200, 300), two);
  run.store->begin_run({"out"});
  const auto recovered = run.store->sink("out", {}).recovered();
  REQUIRE(recovered.size() == 1);
  CHECK(recovered[0].length == 10);
  CHECK(run.store->attach("app", dir / "log", Fd(dir / "log"), 0).offset == 100);
}

TEST_CASE("outputs: without a state directory announcing costs nothing and a reload still knows the lengths") {
  TempDir dir;
  write_file(dir / "log", text_of(1000));
  write_file(dir / "out", "");
  auto store = open_store({});
  store->begin_run({"out"});
  const SourceFileRef file = store->attach("app", dir / "log", Fd(dir / "log"), 0).file;
  SinkProgress& out = store->sink("out", {});
  REQUIRE(out.announce(mark_of(dir / "out", 0)));
  const OutputMark mark[] = {mark_of(dir / "out", 10)};
  out.complete(delivery_of(file, 0, 100), mark);
  CHECK(store->commit());
  store->begin_run({"out"});
  CHECK(store->sink("out", {}).recovered().at(0).length == 10);
}
