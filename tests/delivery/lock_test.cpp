#include <sys/wait.h>

#include "delivery/state_lock.hpp"
#include "tests/delivery/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

TEST_CASE("lock: a second process is refused with the pid of the first, and gets it once the first is killed") {
  TempDir dir;
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto lock = StateLock::take(dir.path());
    const char answer = lock ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char answer = 0;
  REQUIRE(::read(ready[0], &answer, 1) == 1);
  REQUIRE(answer == 'y');
  CheckpointOptions options;
  options.state_dir = dir.path();
  {
    const auto refused = CheckpointStore::open(options);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().kind == ErrorKind::locked);
    CHECK(refused.error().message.find("process " + std::to_string(child)) != std::string::npos);
    CHECK(refused.error().message.find(dir.path().string()) != std::string::npos);
  }
  REQUIRE(::kill(child, SIGKILL) == 0);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  CHECK(CheckpointStore::open(options));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("lock: is free again after it was given back, and moves with its owner") {
  TempDir dir;
  {
    auto first = StateLock::take(dir.path());
    REQUIRE(first);
    const StateLock moved = std::move(*first);
    CHECK_FALSE(StateLock::take(dir.path()));
  }
  CHECK(StateLock::take(dir.path()));
}

TEST_CASE("lock: makes missing directories for the owner only") {
  TempDir dir;
  const fs::path nested = dir / "var/lib/logpipe/";
  REQUIRE(StateLock::take(nested));
  struct stat status {};
  REQUIRE(::stat(nested.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0700);
}

TEST_CASE("lock: a state directory that cannot be is an error with its path") {
  TempDir dir;
  write_file(dir / "file", "x");
  CheckpointOptions options;
  options.state_dir = dir / "file/state";
  const auto store = CheckpointStore::open(options);
  REQUIRE_FALSE(store);
  CHECK(store.error().kind == ErrorKind::io);
  CHECK(store.error().message.find("file/state") != std::string::npos);
  options.state_dir = "/proc/logpipe-state";
  CHECK_FALSE(CheckpointStore::open(options));
}
