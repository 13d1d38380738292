#include "delivery/identity.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>

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

bool FileHead::matches(const FileIdentity& remembered) const noexcept {
  if (identity.device != remembered.device || identity.inode != remembered.inode) return false;
  const bool both_born = identity.birth_ns != 0 && remembered.birth_ns != 0;
  if (both_born && identity.birth_ns != remembered.birth_ns) return false;
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
  std::uint32_t have = 0;
  while (have < head.bytes.size()) {
    const ssize_t got = ::pread(fd, head.bytes.data() + have, head.bytes.size() - have, have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(Error::from_errno(errno, "read"));
    if (got == 0) break;
    have += static_cast<std::uint32_t>(got);
  }
  head.identity.head_bytes = have;
  head.identity.head_hash = XXH3_64bits(head.bytes.data(), have);
  return head;
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

OutputHandle::~OutputHandle() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace logpipe
