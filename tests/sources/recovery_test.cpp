#include "sources/recovery.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <unordered_set>
#include <vector>

#include <fcntl.h>

#include "tests/sources/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

/// What the checkpoints would know of a file that is removed then.
RememberedFile removed_file(std::uint64_t id, const std::string& path) {
  append(path, "a line of the file that was there\n");
  RememberedFile file{id, path, {}, {{34, {}}}};
  {
    const Descriptor open(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    file.identity = *identify(open.get());
  }
  std::filesystem::remove(path);
  return file;
}

std::vector<std::uint64_t> gone_of(std::vector<RememberedFile> files) {
  Recovery recovery(std::move(files), {}, [] { return true; });
  CHECK(recovery.search().empty());
  return recovery.gone();
}

}  // namespace

TEST_CASE("recovery: files that were removed are gone, also with their directory") {
  const TempDir dir;
  std::filesystem::create_directories(dir / "pods/a");
  std::vector<RememberedFile> files{removed_file(1, dir / "app.log"), removed_file(2, dir / "pods/a/0.log")};
  CHECK(gone_of(files) == std::vector<std::uint64_t>{1, 2});
  std::filesystem::remove_all(dir / "pods");
  CHECK(gone_of(files) == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("recovery: files are not taken for gone where their file system may not be mounted, or nobody could look") {
  const TempDir dir;
  RememberedFile elsewhere = removed_file(1, dir / "app.log");
  ++elsewhere.identity.device;
  RememberedFile content = removed_file(2, dir / "content.log");
  content.identity.device = content.identity.inode = 0;
  CHECK(gone_of({elsewhere, content}).empty());
  if (geteuid() != 0) {
    const RememberedFile hidden = removed_file(3, dir / "hidden.log");
    REQUIRE(chmod(dir.path().c_str(), 0) == 0);
    CHECK(gone_of({hidden}).empty());
    REQUIRE(chmod(dir.path().c_str(), 0755) == 0);
  }
}
