// A sink and its source are played against a store that dies at every single step and byte; what the next process finds
// must be a moment the sink once was in: its positions and its lengths of the same moment.
#include <map>
#include <random>
#include <set>

#include "delivery/checkpoint.hpp"
#include "tests/delivery/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

constexpr int kDeliveries = 12;

std::string copy_of(std::uint64_t step) {
  return "step " + std::to_string(step) + "\n";
}

/// Runs the history until it is through or the files die. Two sinks; "out" writes a file, whose content tells which
/// deliveries it has. Returns whether it got through.
bool play(const TempDir& dir, FaultyFiles& files, std::uint64_t compact_at) {
  CheckpointOptions options;
  options.state_dir = dir / "state";
  options.files = &files;
  options.compact_at = compact_at;
  auto opened = CheckpointStore::open(options);
  if (!opened) return false;
  CheckpointStore& store = **opened;
  store.begin_run({"out", "far"});
  const SourceFileRef file = store.attach("app", dir / "log", Fd(dir / "log"), 0).file;
  SinkProgress& out = store.sink("out", {});
  SinkProgress& far = store.sink("far", {});
  if (!out.announce(mark_of(dir / "out", 0))) return false;
  std::uint64_t length = 0;
  for (std::uint64_t step = 0; step < kDeliveries; ++step) {
    append_file(dir / "out", copy_of(step));
    length += copy_of(step).size();
    const OutputMark mark[] = {mark_of(dir / "out", length)};
    out.complete(delivery_of(file, step * 10, step * 10 + 10), mark);
    far.complete(delivery_of(file, step * 10, step * 10 + 10));
    static_cast<void>(store.commit());
    if (files.dead()) return false;
  }
  return true;
}

/// Cuts the output back as the file sink does, and checks that output and position are of one moment.
void check_restart(const TempDir& dir) {
  auto store = open_store(dir / "state");
  store->begin_run({"out", "far"});
  const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
  const auto recovered = store->sink("out", {}).recovered();
  const std::string written = read_file(dir / "out");
  if (recovered.empty()) {
    // It died before the announcement was through, and so before the first byte.
    REQUIRE(written.empty());
    REQUIRE(resume.offset == 0);
    return;
  }
  REQUIRE(recovered.size() == 1);
  REQUIRE(recovered[0].length <= written.size());
  const std::uint64_t position = position_of(*store, "out", resume.file->id);
  REQUIRE(position % 10 == 0);
  std::string expected;
  for (std::uint64_t step = 0; step < position / 10; ++step) expected += copy_of(step);
  REQUIRE(written.substr(0, recovered[0].length) == expected);
}

}  // namespace

TEST_CASE("crash: whatever step the process dies at, positions and lengths are of one moment") {
  const LogCapture quiet;
  for (const std::uint64_t compact_at : {std::uint64_t{1} << 20, std::uint64_t{300}}) {
    for (const std::size_t torn : {0UL, 1UL, 33UL, 150UL}) {
      bool through = false;
      for (long steps = 0; !through; ++steps) {
        CAPTURE(steps);
        CAPTURE(torn);
        TempDir dir;
        write_file(dir / "log", text_of(4000));
        write_file(dir / "out", "");
        FaultyFiles files;
        files.steps_left = steps;
        files.torn_bytes = torn;
        through = play(dir, files, compact_at);
        check_restart(dir);
      }
    }
  }
}

TEST_CASE("crash: whatever byte the journal ends at, positions and lengths are of one moment") {
  const LogCapture quiet;
  TempDir dir;
  write_file(dir / "log", text_of(4000));
  write_file(dir / "out", "");
  FaultyFiles files;
  REQUIRE(play(dir, files, 1 << 20));
  const std::string whole = read_file(dir / "state/journal");
  // From the place on where the announcement is in the file: it was there before the first byte went out.
  std::uint64_t announced = 0;
  {
    TempDir other;
    write_file(other / "log", text_of(4000));
    write_file(other / "out", "");
    auto store = open_store(other / "state");
    store->begin_run({"out", "far"});
    store->attach("app", other / "log", Fd(other / "log"), 0);
    REQUIRE(store->sink("out", {}).announce(mark_of(other / "out", 0)));
    announced = fs::file_size(other / "state/journal");
    REQUIRE((other / "out").string().size() == (dir / "out").string().size());
  }
  std::set<std::uint64_t> offsets;
  for (std::uint64_t length = announced; length <= whole.size(); ++length) {
    CAPTURE(length);
    write_file(dir / "state/journal", whole.substr(0, length));
    check_restart(dir);
    write_file(dir / "state/journal", whole.substr(0, length));
    auto store = open_store(dir / "state");
    store->begin_run({"out", "far"});
    offsets.insert(store->attach("app", dir / "log", Fd(dir / "log"), 0).offset);
  }
  CHECK(offsets.size() == kDeliveries + 1);  // every commit, and the time before the first
}
