#include "sources/event_cutter.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace logpipe {

/// One call of take: the bytes, how far they are cut, and what is appended of them.
class EventCutter::Cut {
 public:
  /// The next line. `feed`: it has its line feed, otherwise it ends where the bytes or a settled part do.
  struct Line {
    std::size_t begin{0};
    std::size_t end{0};  // behind the line feed
    bool whole{false};   // false: more of it may come
    bool feed{false};
    std::size_t body() const noexcept { return end - begin - (feed ? 1 : 0); }
  };

  Cut(Outbox& outbox, const SourceFileRef& file, std::uint64_t offset, std::size_t length, Follows what_follows)
      : follows(what_follows),
        outbox_(outbox),
        file_(file),
        offset_(offset),
        data_(outbox.block()->end()),
        length_(length) {
    find_fence();
  }

  Line next() {
    if (at >= fence_) find_fence();
    Line line{at, std::min(length_, fence_), false, false};
    const auto* found = static_cast<const char*>(std::memchr(data_ + at, '\n', line.end - at));
    line.feed = found != nullptr;
    if (line.feed) line.end = static_cast<std::size_t>(found + 1 - data_);
    line.whole = line.feed || line.end == fence_ || follows == Follows::no_byte;
    return line;
  }
  /// The bytes before `end` still are whole lines.
  bool still_there(std::size_t end) const noexcept { return end <= length_ && data_[end - 1] == '\n'; }
  bool more() const noexcept { return at < length_; }
  bool at_fence() const noexcept { return at == fence_; }
  std::string_view bytes(std::size_t from, std::size_t to) const noexcept { return {data_ + from, to - from}; }
  /// The line's bytes as a rule sees them.
  std::string_view text(const Line& line) const noexcept {
    std::string_view text = bytes(line.begin, line.begin + line.body());
    if (LineCutter::has_mark(offset_ + line.begin, text)) text.remove_prefix(LineCutter::kByteOrderMark.size());
    if (text.ends_with('\r')) text.remove_suffix(1);
    return text;
  }

  /// A rule may work long on a line, and there are many of them in what was read at once.
  void beat() noexcept { outbox_.heartbeat().beat(); }

  /// Notes that `[begin, at)` is an event.
  void end_event() {
    if (at == begin) return;
    const std::size_t mark = LineCutter::kByteOrderMark.size();
    if (at > mark && LineCutter::has_mark(offset_ + begin, bytes(begin, at))) {
      std::memmove(outbox_.block()->end(), data_ + mark, at - mark);
      outbox_.append(file_, 0, at, at - mark, SegmentKind::joined);
      begin = appended_ = at;
      return;
    }
    Block& block = *outbox_.block();
    block.event_begins.push_back(static_cast<std::uint32_t>(block.size() + (begin - appended_)));
    begin = at;
  }
  /// Appends everything before `begin`.
  void append(SegmentKind kind) { append_until(begin, begin - appended_, kind); }
  void append_until(std::size_t end, std::size_t kept, SegmentKind kind) {
    if (end == appended_) return;
    char* to = outbox_.block()->end();
    if (to != data_ + appended_) std::memmove(to, data_ + appended_, kept);
    outbox_.append(file_, offset_ + appended_, offset_ + end, kept, kind);
    appended_ = end;
  }
  /// Appends text that stands for the next `file_bytes`, and is no longer than those.
  void append_made(std::string_view text, std::size_t file_bytes) {
    std::memcpy(outbox_.block()->end(), text.data(), text.size());
    outbox_.append(file_, offset_ + appended_, offset_ + appended_ + file_bytes, text.size(), SegmentKind::joined);
    appended_ += file_bytes;
  }
  /// Appends a line that is too long to be part of an event of several, `[begin, line.end)`.
  void take_long(const Line& line, LineCutter& lines, bool& continues) {
    const LineLimit& limit = lines.limit();
    std::size_t left = line.body();
    const bool oversize = left > limit.bytes;
    if (oversize && limit.policy != Oversize::split) {
      const bool keep = limit.policy == Oversize::truncate;
      append_until(line.end, keep ? limit.bytes : 0, keep ? SegmentKind::truncated : SegmentKind::dropped);
    } else {
      for (; left > limit.bytes; left -= limit.bytes)
        append_until(appended_ + limit.bytes, limit.bytes, SegmentKind::lines);
      append_until(line.end, line.end - appended_, SegmentKind::lines);
    }
    if (oversize && !continues) lines.count_oversize();
    continues = false;
    begin = at = line.end;
  }
  /// Appends the full pieces of a line whose end has not come.
  void take_pieces(std::size_t end, LineCutter& lines, bool& continues) {
    const std::size_t piece = lines.limit().bytes;
    if (lines.limit().policy != Oversize::split || end - begin <= piece) return;
    if (!continues) lines.count_oversize();
    continues = true;
    while (end - begin > piece) {
      append_until(begin + piece, piece, SegmentKind::lines);
      begin = at = appended_;
    }
  }
  /// Leaves what is not appended behind the block's end. Returns what is.
  std::size_t finish() {
    char* to = outbox_.block()->end();
    if (to != data_ + appended_ && length_ > appended_) std::memmove(to, data_ + appended_, length_ - appended_);
    return appended_;
  }

  const Follows follows;
  std::size_t begin{0};  // of the event that is not finished
  std::size_t at{0};     // behind the last line of it

 private:
  /// Up to where some sink had settled this file when the process ended: the next such place behind `at`.
  void find_fence() {
    fence_ = std::numeric_limits<std::size_t>::max();
    for (const std::uint64_t until : file_->delivered_until) {
      if (until > offset_ + at) fence_ = static_cast<std::size_t>(std::min<std::uint64_t>(fence_, until - offset_));
    }
  }

  Outbox& outbox_;
  const SourceFileRef& file_;
  const std::uint64_t offset_;
  const char* const data_;
  const std::size_t length_;
  std::size_t appended_{0};
  std::size_t fence_{0};
};

EventCutter::EventCutter(const MultilineOptions& options, LineCutter& lines, Counter cut_events)
    : rule_(make_line_rule(options)),
      pieces_(line_pieces_of(options)),
      timeout_(options.timeout),
      lines_max_(options.max_lines),
      bytes_max_(static_cast<std::size_t>(options.max_bytes)),
      line_bytes_max_(std::min(bytes_max_, lines.limit().bytes)),
      lines_(lines),
      cut_events_(std::move(cut_events)) {}

std::size_t EventCutter::take(Outbox& outbox, const SourceFileRef& file, std::uint64_t offset, std::size_t length,
                              PendingEvent& pending, Follows follows) {
  Cut cut(outbox, file, offset, length, follows);
  if (rule_) {
    take_ruled(cut, pending);
  } else {
    take_joined(cut, pending);
  }
  return cut.finish();
}

void EventCutter::take_ruled(Cut& cut, PendingEvent& pending) {
  // Other bytes than last time: the file was overwritten. What they are now is looked at from their beginning.
  const bool known = pending.bytes == 0 || cut.still_there(pending.bytes);
  if (!known) pending = {};
  cut.at = pending.bytes;
  const auto end_event = [&] {
    cut.end_event();
    pending = {.continues = pending.continues};
  };
  while (cut.more()) {
    const Cut::Line line = cut.next();
    if (line.body() > line_bytes_max_) {
      if (cut.at > cut.begin) cut_events_.add();
      end_event();
      cut.append(SegmentKind::events);
      if (!line.whole) {
        cut.take_pieces(line.end, lines_, pending.continues);
        break;
      }
      cut.take_long(line, lines_, pending.continues);
      continue;
    }
    if (!line.whole) break;
    pending.continues = false;
    cut.beat();
    const LinePart part = rule_->part_of(cut.text(line).substr(0, LineRule::kLookedAt), pending.phase);
    if (cut.at > cut.begin) {
      const bool full = pending.lines >= lines_max_ || line.end - cut.begin > bytes_max_;
      if (part == LinePart::continues && full) cut_events_.add();
      if (part != LinePart::continues || full) {
        const std::uint8_t phase = pending.phase;
        end_event();
        pending.phase = phase;
      }
    }
    ++pending.lines;
    cut.at = line.end;
    if (part == LinePart::alone || cut.at_fence()) end_event();
  }
  if (cut.follows != Follows::perhaps) end_event();
  pending.bytes = cut.at - cut.begin;
  cut.append(SegmentKind::events);
}

void EventCutter::take_joined(Cut& cut, PendingEvent& pending) {
  // Lines that are whole pass as they are. From the first piece on, everything is gathered until no stream has a piece
  // open; that is settled at once, so no position is ever between the pieces of a line.
  pending = {.continues = pending.continues};
  bool open = false;
  const auto settle = [&] {
    if (open) {
      for (Joined& joined : joined_) {
        joined.text += joined.tail;
        if (joined.line_end) joined.text += '\n';
        cut.append_made(joined.text, joined.file_bytes);
      }
      joined_.clear();
      open = false;
      pending = {.continues = pending.continues};
      cut.begin = cut.at;
    } else {
      cut.begin = cut.at;
      cut.append(SegmentKind::lines);
    }
  };
  while (cut.more()) {
    const Cut::Line line = cut.next();
    if (line.body() > line_bytes_max_) {
      if (open) cut_events_.add();
      settle();
      if (!line.whole) {
        cut.take_pieces(line.end, lines_, pending.continues);
        break;
      }
      cut.take_long(line, lines_, pending.continues);
      continue;
    }
    if (!line.whole) break;
    pending.continues = false;
    const std::string_view text = cut.text(line);
    if (!open) {
      const auto piece = pieces_(text);
      if (!piece || !piece->partial) {
        cut.at = line.end;
        continue;
      }
      settle();
      open = true;
    }
    add_piece(cut.bytes(line.begin, line.begin + line.body()), line.feed);
    ++pending.lines;
    cut.at = line.end;
    const bool full = pending.lines >= lines_max_ || cut.at - cut.begin >= bytes_max_;
    if (!any_open()) {
      settle();
    } else if (full || cut.at_fence()) {
      if (full) cut_events_.add();
      settle();
    }
  }
  if (!open || cut.follows != Follows::perhaps) settle();
  joined_.clear();
  pending.bytes = cut.at - cut.begin;
}

/// Adds a line to what is being put together.
void EventCutter::add_piece(std::string_view line, bool line_end) {
  const auto piece = pieces_(line.ends_with('\r') ? line.substr(0, line.size() - 1) : line);
  const std::size_t file_bytes = line.size() + (line_end ? 1 : 0);
  const auto before = !piece ? joined_.end() : std::find_if(joined_.begin(), joined_.end(), [&](const Joined& joined) {
    return joined.open && joined.stream == piece->stream;
  });
  if (before == joined_.end()) {
    Joined& joined = joined_.emplace_back();
    joined.file_bytes = file_bytes;
    joined.line_end = line_end;
    joined.open = piece && piece->partial;
    if (!joined.open) {
      joined.text = line;
      return;
    }
    joined.stream = piece->stream;
    joined.text.append(piece->head).append(piece->text);
    joined.tail = piece->tail;
    joined.tag = piece->tag;
    return;
  }
  before->text += piece->text;
  before->file_bytes += file_bytes;
  before->open = piece->partial;
  if (!before->open && before->tag != 0) before->text[before->tag] = 'F';
}

bool EventCutter::any_open() const noexcept {
  return std::any_of(joined_.begin(), joined_.end(), [](const Joined& joined) { return joined.open; });
}

std::unique_ptr<EventCutter> make_event_cutter(const std::optional<MultilineOptions>& options, LineCutter& lines,
                                               MetricsRegistry* metrics, const std::string& source) {
  if (!options) return nullptr;
  Counter cut;
  if (metrics != nullptr) {
    cut = metrics->counter({"logpipe_source_cut_events_total",
                            "Events of several lines that ended at max_lines or max_bytes; the rest of them are events "
                            "of their own."},
                           {{"source", source}});
  }
  return std::make_unique<EventCutter>(*options, lines, std::move(cut));
}

}  // namespace logpipe
