// Reading files of UTF-16; the rest of Tail is in tail.cpp.
//
// Positions count bytes of the file, so every line is a segment of its own that says which bytes it was. What was read
// is converted from a buffer of the source into the block, where there is room for what it may become.

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
    take_utf16(outbox, units.substr(at, *end - at), *end - at);
    at = *end;
  }
  for (; limit.policy == Oversize::split && read - at > limit.bytes; at += utf16_piece()) {
    if (!continues_) tools_.lines.count_oversize();
    continues_ = true;
    append_utf16(outbox, units.substr(at, utf16_piece()), utf16_piece(), SegmentKind::joined);
  }
  searched_ = from + read;
  if (position_ > from) settled(*outbox.block(), from);
  return at_end() ? Turn::idle : Turn::more;
}

/// Behind the next line, or behind the part of it that some sink had settled when the process ended.
std::optional<std::size_t> Tail::next_utf16_end(std::string_view units, std::size_t at, std::size_t held) const {
  // Of the first line the bytes that were looked at before hold no end.
  auto end = behind_line_feed(units, at == 0 ? held : at, *byte_order_);
  const std::uint64_t begin = position_ - at;  // of `units` in the file
  for (const std::uint64_t until : file()->delivered_until) {
    if (until <= position_ || until > begin + (end ? *end : units.size())) continue;
    end = static_cast<std::size_t>(until - begin);
  }
  return end;
}

/// A whole number of code units.
std::size_t Tail::utf16_piece() const noexcept {
  return std::max<std::size_t>(tools_.lines.limit().bytes & ~std::size_t{1}, 2);
}

/// Appends one line, or what the policy makes of it. `units` has at least as much of it as is kept; it takes
/// `file_bytes` of the file.
void Tail::take_utf16(Outbox& outbox, std::string_view units, std::uint64_t file_bytes) {
  const LineLimit& limit = tools_.lines.limit();
  const std::size_t piece = utf16_piece();
  const bool feed = behind_last_line_feed(units, *byte_order_) == units.size() && units.size() == file_bytes;
  const std::uint64_t body = file_bytes - (feed ? 2 : 0);
  if (body <= limit.bytes) {
    append_utf16(outbox, units, file_bytes, SegmentKind::joined);
  } else if (limit.policy == Oversize::split) {
    if (!continues_) tools_.lines.count_oversize();
    for (; units.size() - (feed ? 2 : 0) > limit.bytes; units.remove_prefix(piece))
      append_utf16(outbox, units.substr(0, piece), piece, SegmentKind::joined);
    append_utf16(outbox, units, units.size(), SegmentKind::joined);
  } else {
    tools_.lines.count_oversize();
    const bool keep = limit.policy == Oversize::truncate;
    append_utf16(outbox, units.substr(0, keep ? piece : 0), file_bytes,
                 keep ? SegmentKind::truncated : SegmentKind::dropped);
  }
  continues_ = false;
}

/// Appends `units` as text that stands for the next bytes of the file.
void Tail::append_utf16(Outbox& outbox, std::string_view units, std::uint64_t file_bytes, SegmentKind kind) {
  if (position_ == 0 && begins_with_mark(units, *byte_order_) && units.size() > 2) units.remove_prefix(2);
  const std::size_t bytes = to_utf8(units, *byte_order_, outbox.block()->end());
  outbox.append(file(), position_, position_ + file_bytes, bytes, kind);
  position_ += file_bytes;
}

/// Looks for the end of a line that is longer than the limit, and then takes it.
Tail::Turn Tail::search_utf16(Outbox& outbox) {
  for (std::size_t searched = 0; searched < kTurnBytes && !at_end(); searched += tools_.scratch.size()) {
    const std::uint64_t from = searched_ - (searched_ - position_) % 2;
    const auto want = std::min<std::uint64_t>(tools_.scratch.size(), size_ - from);
    const ssize_t length = read_at(tools_.scratch.data(), static_cast<std::size_t>(want), from);
    if (length <= 0) return after(length);
    const std::string_view units(tools_.scratch.data(), static_cast<std::size_t>(length));
    if (const auto end = behind_line_feed(units, 0, *byte_order_)) return take_long_utf16(outbox, from + *end);
    searched_ = from + static_cast<std::uint64_t>(length);
  }
  return at_end() ? Turn::idle : Turn::more;
}

/// Takes the line from the position to `end`, of which the first bytes are enough.
Tail::Turn Tail::take_long_utf16(Outbox& outbox, std::uint64_t end) {
  const LineLimit& limit = tools_.lines.limit();
  const std::uint64_t length = end - position_;
  const bool all = limit.policy == Oversize::split || length <= limit.bytes;
  const std::size_t kept = all ? static_cast<std::size_t>(length) : utf16_piece();
  Block* block = outbox.room(utf8_bytes_max(kept), utf8_bytes_max(kept));
  if (block == nullptr) return Turn::stopped;
  tools_.units.resize(kept);
  if (const Turn turn = read_whole(tools_.units.data(), kept); turn != Turn::more) return turn;
  const std::uint64_t from = position_;
  take_utf16(outbox, {tools_.units.data(), kept}, length);
  searched_ = position_;
  settled(*outbox.block(), from);
  return at_end() ? Turn::idle : Turn::more;
}

/// Delivers an unfinished last line.
Tail::Turn Tail::finish_utf16(Outbox& outbox) {
  if (const Turn turn = find_byte_order(); turn == Turn::stopped || turn == Turn::failed) return turn;
  if (!byte_order_) byte_order_ = ByteOrder::little;  // a single byte
  return take_long_utf16(outbox, size_);
}

}  // namespace logpipe
