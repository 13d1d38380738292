#include "delivery/frames.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <span>
#include <string_view>

#include "delivery/bytes.hpp"
#include "delivery/files.hpp"

namespace logpipe {
namespace {

using namespace std::string_view_literals;

/// Deflate, an extra field of eight bytes follows, no time, unknown system: `LP`, four bytes.
constexpr std::string_view kGzipHeader = "\x1f\x8b\x08\x04\0\0\0\0\0\xff\x08\0LP\x04\0"sv;
constexpr std::size_t kGzipHeaderBytes = kGzipHeader.size() + 4;
/// The longest of a Zstandard frame: signature, descriptor, window, dictionary, size of the content.
constexpr std::size_t kZstdHeaderMax = 4 + 1 + 1 + 4 + 8;

/// A file, by offset.
class Bytes {
 public:
  Bytes(int fd, std::uint64_t size, const std::string& path) : fd_(fd), size_(size), path_(path) {}
  std::uint64_t size() const noexcept { return size_; }
  const std::string& path() const noexcept { return path_; }

  /// Up to `out.size()` bytes from `offset` on; fewer only at the end.
  Result<std::string_view> at(std::uint64_t offset, std::span<char> out) const {
    const std::size_t want =
        offset >= size_ ? 0 : static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_ - offset));
    const ssize_t got = read_at(fd_, out.first(want), offset);  // fewer: it has been cut meanwhile
    if (got < 0) return fail(Error::from_errno(errno, "read " + path_));
    return std::string_view(out.data(), static_cast<std::size_t>(got));
  }

 private:
  int fd_;
  std::uint64_t size_;
  const std::string& path_;
};

/// Where the frame at `begin` ends; nothing when the file ends before it does.
using End = Result<std::optional<std::uint64_t>>;

End whole_until(const Bytes& bytes, std::uint64_t end) {
  if (end > bytes.size()) return std::optional<std::uint64_t>();
  return std::optional<std::uint64_t>(end);
}

/// By decompressing it.
End end_by_content(Compression kind, const Bytes& bytes, std::uint64_t begin) {
  Decompressor decompressor(kind);
  std::string input(64 * 1024, '\0');
  std::string output(64 * 1024, '\0');
  std::string_view left;
  std::uint64_t next = begin;
  for (;;) {
    const auto step = decompressor.step(left, output);
    if (!step) {
      return fail(ErrorKind::invalid,
                  bytes.path() + ": frame at byte " + std::to_string(begin) + ": " + step.error().message);
    }
    if (decompressor.frames() > 0) return std::optional<std::uint64_t>(begin + decompressor.consumed());
    left.remove_prefix(step->consumed);
    if (step->consumed > 0 || step->produced > 0 || !left.empty()) continue;
    auto more = bytes.at(next, input);
    if (!more) return fail(std::move(more.error()));
    if (more->empty()) return std::optional<std::uint64_t>();
    left = *more;
    next += more->size();
  }
}

End end_of_gzip(const Bytes& bytes, std::uint64_t begin) {
  std::array<char, kGzipHeaderBytes> room;
  auto header = bytes.at(begin, room);
  if (!header) return fail(std::move(header.error()));
  if (header->size() == kGzipHeaderBytes && header->starts_with(kGzipHeader)) {
    const auto length = journal::get<std::uint32_t>(header->data() + kGzipHeader.size());
    if (length > kGzipHeaderBytes) return whole_until(bytes, begin + length);
  }
  return end_by_content(Compression::gzip, bytes, begin);
}

/// RFC 8878, section 3.1.1: the header, blocks with a length each, four bytes of checksum.
End end_of_zstd(const Bytes& bytes, std::uint64_t begin) {
  std::array<char, kZstdHeaderMax> room;
  auto header = bytes.at(begin, room);
  if (!header) return fail(std::move(header.error()));
  if (header->size() < 8) return end_by_content(Compression::zstd, bytes, begin);
  const auto signature = journal::get<std::uint32_t>(header->data());
  if ((signature & 0xFFFFFFF0U) == 0x184D2A50U) {  // skippable
    return whole_until(bytes, begin + 8 + journal::get<std::uint32_t>(header->data() + 4));
  }
  if (signature != 0xFD2FB528U) return end_by_content(Compression::zstd, bytes, begin);
  const auto descriptor = static_cast<unsigned char>((*header)[4]);
  const bool single_segment = (descriptor & 0x20) != 0;
  const bool checksum = (descriptor & 0x04) != 0;
  constexpr std::array<std::uint64_t, 4> kDictionaryBytes{0, 1, 2, 4};
  constexpr std::array<std::uint64_t, 4> kSizeBytes{0, 2, 4, 8};
  const std::size_t size_flag = descriptor >> 6;
  std::uint64_t at = begin + 5 + (single_segment ? 0 : 1) + kDictionaryBytes[descriptor & 3] +
                     (size_flag == 0 && single_segment ? 1 : kSizeBytes[size_flag]);
  for (bool last = false; !last;) {
    std::array<char, 3> place;
    auto block = bytes.at(at, place);
    if (!block) return fail(std::move(block.error()));
    if (block->size() < place.size()) return std::optional<std::uint64_t>();
    const std::uint32_t value = static_cast<unsigned char>(place[0]) | static_cast<unsigned char>(place[1]) << 8 |
                                static_cast<unsigned char>(place[2]) << 16;
    last = (value & 1) != 0;
    const std::uint32_t type = value >> 1 & 3;
    if (type == 3) {
      return fail(ErrorKind::invalid, bytes.path() + ": frame at byte " + std::to_string(begin) +
                                          ": zstd: damaged (no such type of block)");
    }
    at += place.size() + (type == 1 ? 1 : value >> 3);  // of a run only the byte is there
  }
  return whole_until(bytes, at + (checksum ? 4 : 0));
}

}  // namespace

void append_gzip_header(std::string& out) {
  out.append(kGzipHeader);
  out.append(4, '\0');
}

void set_gzip_length(std::string& out, std::size_t begin) {
  const std::uint64_t length = out.size() - begin;
  if (length > UINT32_MAX) return;
  std::string bytes;
  journal::put(bytes, static_cast<std::uint32_t>(length));
  out.replace(begin + kGzipHeader.size(), bytes.size(), bytes);
}

Result<FrameWalk> walk_frames(Compression kind, int fd, std::uint64_t size, const std::string& path) {
  FrameWalk walk;
  if (kind == Compression::none) {
    walk.whole = size;
    return walk;
  }
  const Bytes bytes(fd, size, path);
  while (walk.whole < size) {
    auto end = kind == Compression::gzip ? end_of_gzip(bytes, walk.whole) : end_of_zstd(bytes, walk.whole);
    if (!end) return fail(std::move(end.error()));
    if (!*end) break;
    walk.whole = **end;
    ++walk.frames;
  }
  return walk;
}

}  // namespace logpipe
