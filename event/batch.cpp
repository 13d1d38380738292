#include "event/batch.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "event/json.hpp"

namespace logpipe {

namespace {

constexpr std::size_t kKeptBytes = 1024 * 1024;

/// Empties a vector and keeps its memory, unless that is large and far more than this batch needed.
template <class T>
void clear_bounded(std::vector<T>& items, std::size_t needed) noexcept {
  items.clear();
  if (items.capacity() * sizeof(T) > kKeptBytes && items.capacity() / 8 > needed) std::vector<T>().swap(items);
}

}  // namespace

std::string_view reason_name(Reason reason) noexcept {
  switch (reason) {
    case Reason::level:
      return "level";
    case Reason::unknown_level:
      return "unknown_level";
    case Reason::when:
      return "when";
    case Reason::already_delivered:
      return "already_delivered";
    case Reason::oversize:
      return "oversize";
    case Reason::parse:
      return "parse";
    case Reason::queue_full:
      return "queue_full";
    case Reason::throttled:
      return "throttled";
    case Reason::routed:
      return "routed";
    case Reason::duplicate:
      return "duplicate";
    case Reason::topic:
      return "topic";
    case Reason::sampled:
      return "sampled";
    case Reason::detached:
      return "detached";
    case Reason::where:
      return "where";
    case Reason::damaged:
      return "damaged";
    case Reason::script:
      return "script";
    case Reason::lookup:
      return "lookup";
  }
  return "unknown";
}

Batch::Batch() : tape_(std::make_unique<JsonTape>()) {}
Batch::~Batch() = default;

void Batch::open(BlockRef block) {
  forget();
  block_ = std::move(block);
  for (const Segment& segment : block_->segments) {
    if (segment.kind == SegmentKind::rewritten) {
      received_bytes += segment.end - segment.begin;
      split_at(segment, block_->origins, [](const LineOrigin& origin) { return origin.begin; });
      continue;
    }
    received_bytes += segment.file_end - segment.file_begin;
    if (segment.kind == SegmentKind::lines) {
      split(segment);
    } else if (segment.kind == SegmentKind::events) {
      split_at(segment, block_->event_begins, [](std::uint32_t begin) { return begin; });
    } else if (segment.kind != SegmentKind::dropped && segment.begin != segment.end) {
      whole(segment);
    } else {
      ++received_events;
      count(kSourceComponent, Reason::oversize, true, segment.file_end - segment.file_begin);
    }
  }
}

void Batch::split(const Segment& segment) {
  const char* const begin = block_->data();
  const char* const end = begin + segment.end;
  const char* line = begin + segment.begin;
  while (line != end) {
    const auto left = static_cast<std::size_t>(end - line);
    const auto* line_end = static_cast<const char*>(std::memchr(line, '\n', left));
    Event& event = events.emplace_back();
    event.offset = static_cast<std::uint32_t>(line - begin);
    if (line_end == nullptr) {
      event.length = static_cast<std::uint32_t>(left);
      event.source_bytes = event.length;
      event.has_line_end = false;
      line = end;
    } else {
      event.length = static_cast<std::uint32_t>(line_end - line);
      event.source_bytes = event.length + 1;
      line = line_end + 1;
    }
    ++received_events;
  }
}

/// One event from `begin` up to, and without, its last line feed.
Event& Batch::add(std::uint32_t begin, std::uint32_t end) {
  Event& event = events.emplace_back();
  event.offset = begin;
  event.length = end - begin;
  event.source_bytes = event.length;
  event.has_line_end = block_->data()[end - 1] == '\n';
  if (event.has_line_end) --event.length;
  event.several_lines = std::memchr(block_->data() + begin, '\n', event.length) != nullptr;
  ++received_events;
  return event;
}

/// The events of a segment whose beginnings are known.
template <class Items, class BeginOf>
void Batch::split_at(const Segment& segment, const Items& items, BeginOf&& begin_of) {
  auto item = std::lower_bound(items.begin(), items.end(), segment.begin,
                               [&](const auto& one, std::uint32_t begin) { return begin_of(one) < begin; });
  while (item != items.end() && begin_of(*item) < segment.end) {
    const std::uint32_t begin = begin_of(*item);
    ++item;
    const std::uint32_t end = item == items.end() ? segment.end : std::min(begin_of(*item), segment.end);
    if (end != begin) add(begin, end);
  }
}

void Batch::whole(const Segment& segment) {
  Event& event = add(segment.begin, segment.end);
  event.truncated = segment.kind == SegmentKind::truncated;
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint32_t>::max();
  const std::uint64_t bytes = segment.file_end - segment.file_begin;
  event.source_bytes = static_cast<std::uint32_t>(std::min(bytes, kMax));
  if (bytes > kMax) tallies.push_back({Reason::oversize, true, kSourceComponent, 0, bytes - kMax});
}

void Batch::close() noexcept {
  forget();
  block_.reset();
}

void Batch::forget() noexcept {
  if (!block_) return;
  clear_bounded(events, received_events);
  clear_bounded(edits, edits.size());
  clear_bounded(fields, fields.size());
  clear_bounded(routed, routed.size());
  clear_bounded(removed, removed.size());
  tallies.clear();
  held.clear();
  arena.reset();
  tape_->clear();
  received_events = 0;
  received_bytes = 0;
}

const Segment& Batch::segment_of(const Event& event) const noexcept {
  const std::vector<Segment>& segments = block_->segments;
  if (segments.size() == 1) return segments.front();
  // The first that ends behind the event: segments without bytes never do before the right one.
  return *std::upper_bound(segments.begin(), segments.end(), event.offset,
                           [](std::uint32_t offset, const Segment& segment) { return offset < segment.end; });
}

const LineOrigin& Batch::origin_of(const Event& event) const noexcept {
  const std::vector<LineOrigin>& origins = block_->origins;
  const auto behind =
      std::upper_bound(origins.begin(), origins.end(), event.offset,
                       [](std::uint32_t offset, const LineOrigin& origin) { return offset < origin.begin; });
  return *std::prev(behind);
}

std::uint64_t Batch::file_offset(const Event& event) const noexcept {
  if (!block_->origins.empty()) return origin_of(event).file_offset;
  const Segment& segment = segment_of(event);
  return segment.file_begin + (event.offset - segment.begin);
}

void Batch::count(std::uint32_t component, Reason reason, bool intentional, std::uint64_t bytes) {
  for (Tally& tally : tallies) {
    if (tally.component == component && tally.reason == reason && tally.intentional == intentional) {
      ++tally.events;
      tally.bytes += bytes;
      return;
    }
  }
  tallies.push_back({reason, intentional, component, 1, bytes});
}

}  // namespace logpipe
