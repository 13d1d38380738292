// Reading files of UTF-16; the rest of Tail is in tail.cpp.
//
// Positions count bytes of the file, so every line is a segment of its own that says which bytes it was. What was read
// is converted from a buffer of the source into the block, where there is room for what it may become.
//
// Code units begin at even offsets of the file, whatever the position is. An odd last byte is settled only where
// nothing can follow it; should something follow all the same, the rest of that unit is passed over.

#include <algorithm>
#include <cstring>
#include <utility>

#include "sources/tail.hpp"

namespace logpipe {

/// The order of the bytes in this file, found out once.
Tail::Turn Tail::find_byte_order() {
  if (byte_order_) return Turn::more;
  char head[2] = {};
  const ssize_t length = read_at(head, sizeof head, 0);
  if (length < 0) return after(length);
  if (length < 2) return Turn::idle;
  byte_order_ = byte_order_of(tools_.charset, {head, 2});
  return Turn::more;
}

Tail::Turn Tail::read_utf16(Outbox& outbox, std::size_t expected) {
  if (const Turn turn = find_byte_order(); turn != Turn::more) return turn;
  const LineLimit& limit = tools_.lines.limit();
  const auto held = static_cast<std::size_t>(searched_ - position_);
  if (held > limit.bytes && limit.policy != Oversize::split) return search_utf16(outbox);
  const auto left = static_cast<std::size_t>(std::min<std::uint64_t>(size_ - position_, held + kTurnBytes / 2));
  Block* block = outbox.room(utf8_bytes_max(left), utf8_bytes_max(std::max(left, std::min(expected, kTurnBytes / 2))));
  if (block == nullptr) return Turn::stopped;
  tools_.units.resize(left);
  std::size_t read = 0;
  if (const Turn turn = read_again(tools_.units.data(), left, read); turn != Turn::more) return turn;

  const std::string_view units(tools_.units.data(), read);
  const std::uint64_t from = position_;
  std::size_t at = 0;
  while (const auto end = next_utf16_end(units, at, held)) {
    take_utf16(outbox, units.substr(at, end->at - at), end->at - at, end->feed);
    at = end->at;
  }
  // The last unit may be all or half of a line feed.
  while (limit.policy == Oversize::split && read - at >= limit.bytes + 2) {
    if (!continues_) tools_.lines.count_oversize();
    continues_ = true;
    const std::size_t piece = utf16_piece(units.substr(at));
    append_utf16(outbox, units.substr(at, piece), piece, SegmentKind::joined);
    at += piece;
  }
  searched_ = from + read;
  if (position_ > from) settled(*outbox.block(), from);
  return at_end() ? Turn::idle : Turn::more;
}

/// Behind the next line, or behind the part of it that some sink had settled when the process ended.
std::optional<Tail::Utf16End> Tail::next_utf16_end(std::string_view units, std::size_t at, std::size_t held) const {
  const std::uint64_t begin = position_ - at;  // of `units` in the file
  const std::size_t skew = begin % 2;
  std::optional<std::size_t> feed;
  // Of the first line the bytes that were looked at before hold no end.
  if (units.size() > skew) {
    const std::size_t known = at == 0 ? held : at;
    feed = behind_line_feed(units.substr(skew), known - std::min(known, skew), *byte_order_);
    if (feed) *feed += skew;
  }
  const std::uint64_t whole = begin + (feed ? *feed : units.size() + 1);
  const std::uint64_t end = event_end(*file(), position_, whole);
  if (end < whole) return Utf16End{static_cast<std::size_t>(end - begin), false};
  if (!feed) return std::nullopt;
  return Utf16End{*feed, true};
}

/// The bytes of a piece at the position, which is where `units` begin: whole code units and whole characters.
std::size_t Tail::utf16_piece(std::string_view units) const noexcept {
  const std::size_t skew = position_ % 2;
  const std::size_t piece = std::max<std::size_t>(tools_.lines.limit().bytes & ~std::size_t{1}, 2) - skew;
  const bool halves = piece > skew + 2 && ends_with_high_surrogate(units.substr(0, piece), *byte_order_);
  return piece - (halves ? 2 : 0);
}

/// Appends one line, or what the policy makes of it. `units` has at least as much of it as is kept; it takes
/// `file_bytes` of the file and ends with a line `feed` or without.
void Tail::take_utf16(Outbox& outbox, std::string_view units, std::uint64_t file_bytes, bool feed) {
  const LineLimit& limit = tools_.lines.limit();
  const std::size_t feed_bytes = feed ? 2 : 0;
  if (file_bytes - feed_bytes <= limit.bytes) {
    append_utf16(outbox, units, file_bytes, SegmentKind::joined);
  } else if (limit.policy == Oversize::split) {
    if (!continues_) tools_.lines.count_oversize();
    while (units.size() - feed_bytes > limit.bytes) {
      const std::size_t piece = utf16_piece(units);
      append_utf16(outbox, units.substr(0, piece), piece, SegmentKind::joined);
      units.remove_prefix(piece);
    }
    append_utf16(outbox, units, units.size(), SegmentKind::joined);
  } else {
    tools_.lines.count_oversize();
    const bool keep = limit.policy == Oversize::truncate;
    append_utf16(outbox, units.substr(0, keep ? utf16_piece(units) : 0), file_bytes,
                 keep ? SegmentKind::truncated : SegmentKind::dropped);
  }
  continues_ = false;
}

/// Appends `units` as text that stands for the next bytes of the file.
void Tail::append_utf16(Outbox& outbox, std::string_view units, std::uint64_t file_bytes, SegmentKind kind) {
  if (position_ % 2 == 1 && units.size() > 1) units.remove_prefix(1);  // of a unit whose first half was settled
  if (position_ == 0 && begins_with_mark(units, *byte_order_) && units.size() > 2) units.remove_prefix(2);
  const std::size_t bytes = to_utf8(units, *byte_order_, outbox.block()->end());
  outbox.append(file(), position_, position_ + file_bytes, bytes, kind);
  position_ += file_bytes;
}

/// Looks for the end of a line that is longer than the limit, and then takes it.
Tail::Turn Tail::search_utf16(Outbox& outbox) {
  for (std::size_t searched = 0; searched < kTurnBytes && !at_end(); searched += tools_.scratch.size()) {
    const std::uint64_t from = std::max(searched_ - searched_ % 2, position_ + position_ % 2);
    const auto want = std::min<std::uint64_t>(tools_.scratch.size(), size_ - from);
    const ssize_t length = read_at(tools_.scratch.data(), static_cast<std::size_t>(want), from);
    if (length <= 0) return after(length);
    const std::string_view units(tools_.scratch.data(), static_cast<std::size_t>(length));
    if (const auto end = behind_line_feed(units, 0, *byte_order_)) return take_long_utf16(outbox, from + *end, true);
    searched_ = from + static_cast<std::uint64_t>(length);
  }
  return at_end() ? Turn::idle : Turn::more;
}

/// Takes the line from the position to `end`, of which the first bytes are enough; or the part of it that some sink had
/// settled when the process ended.
Tail::Turn Tail::take_long_utf16(Outbox& outbox, std::uint64_t end, bool feed) {
  const LineLimit& limit = tools_.lines.limit();
  if (const std::uint64_t part = event_end(*file(), position_, end); part < end) {
    end = part;
    feed = false;
  }
  const std::uint64_t length = end - position_;
  const bool all = limit.policy == Oversize::split || length - (feed ? 2 : 0) <= limit.bytes;
  const std::size_t kept = static_cast<std::size_t>(all ? length : std::min<std::uint64_t>(length, limit.bytes + 2));
  Block* block = outbox.room(utf8_bytes_max(kept), utf8_bytes_max(kept));
  if (block == nullptr) return Turn::stopped;
  tools_.units.resize(kept);
  if (const Turn turn = read_whole(tools_.units.data(), kept); turn != Turn::more) return turn;
  const std::uint64_t from = position_;
  take_utf16(outbox, {tools_.units.data(), kept}, length, feed);
  searched_ = position_;
  settled(*outbox.block(), from);
  return at_end() ? Turn::idle : Turn::more;
}

/// Delivers an unfinished last line. Half a character is left where the rest of it may come: as long as a name leads to
/// the file.
Tail::Turn Tail::finish_utf16(Outbox& outbox) {
  if (const Turn turn = find_byte_order(); turn == Turn::stopped || turn == Turn::failed) return turn;
  std::uint64_t end = size_;
  if (!unlinked_) {
    end -= end % 2;
    char last[2] = {};
    if (byte_order_ && end >= position_ + sizeof last) {
      if (const Turn turn = read_fully(last, sizeof last, end - sizeof last); turn != Turn::more) return turn;
      if (ends_with_high_surrogate({last, sizeof last}, *byte_order_)) end -= sizeof last;
    }
  }
  if (end <= position_) {
    searched_ = size_;
    return Turn::idle;
  }
  if (!byte_order_) byte_order_ = ByteOrder::little;  // a single byte
  return take_long_utf16(outbox, end, false);
}

}  // namespace logpipe
