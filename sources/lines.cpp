#include "sources/lines.hpp"

#include <algorithm>
#include <cstring>

namespace logpipe {

namespace {

/// Moves `[from, from + bytes)` of what lies behind the block's end to the end, and appends it.
void append_moved(Outbox& outbox, const SourceFileRef& file, std::uint64_t offset, const char* from, std::size_t bytes,
                  std::uint64_t file_bytes, SegmentKind kind) {
  char* end = outbox.block()->end();
  if (bytes > 0 && end != from) std::memmove(end, from, bytes);
  outbox.append(file, offset, offset + file_bytes, bytes, kind);
}

}  // namespace

std::size_t LineCutter::take_lines(Outbox& outbox, const SourceFileRef& file, std::uint64_t offset, std::size_t length,
                                   bool& continues) {
  if (offset == 0 && has_mark(offset, {outbox.block()->end(), length})) {
    if (const std::size_t taken = take_marked(outbox, file, length, continues); taken > 0) return taken;
  }
  if (length > limit_.bytes) return take_bounded(outbox, file, offset, length, continues);
  const char* begin = outbox.block()->end();
  const auto* last = static_cast<const char*>(memrchr(begin, '\n', length));
  if (last == nullptr) return 0;
  const auto taken = static_cast<std::size_t>(last + 1 - begin);
  outbox.append(file, offset, offset + taken, taken, SegmentKind::lines);
  continues = false;
  return taken;
}

/// Takes the first line of a file without its byte order mark, and what follows it. 0: it has no end yet, or is too
/// long for such care.
std::size_t LineCutter::take_marked(Outbox& outbox, const SourceFileRef& file, std::size_t length, bool& continues) {
  char* data = outbox.block()->end();
  const auto* feed = static_cast<const char*>(std::memchr(data, '\n', length));
  const std::size_t whole = feed == nullptr ? length + 1 : static_cast<std::size_t>(feed + 1 - data);
  // Behind the line, or the part of it that some sink had settled when the process ended.
  const auto line = static_cast<std::size_t>(event_end(*file, 0, whole));
  if (line > length) return 0;
  if (line - (line == whole ? 1 : 0) > limit_.bytes) return 0;
  const std::size_t mark = line > kByteOrderMark.size() ? kByteOrderMark.size() : 0;
  append_moved(outbox, file, 0, data + mark, line - mark, line, mark > 0 ? SegmentKind::joined : SegmentKind::lines);
  std::memmove(outbox.block()->end(), data + line, length - line);
  return line + (length == line ? 0 : take_lines(outbox, file, line, length - line, continues));
}

std::size_t LineCutter::take_bounded(Outbox& outbox, const SourceFileRef& file, std::uint64_t offset,
                                     std::size_t length, bool& continues) {
  const char* data = outbox.block()->end();
  std::size_t from = 0;  // first byte not appended yet; [from, at) are whole lines
  std::size_t at = 0;    // where a line begins
  const auto append_lines = [&] {
    if (at > from) append_moved(outbox, file, offset + from, data + from, at - from, at - from, SegmentKind::lines);
    from = at;
  };
  while (at < length) {
    // The last line feed within reach of the limit: every line up to there is short enough.
    const std::size_t reach = std::min(limit_.bytes + 1, length - at);
    if (const auto* feed = static_cast<const char*>(memrchr(data + at, '\n', reach)); feed != nullptr) {
      at = static_cast<std::size_t>(feed + 1 - data);
      continues = false;
      continue;
    }
    if (reach <= limit_.bytes) break;  // unfinished, and not too long yet
    if (limit_.policy == Oversize::split) {
      append_lines();
      append_moved(outbox, file, offset + at, data + at, limit_.bytes, limit_.bytes, SegmentKind::lines);
      if (!continues) count_oversize();
      continues = true;
      at += limit_.bytes;
      from = at;
      continue;
    }
    const auto* feed = static_cast<const char*>(std::memchr(data + at + reach, '\n', length - at - reach));
    if (feed == nullptr) break;
    append_lines();
    const auto whole = static_cast<std::size_t>(feed + 1 - (data + at));
    const auto line = static_cast<std::size_t>(event_end(*file, offset + at, offset + at + whole) - (offset + at));
    if (line <= limit_.bytes) {
      append_moved(outbox, file, offset + at, data + at, line, line, SegmentKind::lines);
    } else {
      const bool keep = limit_.policy == Oversize::truncate;
      append_moved(outbox, file, offset + at, data + at, keep ? limit_.bytes : 0, line,
                   keep ? SegmentKind::truncated : SegmentKind::dropped);
      count_oversize();
    }
    at += line;
    from = at;
  }
  append_lines();
  char* end = outbox.block()->end();
  if (at < length && end != data + at) std::memmove(end, data + at, length - at);
  return at;
}

}  // namespace logpipe
