#include <doctest/doctest.h>

#include <sys/fsuid.h>
#include <sys/resource.h>

#include "sources/file_set.hpp"
#include "tests/sources/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

/// A set of files that is walked when the test says so.
struct Set {
  explicit Set(std::vector<std::string> include, FileSourceSystem with = {})
      : options(follow(std::move(include))), system(std::move(with)) {}

  std::string health() { return surroundings.health.health().body; }

  Surroundings surroundings;
  FileSourceOptions options;
  SourceServices services{surroundings.services()};
  LineCutter lines{LineLimit{}, Counter()};
  TailTools tools{lines, system_read()};
  FileSourceSystem system;
  FileSet files{options, services, tools, system, [] { return true; }};
};

/// Takes away this thread's power to read everything, which root has.
struct Unprivileged {
  Unprivileged() { setfsuid(65534); }
  ~Unprivileged() { setfsuid(geteuid()); }
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;
};

/// Leaves the process only so many descriptors more.
class FewDescriptors {
 public:
  explicit FewDescriptors(unsigned more) {
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    std::vector<Descriptor> taken;
    for (unsigned i = 0; i <= more; ++i) taken.emplace_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
    const rlimit now{static_cast<rlim_t>(taken.back().get()), before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &now) == 0);
  }
  ~FewDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  rlimit before_{};
};

void set_mode(const std::string& path, mode_t mode) {
  REQUIRE(chmod(path.c_str(), mode) == 0);
}

void make_files(const TempDir& directory, int count) {
  for (int i = 0; i < count; ++i) append(directory / ("f" + std::to_string(100 + i)), "line\n");
}

}  // namespace

TEST_CASE("file set: files below a directory that cannot be read for a while are not gone") {
  const TempDir directory;
  const std::string inner = directory / "logs";
  std::filesystem::create_directories(inner + "/app");
  append(inner + "/app/a.log", "one\n");
  std::string locked = inner + "/app";
  mode_t mode = 0;
  std::string pattern = inner + "/app/*.log";
  SUBCASE("its names cannot be listed") {}
  SUBCASE("its names can be listed, but not looked at") {
    mode = 0444;
  }
  SUBCASE("it cannot be reached") {
    locked = inner;
  }
  SUBCASE("a directory on the way cannot be listed") {
    locked = inner;
    pattern = inner + "/*/a.log";
  }
  SUBCASE("a directory on the way can be listed, but nothing in it can be looked at") {
    locked = inner;
    mode = 0444;
    pattern = inner + "/*/a.log";
  }
  SUBCASE("a directory on the way to any depth cannot be listed") {
    locked = inner;
    pattern = directory / "**/*.log";
  }
  Set set({pattern});
  set.files.walk();
  REQUIRE(set.files.files().size() == 1);
  set_mode(locked, mode);
  {
    const Unprivileged guard;
    set.files.walk();
  }
  set_mode(locked, 0755);
  CHECK(set.files.gone().empty());
  CHECK(set.files.first_trouble().find("Permission denied") != std::string::npos);
  set.files.walk();
  CHECK(set.files.gone().empty());
  CHECK(set.files.first_trouble().empty());
  CHECK(set.surroundings.store.attached() == 1);
  // What is really gone is still noticed.
  std::filesystem::remove(inner + "/app/a.log");
  set.files.walk();
  CHECK(set.files.gone().size() == 1);
}

TEST_CASE("file set: a directory for which no descriptor is left waits, and what is below it is not gone") {
  const TempDir directory;
  append(directory / "a.log", "one\n");
  Set set({directory / "*.log"});
  set.files.walk();
  {
    const FewDescriptors none(0);
    set.files.walk();
  }
  CHECK(set.files.gone().empty());
  CHECK(set.files.waiting() == 1);
  CHECK(set.files.first_trouble().empty());
  CHECK(set.health().find("Too many open files") != std::string::npos);
  set.files.walk();
  CHECK(set.files.waiting() == 0);
  CHECK(set.surroundings.store.attached() == 1);
}

TEST_CASE("file set: files for which no descriptor is left wait and are no trouble") {
  const TempDir directory;
  make_files(directory, 8);
  Set set({directory / "f*"});
  {
    const FewDescriptors three(3);
    set.files.walk();
  }
  CHECK(set.files.files().size() == 3);
  CHECK(set.files.waiting() == 5);
  CHECK(set.files.first_trouble().empty());
  CHECK(set.surroundings.metric("logpipe_source_errors_total") == 0);
  set.files.walk();
  CHECK(set.files.files().size() == 8);
  CHECK(set.files.waiting() == 0);
  CHECK(set.health().find("degraded") == std::string::npos);
}

TEST_CASE("file set: leaves 128 descriptors to the rest of the process, but takes 16") {
  const TempDir directory;
  make_files(directory, 30);
  struct Case {
    std::size_t descriptors;
    std::size_t open;
  };
  for (const Case& c : {Case{0, 16}, Case{128, 16}, Case{128 + 20, 20}, Case{128 + 30, 30}}) {
    CAPTURE(c.descriptors);
    FileSourceSystem system;
    system.descriptors_max = c.descriptors;
    Set set({directory / "f*"}, system);
    set.files.walk();
    CHECK(set.files.files().size() == c.open);
    CHECK(set.files.waiting() == 30 - c.open);
  }
}

TEST_CASE("file source: once reads all files though there are more than descriptors") {
  const TempDir directory;
  make_files(directory, 100);
  Surroundings surroundings;
  surroundings.once = true;
  FileSourceSystem system;
  system.descriptors_max = 0;
  Running running(surroundings, make_file_source(follow({directory / "f*"}), surroundings.services(), system));
  CHECK(running.end());
  CHECK(running.lines.size() == 100);
  CHECK(surroundings.store.attached() == 100);
}

TEST_CASE("file source: once without any descriptor is an error, not an empty input") {
  const TempDir directory;
  make_files(directory, 1);
  Surroundings surroundings;
  surroundings.once = true;
  // Found by its name alone; the stop takes a descriptor, then there is none.
  auto source = make_file_source(follow({directory / "f100"}), surroundings.services());
  Status status;
  {
    const FewDescriptors one(1);
    status = source->run(std::move(surroundings.channel.sender), surroundings.context);
  }
  REQUIRE_FALSE(status);
  CHECK(status.error().message.find("Too many open files") != std::string::npos);
}

TEST_CASE("file source: a file that was renamed away and released goes on where it was when it comes back") {
  const TempDir directory;
  const std::string path = directory / "app.log";
  Surroundings surroundings;
  FileSourceOptions options = follow({path});
  options.rotate_wait = std::chrono::milliseconds(0);
  append(path, "one\nunfinished");
  Running running(surroundings, make_file_source(options, surroundings.services()));
  running.await(1);
  rename_file(path, directory / "away");
  running.await(2);  // handed over by the release
  // What is committed is less than what was read: here nothing.
  surroundings.store.remember(directory / "away", 0);
  append(directory / "away", "\ntwo\n");
  rename_file(directory / "away", path);
  running.await(4);
  CHECK(running.texts() == list({"one", "unfinished", "", "two"}));
  CHECK(running.lines[3].file_id == running.lines[0].file_id);
  CHECK(running.lines[3].begin == 15);
  CHECK(surroundings.store.await_finished(0).empty());
  CHECK(surroundings.store.attached() == 1);
  CHECK(running.stop());
}

TEST_CASE("file set: of a path the deleted file that was read last stays known until there is a younger one") {
  const TempDir directory;
  Set set({directory / "*.log"});
  const std::string path = directory / "app.log";
  append(path, "line\n");
  set.files.walk();
  REQUIRE(set.files.files().size() == 1);
  TailedFile& file = *set.files.files().front();
  std::filesystem::remove(path);
  REQUIRE(set.files.look(file));
  set.files.release(file, FileSet::Release::finished);
  CHECK(set.surroundings.store.await_finished(0).empty());
  append(path, "the next generation\n");
  set.files.walk();
  const auto finished = set.surroundings.store.await_finished(1);
  REQUIRE(finished.size() == 1);
  CHECK(finished[0].path == path);
}

TEST_CASE("file set: a released file that still exists is forgotten when too many others are") {
  const TempDir directory;
  FileSourceSystem system;
  system.released_max = 2;
  Set set({directory / "*.log"}, system);
  for (const char* name : {"a", "b", "c"}) append(directory / name + ".log", "line\n");
  set.files.walk();
  REQUIRE(set.files.files().size() == 3);
  std::vector<std::string> released;
  while (!set.files.files().empty()) {
    released.push_back(set.files.files().front()->origin.str());
    set.files.release(*set.files.files().front(), FileSet::Release::finished);
  }
  const auto finished = set.surroundings.store.await_finished(1);
  REQUIRE(finished.size() == 1);
  CHECK(finished[0].path == released[0]);
  set.files.walk();
  CHECK(set.files.files().size() == 3);
  CHECK(set.surroundings.store.attached() == 4);  // the forgotten one anew
}
