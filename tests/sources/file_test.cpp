#include "sources/file.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include <sys/fsuid.h>

#include "tests/sources/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

std::size_t entries_of(const char* directory) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator()));
}

std::vector<std::string> numbered(const std::string& prefix, int from, int to) {
  std::vector<std::string> lines;
  for (int i = from; i < to; ++i) lines.push_back(prefix + std::to_string(i));
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

}  // namespace

TEST_CASE("file source: follows a file that grows in steps, a line once it is complete") {
  const TempDir directory;
  Surroundings surroundings;
  append(directory / "app.log", "one\ntw");
  Running running(surroundings, make_file_source(follow({directory / "*.log"}), surroundings.services()));
  running.await(1);
  append(directory / "app.log", "o\r\n");
  running.await(2);
  append(directory / "app.log", "partial");
  append(directory / "marker.log", "marker\n");
  running.await_line("marker");
  CHECK(running.texts() == list({"one", "two\r", "marker"}));
  append(directory / "app.log", " complete\n");
  running.await(4);
  CHECK(running.texts_of(directory / "app.log") == list({"one", "two\r", "partial complete"}));
  CHECK(running.lines.back().begin == 9);
  CHECK(running.stop());
}

TEST_CASE("file source: many small files share a block, each with its own segment") {
  const TempDir directory;
  Surroundings surroundings;
  surroundings.once = true;
  for (int i = 10; i < 30; ++i) append(directory / ("f" + std::to_string(i)), std::string(20, 'x') + "\n");
  Running running(surroundings, make_file_source(follow({directory / "f*"}), surroundings.services()));
  const BlockRef block = running.next_block();
  REQUIRE(block != nullptr);
  REQUIRE(block->segments.size() == 20);
  CHECK(block->capacity() == 4096);
  std::set<std::string> paths;
  for (std::size_t i = 0; i < 20; ++i) {
    const Segment& segment = block->segments[i];
    CHECK(segment.begin == i * 21);
    CHECK(segment.end == (i + 1) * 21);
    CHECK(segment.file_begin == 0);
    CHECK(segment.file_end == 21);
    paths.insert(segment.file->path);
  }
  CHECK(paths.size() == 20);
  CHECK(running.end());
  CHECK(running.lines.size() == 20);
}

TEST_CASE("file source: a renamed file is read to its end before the new one, while it is being written") {
  const TempDir directory;
  const std::string path = directory / "app.log";
  Surroundings surroundings;
  FileSourceOptions options = follow({path});
  options.rotate_wait = std::chrono::milliseconds(0);
  append(path, "the beginning\n");
  Running running(surroundings, make_file_source(options, surroundings.services()));
  running.await(1);
  constexpr int kRotations = 20;
  constexpr int kLines = 500;
  std::thread writer([&] {
    for (int rotation = 0; rotation < kRotations; ++rotation) {
      for (int i = 0; i < kLines; i += 50) {
        append(path, joined(numbered("line ", rotation * kLines + i, rotation * kLines + i + 50)));
      }
      // A chain of renames, as logrotate does it.
      for (int old = rotation; old > 0; --old) {
        rename_file(path + "." + std::to_string(old), path + "." + std::to_string(old + 1));
      }
      rename_file(path, path + ".1");
    }
    append(path, "the end\n");
  });
  running.await_line("the end");
  writer.join();
  std::vector<std::string> expected = numbered("line ", 0, kRotations * kLines);
  expected.insert(expected.begin(), "the beginning");
  expected.push_back("the end");
  REQUIRE(running.lines.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) REQUIRE(running.lines[i].text == expected[i]);
  CHECK(running.stop());
}

TEST_CASE("file source: renames inside the patterns move a name, not the reading") {
  const TempDir directory;
  const std::string path = directory / "app.log";
  Surroundings surroundings;
  append(path, "one\n");
  Running running(surroundings, make_file_source(follow({directory / "app.log*"}), surroundings.services()));
  running.await(1);
  rename_file(path, path + ".1");
  append(path, "three\n");
  running.await_line("three");
  append(path + ".1", "two\n");
  running.await_line("two");
  rename_file(path + ".1", path + ".2");
  rename_file(path, path + ".1");
  append(path + ".2", "old\n");
  append(path + ".1", "new\n");
  running.await(5);
  CHECK(running.stop());
  std::set<std::string> texts;
  for (const std::string& text : running.texts()) texts.insert(text);
  CHECK(texts == std::set<std::string>{"one", "two", "three", "old", "new"});
  CHECK(surroundings.store.attached() == 2);
  CHECK(surroundings.store.await_finished(0).empty());
}

TEST_CASE("file source: what is appended to a file after its rename is not lost, its last line neither") {
  const TempDir directory;
  const std::string path = directory / "app.log";
  Surroundings surroundings;
  FileSourceOptions options = follow({path});
  options.rotate_wait = std::chrono::hours(1);
  SUBCASE("while its writer is busy") {
    append(path, "one\n");
    Running running(surroundings, make_file_source(options, surroundings.services()));
    running.await(1);
    rename_file(path, path + ".1");
    append(path, "new\n");
    running.await_line("new");
    append(path + ".1", "late\n");
    running.await_line("late");
    CHECK(running.lines.back().file_id == running.lines.front().file_id);
    CHECK(surroundings.metric("logpipe_source_rotations_total") == 1);
    CHECK(surroundings.metric("logpipe_source_open_files") == 2);
    CHECK(running.stop());
  }
  SUBCASE("until it has been quiet") {
    options.rotate_wait = std::chrono::milliseconds(1);
    append(path, "one\nunfinished");
    Running running(surroundings, make_file_source(options, surroundings.services()));
    running.await(1);
    rename_file(path, path + ".1");
    running.await(2);
    CHECK(running.texts() == list({"one", "unfinished"}));
    CHECK(surroundings.metric("logpipe_source_open_files") == 0);
    CHECK(surroundings.store.await_finished(0).empty());  // it still exists, and may come back
    CHECK(running.stop());
  }
}

TEST_CASE("file source: a deleted file is read to its end and released") {
  const TempDir directory;
  const std::string path = directory / "app.log";
  // One slot in the channel and nobody receiving: the file is deleted while there is more to read.
  Surroundings surroundings(64 * 1024 * 1024, 1);
  FileSourceOptions options = follow({path});
  options.rotate_wait = std::chrono::milliseconds(1);
  const std::vector<std::string> lines = numbered("a line of some length ", 0, 60'000);
  append(path, joined(lines));
  Running running(surroundings, make_file_source(options, surroundings.services()));
  CHECK(running.next_block() != nullptr);
  std::filesystem::remove(path);
  running.await(lines.size());
  CHECK(running.texts() == lines);
  const std::uint64_t end = running.lines.back().end;
  append(path, "again\n");
  running.await(lines.size() + 1);
  CHECK(running.lines.back().begin == 0);
  // Only now: the youngest of its path stays known.
  const auto finished = surroundings.store.await_finished(1);
  REQUIRE(finished.size() == 1);
  CHECK(finished[0].path == path);
  CHECK(finished[0].end == end);
  CHECK(running.stop());
}

TEST_CASE("file source: a truncated file is read from its beginning as a new one") {
  const TempDir directory;
  const std::string path = directory / "app.log";
  Surroundings surroundings;
  append(path, "one\ntwo\n");
  Running running(surroundings, make_file_source(follow({path}), surroundings.services()));
  running.await(2);
  REQUIRE(truncate(path.c_str(), 0) == 0);
  append(path, "new\n");
  running.await(3);
  CHECK(running.lines[2].begin == 0);
  CHECK(running.lines[2].file_id != running.lines[0].file_id);
  CHECK(surroundings.store.restarts() == 1);
  CHECK(surroundings.metric("logpipe_source_truncations_total") == 1);
  CHECK(running.stop());
}

TEST_CASE("file source: a file is read once however many names lead to it") {
  const TempDir directory;
  std::filesystem::create_directory(directory / "d");
  Surroundings surroundings;
  append(directory / "d/app.log", "one\n");
  std::filesystem::create_hard_link(directory / "d/app.log", directory / "d/hard.log");
  std::filesystem::create_symlink(directory / "d/app.log", directory / "soft.log");
  Running running(surroundings,
                  make_file_source(follow({directory / "d/*.log", directory / "*.log", directory / "**/app.log"}),
                                   surroundings.services()));
  running.await(1);
  append(directory / "d/hard.log", "two\n");
  running.await(2);
  append(directory / "marker.log", "marker\n");
  running.await(3);
  CHECK(surroundings.store.attached() == 2);
  CHECK(running.stop());
}

TEST_CASE("file source: a link to a file elsewhere is followed, and changes there are noticed") {
  const TempDir directory;
  const TempDir elsewhere;
  Surroundings surroundings;
  append(elsewhere / "real", "one\n");
  std::filesystem::create_symlink(elsewhere / "real", directory / "app.log");
  Running running(surroundings, make_file_source(follow({directory / "*.log"}), surroundings.services()));
  running.await(1);
  append(elsewhere / "real", "two\n");
  running.await(2);
  CHECK(running.lines.back().path == directory / "app.log");
  CHECK(running.stop());
}

TEST_CASE("file source: new files are found as they come, in new directories too") {
  const TempDir directory;
  Surroundings surroundings;
  Running running(surroundings, make_file_source(follow({directory / "logs/*/app.log", directory / "new.log"}),
                                                 surroundings.services()));
  append(directory / "new.log", "one\n");
  running.await(1);
  std::filesystem::create_directories(directory / "logs/a");
  append(directory / "logs/a/app.log", "two\n");
  running.await(2);
  std::filesystem::create_directories(directory / "logs/b");
  append(directory / "logs/b/app.log", "three\n");
  running.await(3);
  std::filesystem::rename(directory / "logs", directory / "old");
  std::filesystem::create_directories(directory / "logs/a");
  append(directory / "logs/a/app.log", "four\n");
  running.await(4);
  CHECK(running.texts() == list({"one", "two", "three", "four"}));
  CHECK(running.stop());
}

TEST_CASE("file source: excluded files, directories and FIFOs are left alone") {
  const TempDir directory;
  Surroundings surroundings;
  append(directory / "a.log", "one\n");
  append(directory / "b.log.gz", "packed\n");
  append(directory / "c.log", "excluded by path\n");
  std::filesystem::create_directory(directory / "d.log");
  REQUIRE(mkfifo((directory / "e.log").c_str(), 0644) == 0);
  FileSourceOptions options = follow({directory / "*.log*"});
  options.exclude = {"*.gz", directory / "c*"};
  Running running(surroundings, make_file_source(options, surroundings.services()));
  running.await(1);
  append(directory / "f.log.gz", "packed\n");
  append(directory / "z.log", "two\n");
  running.await(2);
  CHECK(running.texts() == list({"one", "two"}));
  CHECK(running.stop());
}

TEST_CASE(
    "file source: read_from end begins behind the last whole line of what is there, later files at their beginning") {
  const TempDir directory;
  Surroundings surroundings;
  append(directory / "a.log", "old\nunfin");
  append(directory / "known.log", "one\ntwo\n");
  surroundings.store.remember(directory / "known.log", 4);
  FileSourceOptions options = follow({directory / "*.log"});
  options.read_from = ReadFrom::end;
  Running running(surroundings, make_file_source(options, surroundings.services()));
  running.await(1);
  CHECK(running.texts() == list({"two"}));  // a checkpoint wins
  append(directory / "a.log", "ished\n");
  running.await(2);
  append(directory / "b.log", "new\n");
  running.await(3);
  CHECK(running.texts() == list({"two", "unfinished", "new"}));
  CHECK(running.stop());
}

TEST_CASE("file source: once reads everything to its end, the unfinished last line included, and returns") {
  const TempDir directory;
  Surroundings surroundings;
  surroundings.once = true;
  append(directory / "a.log", "one\ntwo");
  append(directory / "b.log", "");
  append(directory / "c.log", std::string(600'000, 'x') + "\nlast");
  FileSourceOptions options = follow({directory / "*.log"});
  SUBCASE("all at a time") {}
  SUBCASE("one at a time") {
    options.max_open_files = 1;
  }
  Running running(surroundings, make_file_source(options, surroundings.services()));
  CHECK(running.end());
  CHECK(running.texts_of(directory / "a.log") == list({"one", "two"}));
  CHECK(running.texts_of(directory / "c.log") == std::vector<std::string>{std::string(600'000, 'x'), "last"});
  CHECK(surroundings.store.await_finished(0).empty());
}

TEST_CASE("file source: once without any match is an error that names the patterns") {
  const TempDir directory;
  Surroundings surroundings;
  surroundings.once = true;
  Running running(surroundings,
                  make_file_source(follow({directory / "*.log", directory / "x"}), surroundings.services()));
  const Status status = running.end();
  REQUIRE_FALSE(status);
  CHECK(status.error().kind == ErrorKind::io);
  CHECK(status.error().message == "no file matches " + directory / "*.log" + ", " + directory / "x");
}

TEST_CASE("file source: a file that cannot be opened is reported and tried again, the others go on") {
  if (geteuid() != 0) return;  // the test takes away the power to read everything, which only root has
  const TempDir directory;
  append(directory / "locked.log", "secret\n");
  REQUIRE(chmod((directory / "locked.log").c_str(), 0) == 0);
  append(directory / "open.log", "one\n");

  struct Unprivileged : Source {
    std::unique_ptr<Source> source;
    Status run(Sender<BlockRef> out, const RunContext& ctx) override {
      setfsuid(65534);  // of this thread only
      return source->run(std::move(out), ctx);
    }
  };
  Surroundings surroundings;
  SUBCASE("following") {
    FileSourceOptions options = follow({directory / "*.log"});
    options.discovery_interval = std::chrono::milliseconds(10);
    auto source = std::make_unique<Unprivileged>();
    source->source = make_file_source(options, surroundings.services());
    Running running(surroundings, std::move(source));
    running.await(1);
    CHECK(surroundings.health.health().body.find("Permission denied") != std::string::npos);
    CHECK(surroundings.health.health().status == 200);
    CHECK(surroundings.metric("logpipe_source_errors_total") >= 1);
    REQUIRE(chmod((directory / "locked.log").c_str(), 0644) == 0);
    running.await(2);
    CHECK(running.texts() == list({"one", "secret"}));
    CHECK(running.stop());
  }
  SUBCASE("once: the rest is read, and then it is an error") {
    surroundings.once = true;
    auto source = std::make_unique<Unprivileged>();
    source->source = make_file_source(follow({directory / "*.log"}), surroundings.services());
    Running running(surroundings, std::move(source));
    const Status status = running.end();
    CHECK(running.texts() == list({"one"}));
    REQUIRE_FALSE(status);
    CHECK(status.error().message == "open " + directory / "locked.log" + ": Permission denied");
  }
}

TEST_CASE("file source: a read error is reported and tried again, the others go on") {
  const TempDir directory;
  append(directory / "a.log", "broken for a while\n");
  append(directory / "b.log", "one\n");
  struct stat info {};
  REQUIRE(stat((directory / "a.log").c_str(), &info) == 0);
  std::atomic<bool> broken{true};
  FileSourceSystem system;
  system.read = [&, inode = info.st_ino](int fd, const iovec* parts, int count, off_t offset) -> ssize_t {
    struct stat now {};
    fstat(fd, &now);
    if (broken && now.st_ino == inode) {
      errno = EIO;
      return -1;
    }
    return preadv(fd, parts, count, offset);
  };
  Surroundings surroundings;
  FileSourceOptions options = follow({directory / "*.log"});
  options.discovery_interval = std::chrono::milliseconds(10);
  Running running(surroundings, make_file_source(options, surroundings.services(), system));
  running.await(1);
  CHECK(running.texts() == list({"one"}));
  CHECK(surroundings.health.health().body.find("Input/output error") != std::string::npos);
  broken = false;
  running.await(2);
  append(directory / "b.log", "two\n");
  running.await(3);
  CHECK(surroundings.health.health().body.find("degraded") == std::string::npos);
  CHECK(surroundings.metric("logpipe_source_lag_bytes") == 0);
  CHECK(running.stop());
}

TEST_CASE("file source: without inotify watches the scan finds everything, and the health says so") {
  const TempDir directory;
  Surroundings surroundings;
  FileSourceOptions options = follow({directory / "*.log"});
  options.discovery_interval = std::chrono::milliseconds(10);
  FileSourceSystem system;
  system.inotify_watches_max = 0;
  append(directory / "a.log", "one\n");
  Running running(surroundings, make_file_source(options, surroundings.services(), system));
  running.await(1);
  CHECK(surroundings.health.health().body.find("1 directories are not watched") != std::string::npos);
  append(directory / "a.log", "two\n");
  running.await(2);
  append(directory / "b.log", "three\n");
  running.await(3);
  rename_file(directory / "a.log", directory / "a.log.1");
  append(directory / "a.log", "four\n");
  running.await(4);
  CHECK(running.texts() == list({"one", "two", "three", "four"}));
  CHECK(running.stop());
}

TEST_CASE("file source: with more files than descriptors they take turns, and none is missed") {
  const TempDir directory;
  Surroundings surroundings;
  FileSourceOptions options = follow({directory / "*.log"});
  options.max_open_files = 3;
  options.rotate_wait = std::chrono::milliseconds(1);
  FileSourceSystem system;
  system.held_back_max = 0;
  constexpr std::size_t kFiles = 40;
  const auto path = [&](std::size_t i) { return directory / ("f" + std::to_string(i) + ".log"); };
  for (std::size_t i = 0; i < kFiles; ++i) append(path(i), "one\n");
  Running running(surroundings, make_file_source(options, surroundings.services(), system));
  running.await(kFiles);
  CHECK(surroundings.metric("logpipe_source_open_files") <= 3);
  for (std::size_t i = 0; i < kFiles; ++i) append(path(i), "two " + std::to_string(i) + "\n");
  running.await(2 * kFiles);
  // Truncated, removed and renamed while closed.
  REQUIRE(truncate(path(0).c_str(), 0) == 0);
  append(path(0), "three\n");
  for (std::size_t i = 1; i < 10; ++i) std::filesystem::remove(path(i));
  for (std::size_t i = 10; i < 20; ++i) rename_file(path(i), directory / ("moved" + std::to_string(i) + ".log"));
  for (std::size_t i = 10; i < 20; ++i) append(directory / ("moved" + std::to_string(i) + ".log"), "three\n");
  running.await(2 * kFiles + 11);
  CHECK(surroundings.store.await_finished(9).size() == 9);
  CHECK(surroundings.health.health().body.find("degraded") == std::string::npos);
  CHECK(running.stop());
  CHECK(running.lines.size() == 2 * kFiles + 11);
  CHECK(surroundings.store.attached() == kFiles);
}

TEST_CASE("file source: a line that does not end is delivered after partial_line_timeout") {
  const TempDir directory;
  Surroundings surroundings;
  FileSourceOptions options = follow({directory / "*.log"});
  options.partial_line_timeout = std::chrono::milliseconds(1);
  append(directory / "a.log", "one\nprompt> ");
  Running running(surroundings, make_file_source(options, surroundings.services()));
  running.await(2);
  CHECK(running.texts() == list({"one", "prompt> "}));
  append(directory / "a.log", "answer\n");
  running.await(3);
  CHECK(running.lines.back().text == "answer");
  CHECK(running.stop());
}

TEST_CASE("file source: the stop wakes an idle source at once and leaves an unfinished line for the next time") {
  const TempDir directory;
  Surroundings surroundings;
  append(directory / "a.log", "one\nunfinished");
  FileSourceOptions options = follow({directory / "*.log"});
  Running running(surroundings, make_file_source(options, surroundings.services()));
  running.await(1);
  CHECK(running.stop());  // would wait for an hour otherwise
  CHECK(running.texts() == list({"one"}));
}

TEST_CASE("file source: an aborted run, or a receiver that has gone, ends a source blocked in its channel") {
  const TempDir directory;
  append(directory / "a.log", joined(numbered("a line of some length ", 0, 100'000)));
  Surroundings surroundings(64 * 1024 * 1024, 1);
  Running running(surroundings, make_file_source(follow({directory / "*.log"}), surroundings.services()));
  CHECK(running.next_block() != nullptr);
  SUBCASE("aborted") {
    surroundings.run.cancel();
  }
  SUBCASE("receiver gone") {
    running.drop_receiver();
  }
  CHECK(running.join());
}

TEST_CASE("file source: a stop while it waits for memory ends it") {
  const TempDir directory;
  append(directory / "a.log", joined(numbered("a line of some length ", 0, 100'000)));
  Surroundings surroundings(BlockPool::kBlockBytes, 8);
  Running running(surroundings, make_file_source(follow({directory / "*.log"}), surroundings.services()));
  const BlockRef held = running.next_block();  // the whole budget
  CHECK(running.stop());
}

TEST_CASE("file source: a budget of one block is enough for many files and long lines") {
  const TempDir directory;
  Surroundings surroundings(BlockPool::kBlockBytes, 1);
  surroundings.once = true;
  std::size_t expected = 0;
  for (int file = 0; file < 8; ++file) {
    const std::string path = directory / ("f" + std::to_string(file));
    append(path, joined(numbered("some line ", 0, 20'000)) + std::string(700'000, 'x') + "\n" +
                     joined(numbered("more ", 0, 9)));
    expected += 20'000 + 1 + 9;
  }
  Running running(surroundings, make_file_source(follow({directory / "f*"}), surroundings.services()));
  CHECK(running.end());
  CHECK(running.lines.size() == expected);
  CHECK(surroundings.pool.used() == 0);
}

TEST_CASE("file source: no file starves beside a large one") {
  const TempDir directory;
  Surroundings surroundings(64 * 1024 * 1024, 1);
  append(directory / "large.log", joined(numbered("a line of some length ", 0, 200'000)));
  append(directory / "small.log", "here\n");
  Running running(surroundings, make_file_source(follow({directory / "*.log"}), surroundings.services()));
  running.await_line("here");
  CHECK(running.lines.size() < 40'000);
  CHECK(running.stop());
}

TEST_CASE("file source: descriptors and threads are back at their number after a run") {
  const TempDir directory;
  for (int i = 0; i < 5; ++i) append(directory / ("f" + std::to_string(i)), "line\n");
  const auto run_once = [&] {
    Surroundings surroundings;
    Running running(surroundings, make_file_source(follow({directory / "f*"}), surroundings.services()));
    running.await(5);
    CHECK(running.stop());
  };
  run_once();
  const std::size_t descriptors = entries_of("/proc/self/fd");
  const std::size_t threads = entries_of("/proc/self/task");
  for (int i = 0; i < 20; ++i) run_once();
  CHECK(entries_of("/proc/self/fd") == descriptors);
  CHECK(entries_of("/proc/self/task") == threads);
}
