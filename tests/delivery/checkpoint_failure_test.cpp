#include "delivery/checkpoint.hpp"
#include "tests/delivery/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

constexpr long kEndless = std::numeric_limits<long>::max();

struct Run {
  explicit Run(const TempDir& dir, StateFiles& files, std::vector<std::string> sinks = {"out"}) {
    write_file(dir / "log", text_of(100'000));
    store = open_store(dir / "state", &files);
    store->begin_run(std::move(sinks));
    file = store->attach("app", dir / "log", Fd(dir / "log"), 0).file;
  }
  std::unique_ptr<CheckpointStore> store;
  SourceFileRef file;
};

std::uint64_t next_position(const TempDir& dir, const std::string& sink = "out") {
  TempDir copy;
  fs::create_directory(copy / "state");
  fs::copy_file(dir / "state/journal", copy / "state/journal");
  auto store = open_store(copy / "state");
  store->begin_run({sink});
  return store->attach("app", dir / "log", Fd(dir / "log"), 0).offset;
}

OutputMark synced_mark(const fs::path& path, std::uint64_t length) {
  OutputMark mark = mark_of(path, length);
  mark.sync = std::make_shared<const OutputHandle>(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return mark;
}

}  // namespace

TEST_CASE("commit: on a full disk the old checkpoint stays, the failure is counted, and the next commit catches up") {
  const LogCapture quiet;
  TempDir dir;
  FaultyFiles files;
  Run run(dir, files);
  SinkProgress& out = run.store->sink("out", {});
  out.complete(delivery_of(run.file, 0, 100));
  CHECK(run.store->commit());
  const std::string before = read_file(dir / "state/journal");
  files.room = 5;
  out.complete(delivery_of(run.file, 100, 200));
  const Status failed = run.store->commit();
  REQUIRE_FALSE(failed);
  CHECK(failed.error().kind == ErrorKind::io);
  CHECK(failed.error().message.find("No space left") != std::string::npos);
  CHECK(failed.error().message.find("journal") != std::string::npos);
  CHECK(run.store->commit_failures() == 1);
  CHECK(read_file(dir / "state/journal") == before);
  CHECK(next_position(dir) == 100);
  out.complete(delivery_of(run.file, 200, 300));
  CHECK_FALSE(run.store->commit());
  files.room = kEndless;
  CHECK(run.store->commit());
  CHECK(next_position(dir) == 300);
  CHECK(run.store->commits() == 2);
  CHECK(run.store->commit_failures() == 2);
}

TEST_CASE("commit: after a failed sync of the journal the next commit writes it anew") {
  const LogCapture quiet;
  TempDir dir;
  FaultyFiles files;
  Run run(dir, files);
  SinkProgress& out = run.store->sink("out", {});
  out.complete(delivery_of(run.file, 0, 100));
  CHECK(run.store->commit());
  struct stat before {};
  REQUIRE(::stat((dir / "state/journal").c_str(), &before) == 0);
  const Fd keep(dir / "state/journal");  // so that its inode is not used again
  files.sync_error = EIO;
  out.complete(delivery_of(run.file, 100, 200));
  CHECK_FALSE(run.store->commit());
  CHECK_FALSE(run.store->commit());  // the new file cannot be synced either
  files.sync_error = 0;
  CHECK(run.store->commit());
  CHECK(next_position(dir) == 200);
  struct stat after {};
  REQUIRE(::stat((dir / "state/journal").c_str(), &after) == 0);
  CHECK(after.st_ino != before.st_ino);
}

TEST_CASE("commit: one write and one sync of the journal for all sinks, and one sync per output that asks for it") {
  TempDir dir;
  FaultyFiles files;
  Run run(dir, files, {"a", "b", "c"});
  for (const char* name : {"a", "b"}) {
    write_file(dir / name, "");
    REQUIRE(run.store->sink(name, {}).announce(mark_of(dir / name, 0)));
  }
  CHECK(run.store->commit());
  files.writes = files.syncs = 0;
  const OutputMark a[] = {synced_mark(dir / "a", 10)};
  const OutputMark b[] = {mark_of(dir / "b", 20)};
  run.store->sink("a", {}).complete(delivery_of(run.file, 0, 100), a);
  run.store->sink("b", {}).complete(delivery_of(run.file, 0, 200), b);
  run.store->sink("c", {}).complete(delivery_of(run.file, 0, 300));
  CHECK(run.store->commit());
  CHECK(files.writes == 1);
  CHECK(files.syncs == 2);
  CHECK(run.store->commit());
  CHECK(files.writes == 1);
  CHECK(files.syncs == 2);
}

TEST_CASE("commit: outputs are synced before the record that speaks of them is written") {
  TempDir dir;
  FaultyFiles files;
  Run run(dir, files);
  write_file(dir / "out", "");
  REQUIRE(run.store->sink("out", {}).announce(synced_mark(dir / "out", 0)));
  CHECK(run.store->commit());
  files.syncs = 0;
  int syncs_before_write = -1;
  files.on_write = [&] { syncs_before_write = files.syncs; };
  const OutputMark mark[] = {synced_mark(dir / "out", 10)};
  run.store->sink("out", {}).complete(delivery_of(run.file, 0, 100), mark);
  CHECK(run.store->commit());
  CHECK(syncs_before_write == 1);
}

TEST_CASE("commit: a failed sync of an output holds that sink back until the next run, and no other") {
  const LogCapture log;
  TempDir dir;
  FaultyFiles files;
  Run run(dir, files, {"bad", "good"});
  write_file(dir / "out", "");
  SinkProgress& bad = run.store->sink("bad", {});
  SinkProgress& good = run.store->sink("good", {});
  REQUIRE(bad.announce(mark_of(dir / "out", 0)));
  const OutputMark first[] = {synced_mark(dir / "out", 10)};
  bad.complete(delivery_of(run.file, 0, 100), first);
  CHECK(run.store->commit());

  files.output_sync_error = EIO;
  const OutputMark second[] = {synced_mark(dir / "out", 20)};
  bad.complete(delivery_of(run.file, 100, 200), second);
  good.complete(delivery_of(run.file, 0, 200));
  const Status failed = run.store->commit();
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message.find("sink bad") != std::string::npos);
  CHECK(log.contains("stays at its last checkpoint"));
  CHECK(next_position(dir, "bad") == 100);
  CHECK(next_position(dir, "good") == 200);

  // The kernel reports a lost write once; that the next sync succeeds proves nothing.
  files.output_sync_error = 0;
  const OutputMark third[] = {synced_mark(dir / "out", 30)};
  bad.complete(delivery_of(run.file, 200, 300), third);
  CHECK_FALSE(run.store->commit());
  CHECK(next_position(dir, "bad") == 100);

  run.store->begin_run({"bad", "good"});
  SinkProgress& again = run.store->sink("bad", {});
  REQUIRE(again.recovered().size() == 1);
  CHECK(again.recovered()[0].length == 10);
  const Resume resume = run.store->attach("app", dir / "log", Fd(dir / "log"), 0);
  CHECK(resume.file->delivered_until == std::vector<std::uint64_t>{100, 200});
  const OutputMark redone[] = {synced_mark(dir / "out", 20)};
  again.complete(delivery_of(resume.file, 100, 200), redone);
  CHECK(run.store->commit());
  CHECK(next_position(dir, "bad") == 200);
}

TEST_CASE("commit: an announcement that cannot be written is an error and can be repeated") {
  TempDir dir;
  FaultyFiles files;
  Run run(dir, files);
  write_file(dir / "out", "");
  SinkProgress& out = run.store->sink("out", {});
  files.room = 3;
  CHECK_FALSE(out.announce(mark_of(dir / "out", 40)));
  files.room = kEndless;
  CHECK(out.announce(mark_of(dir / "out", 40)));
  run.store.reset();
  auto store = open_store(dir / "state");
  store->begin_run({"out"});
  REQUIRE(store->sink("out", {}).recovered().size() == 1);
  CHECK(store->sink("out", {}).recovered()[0].length == 40);
}

TEST_CASE("commit: a failed output and a failed journal can be told apart, also when both have failed") {
  TempDir dir;
  write_file(dir / "log", text_of(5000));
  write_file(dir / "out", "");
  FaultyFiles files;
  auto store = open_store(dir / "state", &files);
  store->begin_run({"bad", "good"});
  const SourceFileRef file = store->attach("app", dir / "log", Fd(dir / "log"), 0).file;
  SinkProgress& bad = store->sink("bad", {});
  SinkProgress& good = store->sink("good", {});
  CHECK(store->commit());
  CHECK_FALSE(store->output_failure());

  // The journal alone.
  good.complete(delivery_of(file, 0, 1000));
  files.room = 0;
  Status failed = store->commit();
  REQUIRE_FALSE(failed);
  CHECK(failed.error().kind == ErrorKind::io);
  CHECK(failed.error().message.starts_with("checkpoint journal: "));
  CHECK_FALSE(store->output_failure());

  // Both: what is wrong with the journal is said, and the output is not forgotten.
  REQUIRE_FALSE(bad.announce(mark_of(dir / "out", 0)));
  files.room = std::numeric_limits<long>::max();
  REQUIRE(bad.announce(mark_of(dir / "out", 0)));
  OutputMark mark = mark_of(dir / "out", 10);
  mark.sync = std::make_shared<const OutputHandle>(::open((dir / "out").c_str(), O_WRONLY | O_CLOEXEC));
  bad.complete(delivery_of(file, 0, 1000), {&mark, 1});
  files.output_sync_error = EIO;
  files.room = 0;
  failed = store->commit();
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message.starts_with("checkpoint journal: "));
  REQUIRE(store->output_failure());
  CHECK(store->output_failure()->kind == ErrorKind::io);
  CHECK(store->output_failure()->message.starts_with("sync output of sink bad: "));

  // The output alone, which no later success makes good.
  files.output_sync_error = 0;
  files.room = std::numeric_limits<long>::max();
  failed = store->commit();
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message == store->output_failure()->message);
  CHECK(position_of(*store, "good", file->id) == 1000);
  store->begin_run({"bad", "good"});
  CHECK_FALSE(store->output_failure());
  CHECK(store->commit());
}

TEST_CASE("commit: an announcement is synced exactly when the output asks for it") {
  TempDir dir;
  FaultyFiles files;
  Run run(dir, files);
  write_file(dir / "a", "");
  write_file(dir / "b", "");
  files.syncs = 0;
  CHECK(run.store->sink("out", {}).announce(mark_of(dir / "a", 0)));
  CHECK(files.syncs == 0);
  CHECK(run.store->sink("out", {}).announce(synced_mark(dir / "b", 0)));
  CHECK(files.syncs == 1);
}

TEST_CASE("commit: a rewrite that fails for want of space does not fail the commit") {
  const LogCapture log;
  TempDir dir;
  struct NoNewFile : FaultyFiles {
    bool refuse{false};
    Result<int> open(const fs::path& path, int flags) override {
      if (refuse && path.filename() == "journal.new") return fail(Error::from_errno(ENOSPC, "open journal.new"));
      return FaultyFiles::open(path, flags);
    }
  } files;
  write_file(dir / "log", text_of(5000));
  auto store = open_store(dir / "state", &files, 1024);
  files.refuse = true;
  store->begin_run({"out"});
  const SourceFileRef file = store->attach("app", dir / "log", Fd(dir / "log"), 0).file;
  SinkProgress& out = store->sink("out", {});
  for (std::uint64_t i = 0; i < 100; ++i) {
    out.complete(delivery_of(file, i, i + 1));
    REQUIRE(store->commit());
  }
  CHECK(log.contains("goes on growing"));
  files.refuse = false;
  for (std::uint64_t i = 100; i < 300; ++i) {
    out.complete(delivery_of(file, i, i + 1));
    REQUIRE(store->commit());
  }
  CHECK(fs::file_size(dir / "state/journal") < 8192);
  CHECK(next_position(dir) == 300);
}
