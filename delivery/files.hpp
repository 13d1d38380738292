#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include <sys/types.h>

#include "channel/result.hpp"

namespace logpipe {

/// pread(2) until `into` is full or the file ends: how many bytes that were, fewer only at the end; -1 and errno.
/// Repeats interrupted calls.
ssize_t read_at(int fd, std::span<char> into, std::uint64_t offset) noexcept;

/// The same where anything less than all of it is a failure.
inline bool read_whole(int fd, std::span<char> into, std::uint64_t offset) noexcept {
  return read_at(fd, into, offset) == static_cast<ssize_t>(into.size());
}

/// The few operations on files that durability rests on, so that a test can fail any of them or stop at any byte.
/// Errors name the operation and the path. Interrupted calls are repeated. Threads: any.
class StateFiles {
 public:
  virtual ~StateFiles() = default;

  /// Opens with O_CLOEXEC; created files have mode 0600.
  virtual Result<int> open(const std::filesystem::path& path, int flags);
  virtual void close(int fd) noexcept;
  /// The whole file.
  virtual Result<std::string> read_all(int fd, const std::filesystem::path& path);
  /// Writes at an offset. May write less than asked for, but at least one byte; returns how many.
  virtual Result<std::size_t> write_at(int fd, std::span<const char> bytes, std::uint64_t offset,
                                       const std::filesystem::path& path);
  virtual Status truncate(int fd, std::uint64_t length, const std::filesystem::path& path);
  /// fdatasync.
  virtual Status sync(int fd, const std::filesystem::path& path);
  virtual Status rename(const std::filesystem::path& from, const std::filesystem::path& to);
  virtual Status remove(const std::filesystem::path& path);
  /// False only when it certainly is not there.
  virtual bool exists(const std::filesystem::path& path);
  virtual Status sync_directory(const std::filesystem::path& path);

  /// The real thing.
  static StateFiles& system() noexcept;
};

}  // namespace logpipe
