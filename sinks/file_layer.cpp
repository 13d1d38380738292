#include "sinks/file_layer.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string_view>

namespace logpipe {

int FileLayer::open(const char* path, int flags, mode_t mode) {
  return ::open(path, flags, mode);
}
ssize_t FileLayer::writev(int fd, const iovec* pieces, int count) {
  return ::writev(fd, pieces, count);
}
int FileLayer::truncate(int fd, off_t length) {
  return ::ftruncate(fd, length);
}
int FileLayer::sync_data(int fd) {
  return ::fdatasync(fd);
}
int FileLayer::stat(const char* path, struct ::stat& out) {
  return ::stat(path, &out);
}
int FileLayer::lstat(const char* path, struct ::stat& out) {
  return ::lstat(path, &out);
}
int FileLayer::fstat(int fd, struct ::stat& out) {
  return ::fstat(fd, &out);
}
std::uint64_t FileLayer::birth_ns(int fd) {
  struct ::statx info {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &info) != 0 || (info.stx_mask & STATX_BTIME) == 0) return 0;
  return static_cast<std::uint64_t>(info.stx_btime.tv_sec) * 1'000'000'000 + info.stx_btime.tv_nsec;
}
std::vector<FileLayer::Entry> FileLayer::list(const char* directory) {
  std::vector<Entry> entries;
  DIR* stream = ::opendir(directory);
  if (!stream) return entries;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") entries.push_back({std::string(name), entry->d_ino});
  }
  ::closedir(stream);
  return entries;
}
int FileLayer::rename(const char* from, const char* to) {
  const int result = ::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
  if (result == 0 || (errno != EINVAL && errno != ENOSYS)) return result;
  // A file system without that: nobody else makes names like these.
  struct ::stat info {};
  if (::lstat(to, &info) == 0) return errno = EEXIST, -1;
  return ::rename(from, to);
}
int FileLayer::remove(const char* path) {
  return ::unlink(path);
}
std::chrono::system_clock::time_point FileLayer::wall_now() {
  return std::chrono::system_clock::now();
}
std::chrono::steady_clock::time_point FileLayer::now() {
  return std::chrono::steady_clock::now();
}

bool FileLayer::wait(std::chrono::milliseconds duration, const std::stop_token& stop) {
  // Nobody notifies: only the time or the stop ends the wait.
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, duration, [] { return false; });
  return !stop.stop_requested();
}

FileLayer& FileLayer::system() {
  static FileLayer layer;
  return layer;
}

}  // namespace logpipe
