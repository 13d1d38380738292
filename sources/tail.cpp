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
      searched_(resume_.offset) {
  recall();
}

Tail::Tail(Descriptor file, Place place, TailTools& tools) : Tail(std::move(file), std::move(place.resume), tools) {
  continues_ = place.continues;
  if (place.before_bytes == 0) return;
  before_ = place.before;
  before_bytes_ = place.before_bytes;
}

Tail::Tail(std::unique_ptr<InflatedFile> content, std::uint64_t size, Place place, TailTools& tools)
    : tools_(tools),
      content_(std::move(content)),
      resume_(std::move(place.resume)),
      position_(resume_.offset),
      searched_(resume_.offset),
      size_(size),
      unlinked_(true) {
  recall();
}

Tail::Place Tail::place() const {
  return {{resume_.file, position_, true}, continues_, before_, before_bytes_};
}

Tail::Look Tail::look() {
  if (content_) {
    if (at_end()) content_->settle();
    return Look::same;
  }
  struct stat info {};
  if (fstat(file_.get(), &info) != 0) {
    error_ = std::make_unique<Error>(Error::from_errno(errno, "stat " + file()->path));
    return Look::failed;
  }
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const std::int64_t modified = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec;
  touched_ = touched_ || modified != modified_ns_;
  modified_ns_ = modified;
  unlinked_ = info.st_nlink == 0;
  const bool grown = size > size_;
  if (size < position_) known_size_ = size_;
  size_ = size;
  if (size < position_) return Look::truncated;
  // An unfinished line was cut: search it anew.
  if (size < searched_) {
    searched_ = position_;
    pending_ = {};
  }
  return grown ? Look::grown : Look::same;
}

void Tail::restart(Resume resume) {
  resume_ = std::move(resume);
  position_ = searched_ = known_size_ = resume_.offset;
  before_bytes_ = head_bytes_ = 0;
  continues_ = false;
  pending_ = {};
  byte_order_.reset();
  recall();
}

Tail::Turn Tail::read(Outbox& outbox, std::size_t expected) {
  const bool search = tools_.events != nullptr ? in_long_line() : searched_ - position_ > kReadAgainMax;
  if (search || (touched_ && at_end())) {
    if (const Turn turn = verify(); turn != Turn::more) return turn;
  }
  if (touched_ && !same_head()) return Turn::restarted;
  touched_ = false;
  if (at_end()) return Turn::idle;
  if (tools_.charset != Charset::utf8) return read_utf16(outbox, expected);
  if (tools_.events != nullptr && !search) return read_events(outbox, expected);
  return search ? search_line_end(outbox) : read_lines(outbox, expected);
}

/// Since the last read something was written without making the file longer: what was found in it does not count.
bool Tail::written_to() {
  if (!touched_) return false;
  searched_ = position_;
  pending_ = {};
  return true;
}

Tail::Turn Tail::finish(Outbox& outbox) {
  if (position_ >= size_ || written_to()) return Turn::idle;
  if (tools_.charset != Charset::utf8) return finish_utf16(outbox);
  if (tools_.events != nullptr && !in_long_line()) {
    return take_events(outbox, static_cast<std::size_t>(size_ - position_), Follows::no_byte);
  }
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

  std::size_t read = 0;
  if (const Turn turn = read_again(block->end(), std::min(left, block->room()), read); turn != Turn::more) return turn;
  const std::size_t taken = tools_.lines.take_lines(outbox, file(), position_, read, continues_);
  searched_ = position_ + read;
  if (taken > 0) {
    const std::uint64_t from = std::exchange(position_, position_ + taken);
    settled(*block, from);
  }
  return at_end() ? Turn::idle : Turn::more;
}

/// Reads from the position: `more` when there is something, and the bytes before still are the same.
Tail::Turn Tail::read_again(char* to, std::size_t bytes, std::size_t& read) {
  std::array<char, kWitnessBytes> before;
  const iovec parts[2] = {{before.data(), before_bytes_}, {to, bytes}};
  const ssize_t length = read_parts(parts, 2, position_ - before_bytes_);
  if (length <= static_cast<ssize_t>(before_bytes_)) return after(length);
  if (!unchanged(before.data())) return Turn::restarted;
  known_size_ = size_;
  read = static_cast<std::size_t>(length) - before_bytes_;
  return Turn::more;
}

/// Reads all of the `bytes` at the position; otherwise as read_again().
Tail::Turn Tail::read_whole(char* to, std::size_t bytes) {
  std::size_t read = 0;
  if (const Turn turn = read_again(to, bytes, read); turn != Turn::more) return turn;
  return read_fully(to + read, bytes - read, position_ + read);
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
    if (const Turn turn = read_whole(block->end(), piece); turn != Turn::more) return turn;
    outbox.append(file(), position_, position_ + piece, piece, SegmentKind::lines);
    if (!continues_) tools_.lines.count_oversize();
    continues_ = true;
    position_ += piece;
    taken += piece;
    remember(block->end(), piece);
    testify(*block);
  }
  return at_end() ? Turn::idle : Turn::more;
}

/// Delivers the line from the position to `end`, whose only line feed is its last byte, or which has none; or the part
/// of it that some sink had settled when the process ended.
Tail::Turn Tail::take_line(Outbox& outbox, std::uint64_t end, bool terminated) {
  const LineLimit& limit = tools_.lines.limit();
  if (const std::uint64_t part = event_end(*file(), position_, end); part < end) {
    end = part;
    terminated = false;
  }
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
  const Turn turn = kept > 0 ? read_whole(block->end(), kept) : verify();
  if (turn != Turn::more) return turn;
  if (kind != SegmentKind::lines) tools_.lines.count_oversize();
  const std::size_t mark = LineCutter::kByteOrderMark.size();
  if (kept > mark && kind == SegmentKind::lines && LineCutter::has_mark(position_, {block->end(), kept})) {
    kept -= mark;
    std::memmove(block->end(), block->end() + mark, kept);
    kind = SegmentKind::joined;
  }
  outbox.append(file(), position_, end, kept, kind);
  position_ = searched_ = end;
  continues_ = false;
  if (kind == SegmentKind::lines) {
    remember(block->end(), kept);
  } else {
    recall();
  }
  testify(*block);
  return at_end() ? Turn::idle : Turn::more;
}

ssize_t Tail::read_at(char* to, std::size_t bytes, std::uint64_t offset) {
  const iovec part{to, bytes};
  return read_parts(&part, 1, offset);
}

ssize_t Tail::read_parts(const iovec* parts, int count, std::uint64_t offset) {
  if (!content_) return tools_.read(file_.get(), parts, count, static_cast<off_t>(offset));
  std::size_t done = 0;
  for (int i = 0; i < count; ++i) {
    for (std::size_t filled = 0; filled < parts[i].iov_len;) {
      const ssize_t length =
          content_->read_at(static_cast<char*>(parts[i].iov_base) + filled, parts[i].iov_len - filled, offset + done);
      if (length < 0 && done == 0) return length;
      if (length <= 0) return static_cast<ssize_t>(done);
      filled += static_cast<std::size_t>(length);
      done += static_cast<std::size_t>(length);
    }
  }
  return static_cast<ssize_t>(done);
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
    pending_ = {};
    return Turn::idle;
  }
  if (errno == EINTR || errno == EAGAIN) return Turn::more;
  error_ = std::make_unique<Error>(Error::from_errno(errno, "read " + file()->path));
  return Turn::failed;
}

/// Whether the bytes before the position are still the ones that were there; `more`: they are.
Tail::Turn Tail::verify() {
  std::array<char, kWitnessBytes> before;
  const ssize_t length = read_at(before.data(), before_bytes_, position_ - before_bytes_);
  if (length < 0) return after(length);
  // Cut short since the last look; the next one tells.
  if (static_cast<std::size_t>(length) < before_bytes_) return after(0);
  return unchanged(before.data()) ? Turn::more : Turn::restarted;
}

/// Whether the file still begins as it did; takes more of its beginning while that is short.
bool Tail::same_head() {
  std::array<char, kHeadBytes> head;
  const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(position_, kHeadBytes));
  const ssize_t length = want == 0 ? 0 : read_at(head.data(), want, 0);
  if (length < static_cast<ssize_t>(head_bytes_)) return true;  // cut short or not readable: that is told elsewhere
  if (std::memcmp(head.data(), head_.data(), head_bytes_) != 0) {
    if (std::any_of(head.begin(), head.begin() + length, [](char byte) { return byte != '\0'; })) return false;
  }
  head_ = head;
  head_bytes_ = static_cast<std::size_t>(length);
  return true;
}

bool Tail::unchanged(const char* before) {
  if (std::memcmp(before, before_.data(), before_bytes_) == 0) return true;
  // A truncated file whose writer kept its offset has a hole of zeros there; it goes on behind it.
  if (std::any_of(before, before + before_bytes_, [](char byte) { return byte != '\0'; })) return false;
  before_.fill('\0');
  return true;
}

/// `bytes` bytes that end at `end` were the next ones before the position.
void Tail::remember(const char* end, std::size_t bytes) {
  bytes = std::min(bytes, kWitnessBytes);
  const std::size_t kept = std::min(before_bytes_, kWitnessBytes - bytes);
  std::memmove(before_.data(), before_.data() + before_bytes_ - kept, kept);
  std::memcpy(before_.data() + kept, end - bytes, bytes);
  before_bytes_ = kept + bytes;
}

/// Reads the bytes before the position anew.
void Tail::recall() {
  const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(position_, kWitnessBytes));
  before_bytes_ = 0;
  if (bytes == 0) return;
  const ssize_t length = read_at(before_.data(), bytes, position_ - bytes);
  if (length == static_cast<ssize_t>(bytes)) before_bytes_ = bytes;
}

/// The bytes from `from` up to the position are in the block now, or stand for what is.
void Tail::settled(Block& block, std::uint64_t from) {
  const Segment& last = block.segments.back();
  const std::size_t bytes = last.end - last.begin;
  const bool verbatim =
      (last.kind == SegmentKind::lines || last.kind == SegmentKind::events) && last.file_end - last.file_begin == bytes;
  // What the block has of the file: all of this read, or enough of its end.
  if (verbatim && (last.file_begin <= from || bytes >= kWitnessBytes)) {
    remember(block.end(), last.file_begin <= from ? static_cast<std::size_t>(position_ - from) : bytes);
  } else {
    recall();
  }
  testify(block);
  if (head_bytes_ < kHeadBytes) static_cast<void>(same_head());
}

void Tail::testify(Block& block) const {
  block.segments.back().witness = witness_of({before_.data(), before_bytes_});
}

}  // namespace logpipe
