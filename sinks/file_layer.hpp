#pragma once

#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

namespace logpipe {

/// The system calls of the file sink, replaceable so that a test can make any of them fail or write short. Each behaves
/// like the call it is named after: -1 and errno.
/// Threads: one at a time per file.
class FileLayer {
 public:
  virtual ~FileLayer() = default;
  virtual int open(const char* path, int flags, mode_t mode);
  virtual ssize_t writev(int fd, const iovec* pieces, int count);
  virtual int truncate(int fd, off_t length);
  virtual int sync_data(int fd);
  virtual int stat(const char* path, struct ::stat& out);
  virtual int lstat(const char* path, struct ::stat& out);
  virtual int fstat(int fd, struct ::stat& out);
  /// When the file was made, nanoseconds since 1970; 0 where the system does not say (statx(2)).
  virtual std::uint64_t birth_ns(int fd);
  /// The entries of a directory, without `.` and `..`; empty when it cannot be read.
  struct Entry {
    std::string name;
    std::uint64_t inode{0};
  };
  virtual std::vector<Entry> list(const char* directory);
  /// rename(2), but EEXIST when there is something at `to`.
  virtual int rename(const char* from, const char* to);
  virtual int remove(const char* path);
  virtual std::chrono::steady_clock::time_point now();
  virtual std::chrono::system_clock::time_point wall_now();
  /// Waits; false when `stop` was requested before the time was over.
  virtual bool wait(std::chrono::milliseconds duration, const std::stop_token& stop);

  /// The real ones.
  static FileLayer& system();
};

}  // namespace logpipe
