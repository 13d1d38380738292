#pragma once

#include <filesystem>
#include <memory>

#include "channel/result.hpp"

namespace logpipe {

/// Holds a state directory for this process: `flock` on the file `lock` in it, which says whose pid has it. The kernel
/// lets go of it when the process dies, however it dies.
class StateLock {
 public:
  /// Makes the directory (0700) if it is missing. ErrorKind::locked names the pid of the holder; io names the path.
  static Result<StateLock> take(const std::filesystem::path& directory);

  StateLock() = default;
  StateLock(StateLock&& other) noexcept;
  StateLock& operator=(StateLock&& other) noexcept;
  ~StateLock();

 private:
  explicit StateLock(int fd) noexcept : fd_(fd) {}
  int fd_{-1};
};

}  // namespace logpipe
