#pragma once

#include <array>
#include <cstdint>

#include "delivery/checkpoint.hpp"

namespace logpipe::detail {

/// The identity of an open file together with what it was taken from, so that it can be compared with an older one of a
/// shorter head without reading again.
struct FileHead {
  FileIdentity identity;
  std::uint64_t size{0};
  std::array<char, FileIdentity::kHeadBytes> bytes{};

  /// Same device and inode, same birth time as far as both are known, and the head hashes the same over the remembered
  /// length.
  [[nodiscard]] bool matches(const FileIdentity& remembered) const noexcept;
  /// Neither a birth time nor a head to compare: only device and inode match.
  [[nodiscard]] bool only_inode_tells(const FileIdentity& remembered) const noexcept {
    return remembered.head_bytes == 0 && (remembered.birth_ns == 0 || identity.birth_ns == 0);
  }
};

/// ErrorKind::io when the file cannot be read, invalid when it is no regular file. Leaves the file's offset alone.
Result<FileHead> read_head(int fd);

}  // namespace logpipe::detail
