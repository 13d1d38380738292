#include "delivery/identity.hpp"

#include "tests/delivery/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

TEST_CASE("identity: covers the head as far as it goes, up to its limit") {
  TempDir dir;
  for (const std::size_t size : {0UL, 1UL, 10UL, 1023UL, 1024UL, 1025UL, 5000UL}) {
    const fs::path path = dir / "log";
    write_file(path, text_of(size));
    const Fd fd(path);
    const auto identity = identify(fd);
    REQUIRE(identity);
    CHECK(identity->head_bytes == std::min<std::size_t>(size, FileIdentity::kHeadBytes));
    CHECK(is_same_file(fd, *identity));
  }
}

TEST_CASE("identity: taking it leaves the file's offset alone") {
  TempDir dir;
  write_file(dir / "log", text_of(3000));
  const Fd fd(dir / "log");
  REQUIRE(::lseek(fd, 17, SEEK_SET) == 17);
  REQUIRE(identify(fd));
  CHECK(::lseek(fd, 0, SEEK_CUR) == 17);
}

TEST_CASE("identity: a file is the same after it has grown from any size") {
  TempDir dir;
  for (const std::size_t size : {0UL, 10UL, 1024UL, 2000UL}) {
    const fs::path path = dir / ("log" + std::to_string(size));
    const std::string content = text_of(6000);
    write_file(path, content.substr(0, size));
    const auto before = identify(Fd(path));
    REQUIRE(before);
    append_file(path, content.substr(size));
    CHECK(is_same_file(Fd(path), *before));
  }
}

TEST_CASE("identity: other content under the same inode is another file") {
  TempDir dir;
  for (const std::size_t size : {1UL, 10UL, 2000UL}) {
    const fs::path path = dir / ("log" + std::to_string(size));
    write_file(path, text_of(size, 1));
    const auto before = identify(Fd(path));
    REQUIRE(before);
    write_file(path, text_of(5000, 99));  // truncates and writes: the inode stays
    REQUIRE(identify(Fd(path))->inode == before->inode);
    CHECK_FALSE(is_same_file(Fd(path), *before));
  }
}

TEST_CASE("identity: a file shorter than its remembered head, another inode and a directory are not the file") {
  TempDir dir;
  write_file(dir / "log", text_of(500));
  const auto before = identify(Fd(dir / "log"));
  REQUIRE(before);
  write_file(dir / "copy", text_of(500));
  CHECK_FALSE(is_same_file(Fd(dir / "copy"), *before));
  REQUIRE(::truncate((dir / "log").c_str(), 400) == 0);
  CHECK_FALSE(is_same_file(Fd(dir / "log"), *before));
  const auto directory = identify(Fd(dir.path(), O_RDONLY | O_DIRECTORY));
  REQUIRE_FALSE(directory);
  CHECK(directory.error().kind == ErrorKind::invalid);
  CHECK_FALSE(identify(-1));
}

TEST_CASE("identity: a file that was made at another time is another one, though its head is the same") {
  TempDir dir;
  write_file(dir / "log", text_of(2000));
  const auto now = identify(Fd(dir / "log"));
  REQUIRE(now);
  FileIdentity remembered = *now;
  remembered.birth_ns = now->birth_ns + 1;
  // Where the file system does not say, the head decides.
  CHECK(is_same_file(Fd(dir / "log"), remembered) == (now->birth_ns == 0));
  remembered.birth_ns = 0;
  CHECK(is_same_file(Fd(dir / "log"), remembered));
  append_file(dir / "log", "more");
  CHECK(is_same_file(Fd(dir / "log"), *now));
  fs::rename(dir / "log", dir / "log.1");
  CHECK(is_same_file(Fd(dir / "log.1"), *now));
}

TEST_CASE("identity: a birth time is one of the last minutes, where there is one") {
  TempDir dir;
  write_file(dir / "log", "x");
  const auto identity = identify(Fd(dir / "log"));
  REQUIRE(identity);
  if (identity->birth_ns == 0) {
    MESSAGE("this file system keeps no birth times");
    return;
  }
  struct stat status {};
  REQUIRE(::stat((dir / "log").c_str(), &status) == 0);
  const auto modified = static_cast<std::uint64_t>(status.st_mtim.tv_sec);
  CHECK(identity->birth_ns / 1'000'000'000 <= modified);
  CHECK(identity->birth_ns / 1'000'000'000 + 60 > modified);
}

TEST_CASE("identity: a witness is of the last 32 bytes before a position, or of as many as there are") {
  const std::string text = text_of(100);
  CHECK(witness_of("").bytes == 0);
  CHECK(witness_of("a") == witness_of("a"));
  CHECK(witness_of("a").bytes == 1);
  CHECK_FALSE(witness_of("a") == witness_of("b"));
  CHECK(witness_of(text).bytes == Witness::kBytesMax);
  CHECK(witness_of(text) == witness_of(std::string_view(text).substr(68)));
  CHECK_FALSE(witness_of(text) == witness_of(std::string_view(text).substr(0, 99)));
}

TEST_CASE("identity: a position fits a file that has the same bytes before it and does not end earlier") {
  using detail::check_position;
  using detail::PositionCheck;
  TempDir dir;
  const std::string text = text_of(100);
  write_file(dir / "log", text);
  const Fd fd(dir / "log");
  for (const std::uint64_t offset : {0UL, 1UL, 31UL, 32UL, 33UL, 100UL}) {
    CAPTURE(offset);
    const journal::Position known{offset, witness_of(std::string_view(text).substr(0, offset))};
    CHECK(check_position(fd, 100, known) == PositionCheck::fits);
    CHECK(check_position(fd, 100, {offset, {}}) == PositionCheck::fits);
    if (offset == 0) continue;
    CHECK(check_position(fd, 100, {offset, witness_of(std::string(std::min<std::size_t>(offset, 32), '?'))}) ==
          PositionCheck::other_bytes);
  }
  CHECK(check_position(fd, 100, {101, {}}) == PositionCheck::beyond_end);
  CHECK(check_position(fd, 200, {150, witness_of(text)}) == PositionCheck::beyond_end);  // cut since it was measured
}
