#include "sinks/file_layer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>

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
int FileLayer::fstat(int fd, struct ::stat& out) {
  return ::fstat(fd, &out);
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
