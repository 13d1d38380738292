#include "delivery/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace logpipe {
namespace {

tl::unexpected<Error> failed(const char* operation, const std::filesystem::path& path, int code) {
  return fail(Error::from_errno(code, std::string(operation) + " " + path.string()));
}

template <class Call>
auto uninterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

}  // namespace

ssize_t read_at(int fd, std::span<char> into, std::uint64_t offset) noexcept {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t got = uninterrupted(
        [&] { return ::pread(fd, into.data() + done, into.size() - done, static_cast<off_t>(offset + done)); });
    if (got < 0) return -1;
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return static_cast<ssize_t>(done);
}

Result<int> StateFiles::open(const std::filesystem::path& path, int flags) {
  const int fd = uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0600); });
  if (fd < 0) return failed("open", path, errno);
  return fd;
}

void StateFiles::close(int fd) noexcept {
  ::close(fd);
}

Result<std::string> StateFiles::read_all(int fd, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return failed("stat", path, errno);
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  const ssize_t got = read_at(fd, bytes, 0);
  if (got < 0) return failed("read", path, errno);
  bytes.resize(static_cast<std::size_t>(got));
  return bytes;
}

Result<std::size_t> StateFiles::write_at(int fd, std::span<const char> bytes, std::uint64_t offset,
                                         const std::filesystem::path& path) {
  const ssize_t written =
      uninterrupted([&] { return ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
  if (written < 0) return failed("write", path, errno);
  if (written == 0 && !bytes.empty()) return failed("write", path, ENOSPC);
  return static_cast<std::size_t>(written);
}

Status StateFiles::truncate(int fd, std::uint64_t length, const std::filesystem::path& path) {
  if (uninterrupted([&] { return ::ftruncate(fd, static_cast<off_t>(length)); }) != 0) {
    return failed("truncate", path, errno);
  }
  return {};
}

Status StateFiles::sync(int fd, const std::filesystem::path& path) {
  if (uninterrupted([&] { return ::fdatasync(fd); }) != 0) return failed("sync", path, errno);
  return {};
}

Status StateFiles::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) return failed("rename", from, errno);
  return {};
}

Status StateFiles::remove(const std::filesystem::path& path) {
  if (::unlink(path.c_str()) != 0) return failed("remove", path, errno);
  return {};
}

bool StateFiles::exists(const std::filesystem::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

Status StateFiles::sync_directory(const std::filesystem::path& path) {
  const int fd = uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return failed("open", path, errno);
  const int result = uninterrupted([&] { return ::fsync(fd); });
  const int code = errno;
  ::close(fd);
  // Some file systems cannot sync a directory and say EINVAL; there is nothing more to be done on them.
  if (result != 0 && code != EINVAL) return failed("sync", path, code);
  return {};
}

StateFiles& StateFiles::system() noexcept {
  static StateFiles layer;
  return layer;
}

}  // namespace logpipe
