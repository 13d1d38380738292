#include "delivery/identity.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <span>

#include "delivery/files.hpp"

namespace logpipe {
namespace detail {

namespace {

// statx(2): not every file system keeps it, and not every kernel has the call.
std::uint64_t birth_of(int fd) noexcept {
  struct statx info {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &info) != 0 || (info.stx_mask & STATX_BTIME) == 0) return 0;
  return static_cast<std::uint64_t>(info.stx_btime.tv_sec) * 1'000'000'000 + info.stx_btime.tv_nsec;
}

}  // namespace

void FileHead::limit(std::uint32_t head_bytes) noexcept {
  if (identity.head_bytes <= head_bytes) return;
  identity.head_bytes = head_bytes;
  identity.head_hash = XXH3_64bits(bytes.data(), head_bytes);
}

bool FileHead::matches(const FileIdentity& remembered) const noexcept {
  if (identity.device != remembered.device || identity.inode != remembered.inode) return false;
  if (born_later(remembered)) return false;
  if (remembered.head_bytes > identity.head_bytes) return false;
  return remembered.head_bytes == 0 || XXH3_64bits(bytes.data(), remembered.head_bytes) == remembered.head_hash;
}

Result<FileHead> read_head(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail(Error::from_errno(errno, "stat"));
  if (!S_ISREG(status.st_mode)) return fail(ErrorKind::invalid, "not a regular file");
  FileHead head;
  head.identity.device = status.st_dev;
  head.identity.inode = status.st_ino;
  head.identity.birth_ns = birth_of(fd);
  head.size = static_cast<std::uint64_t>(status.st_size);
  const ssize_t got = read_at(fd, head.bytes, 0);
  if (got < 0) return fail(Error::from_errno(errno, "read"));
  head.identity.head_bytes = static_cast<std::uint32_t>(got);
  head.identity.head_hash = XXH3_64bits(head.bytes.data(), head.identity.head_bytes);
  return head;
}

const char* describe(PositionCheck check) noexcept {
  switch (check) {
    case PositionCheck::fits:
      return "the same bytes before it";
    case PositionCheck::beyond_end:
      return "the file ends before it";
    case PositionCheck::other_bytes:
      return "other bytes before it";
  }
  return "";
}

PositionCheck check_position(int fd, std::uint64_t size, const journal::Position& position) {
  if (position.offset > size) return PositionCheck::beyond_end;
  const std::uint32_t bytes = position.witness.bytes;
  if (bytes == 0 || bytes > Witness::kBytesMax || bytes > position.offset) return PositionCheck::fits;
  std::array<char, Witness::kBytesMax> before{};
  const ssize_t got = read_at(fd, std::span(before).first(bytes), position.offset - bytes);
  if (got < 0) return PositionCheck::fits;  // what cannot be read now is for the reading to report
  if (static_cast<std::uint32_t>(got) < bytes) return PositionCheck::beyond_end;
  return witness_of({before.data(), bytes}) == position.witness ? PositionCheck::fits : PositionCheck::other_bytes;
}

}  // namespace detail

Result<FileIdentity> identify(int fd) {
  Result<detail::FileHead> head = detail::read_head(fd);
  if (!head) return fail(std::move(head.error()));
  return head->identity;
}

bool is_same_file(int fd, const FileIdentity& remembered) {
  const Result<detail::FileHead> head = detail::read_head(fd);
  return head && head->matches(remembered);
}

Witness witness_of(std::string_view bytes) noexcept {
  if (bytes.size() > Witness::kBytesMax) bytes.remove_prefix(bytes.size() - Witness::kBytesMax);
  if (bytes.empty()) return {};
  return {XXH3_64bits(bytes.data(), bytes.size()), static_cast<std::uint32_t>(bytes.size())};
}

bool has_head(std::string_view head, const FileIdentity& remembered) noexcept {
  if (remembered.head_bytes > head.size()) return false;
  return XXH3_64bits(head.data(), remembered.head_bytes) == remembered.head_hash || remembered.head_bytes == 0;
}

FileIdentity identity_of_head(std::string_view head) noexcept {
  head = head.substr(0, FileIdentity::kHeadBytes);
  FileIdentity identity;
  identity.head_bytes = static_cast<std::uint32_t>(head.size());
  identity.head_hash = XXH3_64bits(head.data(), head.size());
  return identity;
}

OutputHandle::~OutputHandle() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace logpipe
