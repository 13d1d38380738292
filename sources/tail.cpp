#include "sources/tail.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/stat.h>

namespace logpipe {

PositionedRead system_read() {
  return [](int fd, const iovec* parts, int count, off_t offset) { return preadv(fd, parts, count, offset); };
}

Tail::Tail(Descriptor file, Resume resume, TailTools& tools)
    : tools_(tools),
      file_(std::move(file)),
      resume_(std::move(resume)),
      position_(resume_.offset),
      searched_(resume_.offset) {}

Tail::Tail(Descriptor file, Place place, TailTools& tools) : Tail(std::move(file), std::move(place.resume), tools) {
  continues_ = place.continues;
  witness_ = place.witness;
  witness_bytes_ = place.witness_bytes;
}

Tail::Place Tail::place() const {
  return {{resume_.file, position_, true}, continues_, witness_, witness_bytes_};
}

Tail::Look Tail::look() {
  struct stat info {};
  if (fstat(file_.get(), &info) != 0) {
    error_ = Error::from_errno(errno, "stat " + file()->path);
    return Look::failed;
  }
  const auto size = static_cast<std::uint64_t>(info.st_size);
  unlinked_ = info.st_nlink == 0;
  const bool grown = size > size_;
  size_ = size;
  if (size < position_) return Look::truncated;
  // An unfinished line was cut: search it anew.
  if (size < searched_) searched_ = position_;
  return grown ? Look::grown : Look::same;
}

void Tail::restart(Resume resume) {
  resume_ = std::move(resume);
  position_ = searched_ = resume_.offset;
  witness_bytes_ = 0;
  continues_ = false;
}

Tail::Turn Tail::read(Outbox& outbox, std::size_t expected) {
  if (at_end()) return Turn::idle;
  return searched_ - position_ > kReadAgainMax ? search_line_end(outbox) : read_lines(outbox, expected);
}

Tail::Turn Tail::finish(Outbox& outbox) {
  if (position_ >= size_) return Turn::idle;
  if (tools_.lines.limit().policy == Oversize::split) {
    const Turn turn = take_pieces(outbox);
    if (turn != Turn::idle) return turn;
  }
  return take_line(outbox, size_, false);
}

Tail::Turn Tail::read_lines(Outbox& outbox, std::size_t expected) {
  const auto left = static_cast<std::size_t>(std::min<std::uint64_t>(size_ - position_, kTurnBytes));
  const auto partial = static_cast<std::size_t>(searched_ - position_);
  // A short rest of a block is not worth a read that would have to be repeated; the unfinished line must fit with more.
  constexpr std::size_t kWorthReading = 16 * 1024;
  Block* block = outbox.room(std::min(left, partial + kWorthReading), std::max(left, expected));
  if (block == nullptr) return Turn::stopped;

  std::array<char, kWitnessBytes> before;
  const std::size_t room = std::min(left, block->room());
  const iovec parts[2] = {{before.data(), witness_bytes_}, {block->end(), room}};
  const ssize_t length = tools_.read(file_.get(), parts, 2, static_cast<off_t>(position_ - witness_bytes_));
  if (length <= static_cast<ssize_t>(witness_bytes_)) return after(length);
  if (std::memcmp(before.data(), witness_.data(), witness_bytes_) != 0) {
    // A truncated file whose writer kept its offset has a hole of zeros there; it goes on behind it.
    const bool hole = std::all_of(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(witness_bytes_),
                                  [](char byte) { return byte == '\0'; });
    if (!hole) return Turn::restarted;
  }

  const std::size_t read = static_cast<std::size_t>(length) - witness_bytes_;
  const std::size_t taken = tools_.lines.take_lines(outbox, file(), position_, read, continues_);
  searched_ = position_ + read;
  if (taken > 0) {
    position_ += taken;
    const Segment& last = block->segments.back();
    remember(block->end(), last.kind == SegmentKind::lines ? last.end - last.begin : 0);
  }
  return at_end() ? Turn::idle : Turn::more;
}

Tail::Turn Tail::search_line_end(Outbox& outbox) {
  const LineLimit& limit = tools_.lines.limit();
  for (std::size_t searched = 0; searched < kTurnBytes && !at_end(); searched += tools_.scratch.size()) {
    if (limit.policy == Oversize::split && searched_ - position_ > limit.bytes) return take_pieces(outbox);
    const auto want = std::min<std::uint64_t>(tools_.scratch.size(), size_ - searched_);
    const ssize_t length = read_at(tools_.scratch.data(), static_cast<std::size_t>(want), searched_);
    if (length <= 0) return after(length);
    const auto* feed =
        static_cast<const char*>(std::memchr(tools_.scratch.data(), '\n', static_cast<std::size_t>(length)));
    if (feed != nullptr) {
      const std::uint64_t end = searched_ + static_cast<std::uint64_t>(feed + 1 - tools_.scratch.data());
      if (limit.policy == Oversize::split && end - 1 - position_ > limit.bytes) {
        searched_ = end - 1;  // the pieces first; the rest is found again
        return take_pieces(outbox);
      }
      return take_line(outbox, end, true);
    }
    searched_ += static_cast<std::uint64_t>(length);
  }
  return at_end() ? Turn::idle : Turn::more;
}

/// Delivers as many full pieces of the line at the position as are surely not its end, up to a turn's worth.
Tail::Turn Tail::take_pieces(Outbox& outbox) {
  const std::size_t piece = tools_.lines.limit().bytes;
  std::size_t taken = 0;
  while (searched_ - position_ > piece) {
    if (taken > 0 && taken + piece > kTurnBytes) return Turn::more;
    Block* block = outbox.room(piece, piece);
    if (block == nullptr) return Turn::stopped;
    if (const Turn turn = read_fully(block->end(), piece, position_); turn != Turn::more) return turn;
    outbox.append(file(), position_, position_ + piece, piece, SegmentKind::lines);
    if (!continues_) tools_.lines.count_oversize();
    continues_ = true;
    position_ += piece;
    taken += piece;
    remember(block->end(), piece);
  }
  return at_end() ? Turn::idle : Turn::more;
}

/// Delivers the line from the position to `end`, whose only line feed is its last byte, or which has none.
Tail::Turn Tail::take_line(Outbox& outbox, std::uint64_t end, bool terminated) {
  const LineLimit& limit = tools_.lines.limit();
  const std::uint64_t length = end - position_;
  const std::uint64_t body = length - (terminated ? 1 : 0);
  SegmentKind kind = SegmentKind::lines;
  auto kept = static_cast<std::size_t>(length);
  if (body > limit.bytes) {
    kind = limit.policy == Oversize::drop ? SegmentKind::dropped : SegmentKind::truncated;
    kept = limit.policy == Oversize::drop ? 0 : limit.bytes;
  }
  Block* block = outbox.room(std::max<std::size_t>(kept, 1), kept);
  if (block == nullptr) return Turn::stopped;
  if (kept > 0) {
    if (const Turn turn = read_fully(block->end(), kept, position_); turn != Turn::more) return turn;
  }
  outbox.append(file(), position_, end, kept, kind);
  if (kind != SegmentKind::lines) tools_.lines.count_oversize();
  position_ = searched_ = end;
  continues_ = false;
  remember(block->end(), kind == SegmentKind::lines ? kept : 0);
  return at_end() ? Turn::idle : Turn::more;
}

ssize_t Tail::read_at(char* to, std::size_t bytes, std::uint64_t offset) {
  const iovec part{to, bytes};
  return tools_.read(file_.get(), &part, 1, static_cast<off_t>(offset));
}

/// `more` when all of it is there.
Tail::Turn Tail::read_fully(char* to, std::size_t bytes, std::uint64_t offset) {
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t length = read_at(to + done, bytes - done, offset + done);
    if (length <= 0) return after(length);
    done += static_cast<std::size_t>(length);
  }
  return Turn::more;
}

/// What a read means that gave nothing.
Tail::Turn Tail::after(ssize_t length) {
  if (length >= 0) {
    // Shorter than it was at the last look; the next look says what that means.
    searched_ = position_;
    size_ = position_;
    return Turn::idle;
  }
  if (errno == EINTR || errno == EAGAIN) return Turn::more;
  error_ = Error::from_errno(errno, "read " + file()->path);
  return Turn::failed;
}

void Tail::remember(const char* end, std::size_t bytes) {
  witness_bytes_ = std::min(bytes, kWitnessBytes);
  std::memcpy(witness_.data(), end - witness_bytes_, witness_bytes_);
}

}  // namespace logpipe
