// The disk that the simulation rests on: what survives what.

#include "tests/support/virtual_disk.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <set>
#include <string>

#include "tests/support/fiber.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

std::span<const char> bytes_of(std::string_view text) {
  return {text.data(), text.size()};
}
/// A new file with that text, of which nothing is synced.
int write_file(VirtualDisk& disk, const std::string& path, std::string_view text) {
  const int fd = disk.open(path, O_RDWR | O_CREAT);
  REQUIRE(fd >= 0);
  REQUIRE(disk.write(fd, bytes_of(text), 0) == static_cast<ssize_t>(text.size()));
  return fd;
}
/// Whatever a file holds after the power was lost, over many disks.
template <class Prepare>
std::set<std::string> survivors(const std::string& path, Prepare prepare) {
  std::set<std::string> found;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    VirtualDisk disk(seed);
    prepare(disk);
    disk.revive();
    disk.lose_power();
    found.insert(disk.exists(path) ? "=" + disk.content(path) : "gone");
  }
  return found;
}

}  // namespace

TEST_CASE("virtual disk: a dead process leaves what it wrote, a power cut what was synced") {
  VirtualDisk disk(1);
  const int fd = write_file(disk, "/d/a", "synced ");
  REQUIRE(disk.sync(fd) == 0);
  REQUIRE(disk.sync_directory("/d") == 0);
  REQUIRE(disk.write(fd, bytes_of("and more"), 7) == 8);
  disk.close(fd);
  disk.revive();
  CHECK(disk.content("/d/a") == "synced and more");

  const auto after = survivors("/d/a", [](VirtualDisk& lost) {
    const int file = write_file(lost, "/d/a", "synced ");
    REQUIRE(lost.sync(file) == 0);
    REQUIRE(lost.sync_directory("/d") == 0);
    REQUIRE(lost.write(file, bytes_of("and more"), 7) == 8);
    lost.close(file);
  });
  // With its bytes, without them, with a length and no bytes; never without what was synced.
  CHECK(after == std::set<std::string>{"=synced ", "=synced and more", std::string("=synced ") + std::string(8, '\0')});
}

TEST_CASE("virtual disk: a name survives when its directory was synced, whatever was done to the file") {
  const auto unsynced = survivors("/d/a", [](VirtualDisk& disk) {
    const int fd = write_file(disk, "/d/a", "x");
    REQUIRE(disk.sync(fd) == 0);
    disk.close(fd);
  });
  CHECK(unsynced == std::set<std::string>{"gone", "=x"});
  const auto synced = survivors("/d/a", [](VirtualDisk& disk) {
    const int fd = write_file(disk, "/d/a", "x");
    REQUIRE(disk.sync_directory("/d") == 0);
    disk.close(fd);
  });
  CHECK(synced == std::set<std::string>{"=", "=x", std::string("=") + '\0'});
}

TEST_CASE("virtual disk: a rename happens or not, and a later one never without an earlier one") {
  const auto states = survivors("/d/b", [](VirtualDisk& disk) {
    disk.append_durably("/d/a", "new");
    disk.append_durably("/d/b", "old");
    REQUIRE(disk.rename("/d/a", "/d/b") == 0);
  });
  CHECK(states == std::set<std::string>{"=old", "=new"});
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    VirtualDisk disk(seed);
    disk.append_durably("/d/a", "a");
    REQUIRE(disk.rename("/d/a", "/d/b") == 0);
    REQUIRE(disk.rename("/d/b", "/d/c") == 0);
    disk.lose_power();
    CHECK(disk.paths().size() == 1);
  }
}

TEST_CASE("virtual disk: sectors of a long write get there one by one, and a cut may be undone") {
  const std::string two(2 * VirtualDisk::kSectorBytes, 'x');
  const auto torn = survivors("/d/a", [&](VirtualDisk& disk) {
    const int fd = write_file(disk, "/d/a", "");
    REQUIRE(disk.sync_directory("/d") == 0);
    REQUIRE(disk.write(fd, bytes_of(two), 0) == static_cast<ssize_t>(two.size()));
    disk.close(fd);
  });
  const std::string zeros(VirtualDisk::kSectorBytes, '\0');
  const std::string half(VirtualDisk::kSectorBytes, 'x');
  CHECK(torn.contains("=" + zeros + half));
  CHECK(torn.contains("=" + half + zeros));
  CHECK(torn.contains("=" + half));
  const auto cut = survivors("/d/a", [](VirtualDisk& disk) {
    disk.append_durably("/d/a", "long");
    const int fd = disk.open("/d/a", O_RDWR);
    REQUIRE(disk.truncate(fd, 1) == 0);
    disk.close(fd);
  });
  CHECK(cut == std::set<std::string>{"=long", "=l"});
}

TEST_CASE("virtual disk: a failed sync forgets, and the next one does not make up for it") {
  int forgotten = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    VirtualDisk disk(seed);
    const int fd = write_file(disk, "/d/a", "x");
    REQUIRE(disk.sync_directory("/d") == 0);
    disk.faults.sync_errors = 1000;
    CHECK(disk.sync(fd) == -EIO);
    disk.faults.sync_errors = 0;
    CHECK(disk.sync(fd) == 0);
    CHECK(disk.content("/d/a") == "x");
    disk.close(fd);
    disk.lose_power();
    forgotten += disk.content("/d/a") == "x" ? 0 : 1;
  }
  CHECK(forgotten > 10);
  CHECK(forgotten < 40);
}

TEST_CASE("virtual disk: full, failing and short writes") {
  VirtualDisk disk(7);
  const int fd = write_file(disk, "/d/a", "");
  disk.faults.room = 3;
  CHECK(disk.write(fd, bytes_of("abcde"), 0) == 3);
  CHECK(disk.write(fd, bytes_of("de"), 3) == -ENOSPC);
  CHECK(disk.write(fd, bytes_of("ABC"), 0) == 3);  // takes no room
  disk.faults.full_error = EDQUOT;
  CHECK(disk.open("/d/b", O_RDWR | O_CREAT) == -EDQUOT);
  disk.faults = {};
  disk.faults.write_errors = 1000;
  CHECK(disk.write(fd, bytes_of("x"), 0) == -EIO);
  disk.faults = {};
  disk.faults.short_writes = 1000;
  const ssize_t written = disk.write(fd, bytes_of("0123456789"), 0);
  CHECK(written >= 1);
  CHECK(written <= 10);
  disk.close(fd);
}

TEST_CASE("virtual disk: a killed process dies at its step, its write may get half through, and nothing follows") {
  std::set<std::string> left;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    VirtualDisk disk(seed);
    const int fd = write_file(disk, "/d/a", "");
    disk.kill_in(1);
    CHECK(disk.sync(fd) == 0);
    CHECK_THROWS_AS(disk.write(fd, bytes_of("ab"), 0), VirtualDisk::Killed);
    CHECK(disk.dead());
    CHECK_THROWS_AS(disk.sync(fd), VirtualDisk::Killed);
    disk.close(fd);
    disk.revive();
    left.insert(disk.content("/d/a"));
  }
  CHECK(left == std::set<std::string>{"", "a", "ab"});
}

TEST_CASE("virtual disk: descriptors are real ones, with inodes that are not used twice") {
  VirtualDisk disk(1);
  disk.append_durably("/d/a", "text");
  const std::uint64_t first = disk.inode("/d/a");
  const int fd = disk.open("/d/a", O_RDONLY);
  char text[8];
  CHECK(::pread(fd, text, sizeof text, 0) == 4);
  struct ::stat info {};
  CHECK(disk.fstat(fd, info) == 0);
  CHECK(info.st_ino == first);
  ::close(fd);  // behind its back
  disk.remove_durably("/d/a");
  disk.append_durably("/d/a", "");
  CHECK(disk.inode("/d/a") != first);
}

TEST_CASE("fiber: runs until it yields, goes on from there, and gives its exception to who resumed it") {
  std::string said;
  Fiber fiber([&] {
    said += "a";
    Fiber::yield();
    said += "b";
    try {
      throw 1;
    } catch (int) {
      said += "c";
    }
    Fiber::yield();
    throw std::string("end");
  });
  CHECK(said == "");
  fiber.resume();
  CHECK(said == "a");
  CHECK(Fiber::current() == nullptr);
  fiber.resume();
  CHECK(said == "abc");
  CHECK_THROWS_AS(fiber.resume(), std::string);
  CHECK(fiber.done());
}
