#include "stages/file_text.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace logpipe {

namespace {

constexpr std::size_t kPieceBytes = 256 * 1024;

/// False with errno set when reading fails.
bool read_to_end(int fd, std::size_t expected, std::size_t bytes_max, std::string& text) {
  text.reserve(std::min(expected, bytes_max) + 1);
  while (text.size() <= bytes_max) {
    const std::size_t before = text.size();
    text.resize(std::max(std::min(text.capacity(), bytes_max + 1), before + kPieceBytes));
    const ssize_t got = ::read(fd, text.data() + before, text.size() - before);
    text.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) return true;
    if (got < 0 && errno != EINTR) return false;
  }
  return true;
}

}  // namespace

std::optional<std::string> file_text(const std::filesystem::path& path, std::size_t bytes_max, std::string& why) {
  // Not blocking, so that a FIFO in its place is refused below instead of being waited for.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    why = std::generic_category().message(errno);
    return std::nullopt;
  }
  struct stat status {};
  std::string text;
  if (::fstat(fd, &status) != 0) {
    why = std::generic_category().message(errno);
  } else if (!S_ISREG(status.st_mode)) {
    why = "not a regular file";
  } else if (!read_to_end(fd, static_cast<std::size_t>(status.st_size), bytes_max, text)) {
    why = std::generic_category().message(errno);
  } else if (text.size() > bytes_max) {
    why = "larger than " + std::to_string(bytes_max / 1024 / 1024) + " MiB, the most it may have";
  }
  ::close(fd);
  if (!why.empty()) return std::nullopt;
  return text;
}

}  // namespace logpipe
