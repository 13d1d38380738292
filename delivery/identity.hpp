#pragma once

#include <array>
#include <cstdint>

#include "delivery/checkpoint.hpp"
#include "delivery/journal_state.hpp"

namespace logpipe::detail {

/// The identity of an open file together with what it was taken from, so that it can be compared with an older one of a
/// shorter head without reading again.
struct FileHead {
  FileIdentity identity;
  std::uint64_t size{0};
  std::array<char, FileIdentity::kHeadBytes> bytes{};

  /// Takes no more than so many bytes for its head.
  void limit(std::uint32_t head_bytes) noexcept;
  /// Same device and inode, same birth time as far as both are known, and the head hashes the same over the remembered
  /// length.
  [[nodiscard]] bool matches(const FileIdentity& remembered) const noexcept;
  /// Another file, made at another time, has the inode now.
  [[nodiscard]] bool born_later(const FileIdentity& remembered) const noexcept {
    return identity.birth_ns != 0 && remembered.birth_ns != 0 && identity.birth_ns != remembered.birth_ns;
  }
  /// Neither a birth time nor a head to compare: only device and inode match.
  [[nodiscard]] bool only_inode_tells(const FileIdentity& remembered) const noexcept {
    return remembered.head_bytes == 0 && (remembered.birth_ns == 0 || identity.birth_ns == 0);
  }
};

/// Whether a position can be right for a file as it is now.
enum class PositionCheck : std::uint8_t {
  fits,        ///< or nothing is known that could contradict it
  beyond_end,  ///< the file ends before it
  other_bytes  ///< other bytes stand before it
};
/// In words, for the log.
const char* describe(PositionCheck check) noexcept;
PositionCheck check_position(int fd, std::uint64_t size, const journal::Position& position);

/// ErrorKind::io when the file cannot be read, invalid when it is no regular file. Leaves the file's offset alone.
Result<FileHead> read_head(int fd);

}  // namespace logpipe::detail
