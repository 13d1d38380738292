#include "delivery/state_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

namespace logpipe {
namespace {

// Like create_directories, but only the owner may enter what is made.
Status make_directory(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  if (errno == ENOENT && path.has_parent_path() && path.parent_path() != path) {
    if (Status status = make_directory(path.parent_path()); !status) return status;
    if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  }
  return fail(Error::from_errno(errno, "create state directory " + path.string()));
}

std::string holder_of(int fd) {
  char text[32];
  const ssize_t length = ::pread(fd, text, sizeof text, 0);
  const std::string pid(text, length > 0 ? static_cast<std::size_t>(length) : 0);
  return pid.substr(0, pid.find_first_not_of("0123456789"));
}

}  // namespace

Result<StateLock> StateLock::take(const std::filesystem::path& directory) {
  if (Status status = make_directory(directory); !status) return fail(std::move(status.error()));
  const std::filesystem::path path = directory / "lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return fail(Error::from_errno(errno, "open " + path.string()));
  StateLock lock(fd);
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return fail(Error::from_errno(errno, "lock " + path.string()));
    const std::string pid = holder_of(fd);
    return fail(ErrorKind::locked, "state directory " + directory.string() + " is in use by process " +
                                       (pid.empty() ? std::string("(unknown)") : pid));
  }
  // Only for the words of whoever comes second: a full disk must not keep the first from starting.
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) == 0) static_cast<void>(::pwrite(fd, pid.data(), pid.size(), 0) + 0);
  return lock;
}

StateLock::StateLock(StateLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

StateLock& StateLock::operator=(StateLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

StateLock::~StateLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace logpipe
