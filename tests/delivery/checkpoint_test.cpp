#include "delivery/checkpoint.hpp"

#include <map>

#include "delivery/journal.hpp"
#include "telemetry/ledger.hpp"
#include "tests/delivery/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

TEST_CASE("checkpoint: a committed position is where the next process goes on") {
  TempDir dir;
  write_file(dir / "log", text_of(5000));
  std::uint64_t id = 0;
  {
    auto store = open_store(dir / "state");
    store->begin_run({"out"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    CHECK_FALSE(resume.known);
    CHECK(resume.offset == 0);
    CHECK(resume.file->source == "app");
    CHECK(resume.file->path == (dir / "log").string());
    CHECK(resume.file->delivered_until.empty());
    id = resume.file->id;
    CHECK(id != 0);
    store->sink("out", {}).complete(delivery_of(resume.file, 0, 3000));
    CHECK(store->commit());
    store->sink("out", {}).complete(delivery_of(resume.file, 3000, 4000));  // not committed
  }
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
  CHECK(resume.known);
  CHECK(resume.offset == 3000);
  CHECK(resume.file->id == id);
  CHECK(resume.file->delivered_until == std::vector<std::uint64_t>{3000});
}

TEST_CASE("checkpoint: a file seen but not read keeps the place where it was first seen") {
  TempDir dir;
  write_file(dir / "log", text_of(5000));
  {
    auto store = open_store(dir / "state");
    store->begin_run({"out"});
    CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 5000).offset == 5000);
    CHECK(store->commit());
  }
  append_file(dir / "log", "written while nobody looked\n");
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 5028);
  CHECK(resume.known);
  CHECK(resume.offset == 5000);
}

TEST_CASE("checkpoint: several sinks have a position each, and reading goes on at the smallest") {
  TempDir dir;
  write_file(dir / "log", text_of(5000));
  {
    auto store = open_store(dir / "state");
    store->begin_run({"fast", "slow"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 100);
    store->sink("fast", {}).complete(delivery_of(resume.file, 100, 4000));
    store->sink("slow", {}).complete(delivery_of(resume.file, 100, 900));
    CHECK(store->commit());
  }
  {
    auto store = open_store(dir / "state");
    store->begin_run({"slow", "new", "fast"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    CHECK(resume.offset == 100);
    CHECK(resume.file->delivered_until == std::vector<std::uint64_t>{900, 100, 4000});
  }
  {
    // What a sink ahead gets again as already delivered moves nothing back, and what straddles its position nothing
    // twice.
    auto store = open_store(dir / "state");
    store->begin_run({"fast", "slow"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    CHECK(resume.offset == 900);
    SinkProgress& fast = store->sink("fast", {});
    fast.complete(delivery_of(resume.file, 900, 3000));
    CHECK(position_of(*store, "fast", resume.file->id) == 4000);
    fast.complete(delivery_of(resume.file, 3000, 4500));
    CHECK(position_of(*store, "fast", resume.file->id) == 4500);
    CHECK(store->commit());
  }
  // A sink that is not in a run keeps its position for a later one.
  {
    auto store = open_store(dir / "state");
    store->begin_run({"slow"});
    CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 0).offset == 900);
    CHECK(store->commit());
  }
  auto store = open_store(dir / "state");
  store->begin_run({"fast"});
  CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 0).offset == 4500);
}

TEST_CASE("checkpoint: a file that grew from 0, 10 or 2000 bytes is still known after a restart") {
  for (const std::size_t first : {0UL, 10UL, 2000UL}) {
    CAPTURE(first);
    TempDir dir;
    const std::string content = text_of(9000);
    write_file(dir / "log", content.substr(0, first));
    {
      auto store = open_store(dir / "state");
      store->begin_run({"out"});
      const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
      append_file(dir / "log", content.substr(first));
      store->sink("out", {}).complete(delivery_of(resume.file, 0, 8000));
      CHECK(store->commit());
    }
    {
      auto store = open_store(dir / "state");
      store->begin_run({"out"});
      CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 0).offset == 8000);
    }
    // The same inode with other content of at least that size: the head has been taken again since the first sight.
    write_file(dir / "log", text_of(20'000, 99));
    const LogCapture log;
    auto store = open_store(dir / "state");
    store->begin_run({"out"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    CHECK_FALSE(resume.known);
    CHECK(resume.offset == 0);
    CHECK(log.contains("another beginning"));
  }
}

TEST_CASE("checkpoint: a file shorter than any sink's position is read as new, and the log says so") {
  TempDir dir;
  const std::string content = text_of(5000);
  write_file(dir / "log", content);
  std::uint64_t old_id = 0;
  {
    auto store = open_store(dir / "state");
    store->begin_run({"a", "b"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    old_id = resume.file->id;
    store->sink("a", {}).complete(delivery_of(resume.file, 0, 4000));
    CHECK(store->commit());
  }
  write_file(dir / "log", content.substr(0, 3000));
  const LogCapture log;
  {
    auto store = open_store(dir / "state");
    store->begin_run({"b"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    CHECK_FALSE(resume.known);
    CHECK(resume.offset == 0);
    CHECK(resume.file->id > old_id);
    CHECK(log.contains("the file ends before it"));
    CHECK(position_of(*store, "a", old_id) == ~std::uint64_t{0});
    CHECK(store->commit());
  }
  auto store = open_store(dir / "state");
  store->begin_run({"b"});
  CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 0).known);
}

TEST_CASE(
    "checkpoint: a truncated file begins again with an id of its own, and late deliveries of the old one are "
    "harmless") {
  TempDir dir;
  write_file(dir / "log", text_of(5000));
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  SinkProgress& out = store->sink("out", {});
  const Resume first = store->attach("app", dir / "log", Fd(dir / "log"), 0);
  out.complete(delivery_of(first.file, 0, 1000));
  out.complete(delivery_of(first.file, 2000, 3000));  // a hole, which the restart takes along
  CHECK(store->commit());
  write_file(dir / "log", text_of(300, 5));
  const Resume second = store->restart(first.file, Fd(dir / "log"));
  CHECK(second.offset == 0);
  CHECK_FALSE(second.known);
  CHECK(second.file->id != first.file->id);
  CHECK(second.file->path == first.file->path);
  out.complete(delivery_of(first.file, 1000, 2000));
  out.complete(delivery_of(second.file, 0, 200));
  CHECK(store->commit());
  store.reset();
  store = open_store(dir / "state");
  store->begin_run({"out"});
  const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
  CHECK(resume.file->id == second.file->id);
  CHECK(resume.offset == 200);
  CHECK(store->positions().size() == 1);
}

TEST_CASE("checkpoint: a renamed file is known under its new path, and the file that took its name is another") {
  TempDir dir;
  write_file(dir / "log", text_of(5000, 1));
  {
    auto store = open_store(dir / "state");
    store->begin_run({"out"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    store->sink("out", {}).complete(delivery_of(resume.file, 0, 3000));
    CHECK(store->commit());
  }
  fs::rename(dir / "log", dir / "log.1");
  write_file(dir / "log", text_of(4000, 2));
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 0).offset == 0);
  const Resume old = store->attach("app", dir / "log.1", Fd(dir / "log.1"), 0);
  CHECK(old.offset == 3000);
  CHECK(old.file->path == (dir / "log.1").string());
}

TEST_CASE("checkpoint: two sources read the same file independently") {
  TempDir dir;
  write_file(dir / "log", text_of(5000));
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  const Resume a = store->attach("a", dir / "log", Fd(dir / "log"), 0);
  const Resume b = store->attach("b", dir / "log", Fd(dir / "log"), 0);
  CHECK(a.file->id != b.file->id);
  store->sink("out", {}).complete(delivery_of(a.file, 0, 700));
  CHECK(position_of(*store, "out", a.file->id) == 700);
  CHECK(position_of(*store, "out", b.file->id) == 0);
}

TEST_CASE("checkpoint: a finished file is forgotten once every sink of the run has settled it") {
  TempDir dir;
  write_file(dir / "log", text_of(1000));
  {
    auto store = open_store(dir / "state");
    store->begin_run({"a", "b"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    store->finished(resume.file, 1000);
    store->sink("a", {}).complete(delivery_of(resume.file, 0, 1000));
    CHECK(store->commit());
    CHECK(store->positions().size() == 2);
    store->sink("b", {}).complete(delivery_of(resume.file, 0, 999));
    CHECK(store->commit());
    CHECK(store->positions().size() == 2);
    store->sink("b", {}).complete(delivery_of(resume.file, 999, 1000));
    CHECK(store->commit());
    CHECK(store->positions().empty());
  }
  auto store = open_store(dir / "state");
  store->begin_run({"a", "b"});
  CHECK(store->positions().empty());
  const Resume again = store->attach("app", dir / "log", Fd(dir / "log"), 0);
  CHECK_FALSE(again.known);
  CHECK(again.file->id == 2);  // ids are not used twice
}

TEST_CASE("checkpoint: a finished file that is opened again is not forgotten") {
  TempDir dir;
  write_file(dir / "log", text_of(1000));
  auto store = open_store(dir / "state");
  store->begin_run({"a"});
  const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
  store->finished(resume.file, 1000);
  CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 0).known);
  store->sink("a", {}).complete(delivery_of(resume.file, 0, 1000));
  CHECK(store->commit());
  CHECK(position_of(*store, "a", resume.file->id) == 1000);
}

TEST_CASE("checkpoint: what cannot be re-read is never journalled") {
  TempDir dir;
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  const SourceFileRef pipe = CheckpointStore::unreplayable("in", "stdin");
  CHECK(pipe->id == 0);
  CHECK(pipe->source == "in");
  store->sink("out", {}).complete(delivery_of(pipe, 0, 100));
  CHECK(store->commit());
  CHECK(store->commits() == 0);
  CHECK(store->positions().empty());
  CHECK(store->restart(pipe, Fd("/dev/null")).file->id == 0);

  const LogCapture log;
  const Resume device = store->attach("in", "/dev/null", Fd("/dev/null"), 0);
  CHECK(device.file->id == 0);
  CHECK(log.contains("read without a checkpoint"));
}

TEST_CASE("checkpoint: completing settles the ledger and tells the hook") {
  TempDir dir;
  Ledger ledger;
  PipelineAccount& pipeline = ledger.pipeline("main");
  CheckpointStore::Hooks hooks;
  hooks.accounts = {&pipeline.sink("out")};
  int told = 0;
  hooks.completed = [&](const Delivery&) { ++told; };
  auto store = open_store({});
  store->begin_run({"out"});
  SinkProgress& out = store->sink("out", hooks);
  pipeline.received("app", {10, 1000});
  pipeline.passed({10, 1000}, {10, 1000});

  Delivery whole;
  whole.admitted = whole.delivered = {4, 400};
  out.complete(whole);
  Delivery mixed;
  mixed.admitted = {6, 600};
  mixed.delivered = {3, 300};
  mixed.discards = {{Reason::when, true, {2, 200}}, {Reason::parse, false, {1, 100}}};
  out.complete(mixed);

  CHECK(told == 2);
  const LedgerSnapshot snapshot = ledger.snapshot();
  CHECK(snapshot.balanced);
  const auto& sink = snapshot.pipelines.at(0).sinks.at(0);
  CHECK(sink.delivered == Amount{7, 700});
  CHECK(sink.discarded.at("when") == Amount{2, 200});
  CHECK(sink.failed.at("parse") == Amount{1, 100});
  CHECK(sink.in_flight == Amount{});
}

TEST_CASE("checkpoint: a reload goes on where the last run was, with and without a state directory") {
  for (const bool on_disk : {false, true}) {
    CAPTURE(on_disk);
    TempDir dir;
    write_file(dir / "log", text_of(5000));
    auto store = open_store(on_disk ? dir / "state" : fs::path());
    store->begin_run({"out"});
    const Resume first = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    SinkProgress& out = store->sink("out", {});
    out.complete(delivery_of(first.file, 0, 2000));
    out.complete(delivery_of(first.file, 3000, 4000));  // behind a hole when the run ended
    store->begin_run({"out", "second"});
    const Resume second = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    CHECK(second.known);
    CHECK(second.file->id == first.file->id);
    CHECK(second.file->delivered_until == std::vector<std::uint64_t>{2000, 0});
    CHECK(store->commit());
    CHECK(fs::exists(dir / "state") == on_disk);
  }
}

TEST_CASE("checkpoint: the journal stays small under many commits and holds the same after it was rewritten") {
  TempDir dir;
  write_file(dir / "log", text_of(2000));
  {
    auto store = open_store(dir / "state", nullptr, 4096);
    store->begin_run({"out"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    SinkProgress& out = store->sink("out", {});
    for (std::uint64_t i = 0; i < 1000; ++i) {
      out.complete(delivery_of(resume.file, i, i + 1));
      REQUIRE(store->commit());
      REQUIRE(fs::file_size(dir / "state/journal") < 8192);
    }
    CHECK(store->commits() == 1000);
    CHECK(store->commit());
    CHECK(store->commits() == 1000);  // nothing had changed
  }
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 0).offset == 1000);
}

namespace {

/// Leaves a journal in which a file of 5000 bytes has been read to 3000, with its identity changed by `change`.
void leave_journal(const TempDir& dir, const std::function<void(FileIdentity&)>& change) {
  write_file(dir / "log", text_of(5000));
  {
    auto store = open_store(dir / "state");
    store->begin_run({"out"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    store->sink("out", {}).complete(delivery_of(resume.file, 0, 3000));
    CHECK(store->commit());
  }
  journal::State state;
  const auto opened = journal::Journal::open(dir / "state", StateFiles::system(), state);
  REQUIRE(opened);
  for (auto& [id, file] : state.files) change(file.identity);
  REQUIRE((*opened)->rewrite(state));
}
Resume attach_in_next(const TempDir& dir, std::uint64_t first_offset) {
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  return store->attach("app", dir / "log", Fd(dir / "log"), first_offset);
}

}  // namespace

TEST_CASE("checkpoint: a file that was made later under the same inode is new, though it begins with the same bytes") {
  TempDir dir;
  std::uint64_t birth = 0;
  leave_journal(dir, [&](FileIdentity& identity) {
    birth = identity.birth_ns;
    identity.birth_ns -= birth == 0 ? 0 : 1;
  });
  const Resume resume = attach_in_next(dir, 0);
  CHECK(resume.known == (birth == 0));
  CHECK(resume.offset == (birth == 0 ? 3000 : 0));
}

TEST_CASE("checkpoint: where the file system keeps no birth times the head decides") {
  TempDir dir;
  leave_journal(dir, [](FileIdentity& identity) { identity.birth_ns = 0; });
  CHECK(attach_in_next(dir, 0).offset == 3000);
}

TEST_CASE("checkpoint: with neither birth time nor head a file is read again, not skipped") {
  const LogCapture log;
  TempDir dir;
  leave_journal(dir, [](FileIdentity& identity) { identity = {identity.device, identity.inode, 0, 0, 0}; });
  // Reading from the end is for files that were never seen.
  const Resume resume = attach_in_next(dir, 5000);
  CHECK_FALSE(resume.known);
  CHECK(resume.offset == 0);
  CHECK(log.contains("read again"));
}

TEST_CASE("checkpoint: a file that was empty when it was seen is found again by its birth time") {
  TempDir dir;
  std::uint64_t birth = 0;
  leave_journal(dir, [&](FileIdentity& identity) {
    birth = identity.birth_ns;
    identity.head_bytes = 0;
    identity.head_hash = 0;
  });
  CHECK(attach_in_next(dir, 0).offset == (birth == 0 ? 0 : 3000));
}

TEST_CASE(
    "checkpoint: a file seen empty without a birth time is known in the same process, and in the next by its head") {
  TempDir dir;
  write_file(dir / "log", "");
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  const Resume first = store->attach("app", dir / "log", Fd(dir / "log"), 0);
  append_file(dir / "log", text_of(3000));
  store->sink("out", {}).complete(delivery_of(first.file, 0, 3000));
  store->begin_run({"out"});  // before any commit could take the head
  CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 0).offset == 3000);
  CHECK(store->commit());
  store.reset();
  CHECK(attach_in_next(dir, 0).offset == 3000);
}

TEST_CASE("checkpoint: files that are removed and made again with the same head are read from their beginning") {
  TempDir dir;
  int reused = 0;
  for (int round = 0; round < 20; ++round) {
    TempDir state;
    write_file(dir / "log", text_of(2000));
    const auto before = identify(Fd(dir / "log"));
    REQUIRE(before);
    auto store = open_store(state / "state");
    store->begin_run({"out"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    store->sink("out", {}).complete(delivery_of(resume.file, 0, 2000));
    fs::remove(dir / "log");
    write_file(dir / "log", text_of(2000) + "more");
    const auto now = identify(Fd(dir / "log"));
    REQUIRE(now);
    // The clock of birth times may not have ticked.
    if (now->inode != before->inode || now->birth_ns == before->birth_ns) continue;
    ++reused;
    store->begin_run({"out"});
    CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 0).offset == 0);
  }
  MESSAGE("inodes used again: ", reused);
}

TEST_CASE("checkpoint: a sink that a source does not reach holds none of its files back") {
  TempDir dir;
  write_file(dir / "log", text_of(5000));
  write_file(dir / "other", text_of(2000));
  const SinkFeeds feeds{{"web", {"app"}}, {"sys", {"kernel"}}};
  {
    auto store = open_store(dir / "state");
    store->begin_run({"web", "sys", "all"}, feeds);
    const Resume app = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    const Resume kernel = store->attach("kernel", dir / "other", Fd(dir / "other"), 0);
    store->sink("web", {}).complete(delivery_of(app.file, 0, 3000));
    store->sink("all", {}).complete(delivery_of(app.file, 0, 4000));
    store->sink("sys", {}).complete(delivery_of(kernel.file, 0, 500));
    store->sink("all", {}).complete(delivery_of(kernel.file, 0, 2000));
    CHECK(store->commit());
  }
  auto store = open_store(dir / "state");
  store->begin_run({"web", "sys", "all"}, feeds);
  const Resume app = store->attach("app", dir / "log", Fd(dir / "log"), 0);
  CHECK(app.offset == 3000);
  CHECK(app.file->delivered_until[0] == 3000);
  CHECK(app.file->delivered_until[2] == 4000);
  CHECK(store->attach("kernel", dir / "other", Fd(dir / "other"), 0).offset == 500);

  // Nor does it keep a file that is gone from being forgotten: every sink that is fed from it has all of it.
  store->sink("web", {}).complete(delivery_of(app.file, 3000, 5000));
  store->sink("all", {}).complete(delivery_of(app.file, 3000, 5000));
  store->finished(app.file, 5000);
  CHECK(store->commit());
  for (const auto& position : store->positions()) CHECK(position.source != "app");
}

TEST_CASE("checkpoint: a batch in several deliveries is settled by the last of them, in whatever order they come") {
  TempDir dir;
  write_file(dir / "log", text_of(5000));
  write_file(dir / "out", "");
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  const SourceFileRef file = store->attach("app", dir / "log", Fd(dir / "log"), 0).file;
  SinkProgress& out = store->sink("out", {});
  const auto part_of = [&](std::shared_ptr<const DeliveryParts> batch, std::uint64_t begin, std::uint64_t end) {
    Delivery delivery = delivery_of(file, begin, end);
    delivery.batch = std::move(batch);
    return delivery;
  };
  REQUIRE(out.announce(mark_of(dir / "out", 0)));
  const auto first = std::make_shared<const DeliveryParts>(DeliveryParts{2});
  const auto second = std::make_shared<const DeliveryParts>(DeliveryParts{2});
  std::uint64_t length = 0;
  const auto complete = [&](const Delivery& delivery) {
    const OutputMark marks[] = {mark_of(dir / "out", length += 10)};
    out.complete(delivery, marks);
  };
  const auto recorded = [&] {
    CHECK(store->commit());
    TempDir copy;
    fs::create_directory(copy / "state");
    fs::copy_file(dir / "state/journal", copy / "state/journal");
    auto next = open_store(copy / "state");
    next->begin_run({"out"});
    const std::uint64_t offset = next->attach("app", dir / "log", Fd(dir / "log"), 0).offset;
    return std::make_pair(offset, next->sink("out", {}).recovered().at(0).length);
  };
  using Recorded = std::pair<std::uint64_t, std::uint64_t>;
  complete(part_of(first, 0, 1000));
  CHECK(recorded() == Recorded{0, 0});  // ten bytes of the batch are in the output, and no position says so
  complete(part_of(second, 1000, 2000));
  complete(part_of(second, 1000, 2000));
  CHECK(recorded() == Recorded{0, 0});
  complete(part_of(first, 0, 1000));
  CHECK(recorded() == Recorded{2000, 40});
  complete(delivery_of(file, 2000, 3000));
  CHECK(recorded() == Recorded{3000, 50});
}

TEST_CASE(
    "checkpoint: a file with the same head but other bytes before the position is read as new, and the log says so") {
  TempDir dir;
  for (const std::size_t size : {1UL, 1030UL, 5000UL}) {
    CAPTURE(size);
    const std::string name = "log" + std::to_string(size);
    const fs::path state = dir / ("state" + std::to_string(size));
    std::string content = text_of(size);
    write_file(dir / name, content);
    {
      auto store = open_store(state);
      store->begin_run({"out"});
      const Resume resume = store->attach("app", dir / name, Fd(dir / name), 0);
      store->sink("out", {}).complete(delivery_of(resume.file, 0, size, content));
      CHECK(store->commit());
    }
    {
      auto store = open_store(state);
      store->begin_run({"out"});
      const Resume resume = store->attach("app", dir / name, Fd(dir / name), 0);
      CHECK(resume.known);
      CHECK_FALSE(resume.mismatch);
      CHECK(resume.offset == size);
    }
    content.back() ^= 1;
    write_file(dir / name, content + "and more");
    const LogCapture log;
    auto store = open_store(state);
    store->begin_run({"out"});
    const Resume resume = store->attach("app", dir / name, Fd(dir / name), 0);
    CHECK_FALSE(resume.known);
    CHECK(resume.mismatch);
    CHECK(resume.offset == 0);
    CHECK(log.contains("a position does not fit the file"));
    CHECK(log.contains(size > FileIdentity::kHeadBytes ? "other bytes before it" : "another beginning"));
  }
}

TEST_CASE("checkpoint: the position of every sink is compared, also of one that does not run") {
  TempDir dir;
  std::string content = text_of(5000);
  write_file(dir / "log", content);
  {
    auto store = open_store(dir / "state");
    store->begin_run({"ahead", "behind"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    store->sink("ahead", {}).complete(delivery_of(resume.file, 0, 4000, content));
    store->sink("behind", {}).complete(delivery_of(resume.file, 0, 2000, content));
    CHECK(store->commit());
  }
  content[3990] ^= 1;
  write_file(dir / "log", content);
  auto store = open_store(dir / "state");
  store->begin_run({"behind"});
  CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 0).mismatch);
}

TEST_CASE("checkpoint: a file that is found in a copy is the copy from then on, and its inode is free for another") {
  TempDir dir;
  const std::string content = text_of(5000);
  write_file(dir / "log", content);
  std::uint64_t id = 0;
  {
    auto store = open_store(dir / "state");
    store->begin_run({"out"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    id = resume.file->id;
    store->sink("out", {}).complete(delivery_of(resume.file, 0, 3000, content));
    CHECK(store->remembered("app").empty());
    CHECK(store->commit());
  }
  write_file(dir / "copy", content);
  write_file(dir / "log", text_of(900, 5));
  {
    auto store = open_store(dir / "state");
    store->begin_run({"out"});
    CHECK(store->remembered("other").empty());
    const std::vector<RememberedFile> remembered = store->remembered("app");
    REQUIRE(remembered.size() == 1);
    CHECK(remembered[0].path == (dir / "log").string());
    REQUIRE(remembered[0].positions.size() == 1);
    CHECK(remembered[0].positions[0] == KnownPosition{3000, witness_of(std::string_view(content).substr(0, 3000))});
    const Resume copy = store->recover(id, Fd(dir / "copy"));
    CHECK(copy.known);
    CHECK(copy.offset == 3000);
    CHECK(copy.file->id == id);
    const Resume fresh = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    CHECK_FALSE(fresh.known);
    CHECK_FALSE(fresh.mismatch);
    store->sink("out", {}).complete(delivery_of(copy.file, 3000, 4000, content));
    store->sink("out", {}).complete(delivery_of(fresh.file, 0, 900));
    CHECK(store->commit());
  }
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  CHECK(store->attach("app", dir / "copy", Fd(dir / "copy"), 0).offset == 4000);
  CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 0).offset == 900);
}

TEST_CASE("checkpoint: content inside of a compressed file keeps its position, whoever has the inode") {
  TempDir dir;
  const std::string content = text_of(5000);
  write_file(dir / "log", content);
  std::uint64_t id = 0;
  std::uint64_t inside_id = 0;
  {
    auto store = open_store(dir / "state");
    store->begin_run({"out"});
    const Resume resume = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    id = resume.file->id;
    store->sink("out", {}).complete(delivery_of(resume.file, 0, 3000, content));
    CHECK(store->commit());
  }
  write_file(dir / "log", text_of(900, 5));
  {
    auto store = open_store(dir / "state");
    store->begin_run({"out"});
    const Resume found = store->recover(id, -1);
    const Resume inside = store->begin_inside("app", dir / "log", identity_of_head(text_of(2000, 6)));
    inside_id = inside.file->id;
    CHECK(inside.offset == 0);
    const Resume fresh = store->attach("app", dir / "log", Fd(dir / "log"), 0);
    store->sink("out", {}).complete(delivery_of(found.file, 3000, 4000, content));
    store->sink("out", {}).complete(delivery_of(inside.file, 0, 50));
    store->sink("out", {}).complete(delivery_of(fresh.file, 0, 100));
    CHECK(store->commit());
  }
  {
    auto store = open_store(dir / "state");
    store->begin_run({"out"});
    CHECK(store->remembered("app").size() == 3);
    CHECK(store->attach("app", dir / "log", Fd(dir / "log"), 0).offset == 100);
    const std::vector<RememberedFile> rest = store->remembered("app");
    REQUIRE(rest.size() == 2);
    CHECK(rest[0].id == id);
    CHECK(rest[1].id == inside_id);
    const Resume found = store->recover(id, -1);
    CHECK(found.offset == 4000);
    CHECK(store->recover(inside_id, -1).offset == 50);
    store->finished(found.file, 4000);
    CHECK(store->commit());
  }
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  CHECK(store->remembered("app").size() == 2);
}
