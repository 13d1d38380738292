#include "stages/parse_timestamp.hpp"

#include <chrono>
#include <cstring>
#include <utility>

namespace logpipe {
namespace {

constexpr std::string_view kTimestamp = "timestamp";

constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

UnixNanos read_time_of(const Batch& batch) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(batch.block().read_at.time_since_epoch()).count();
}

}  // namespace

TimestampStep::TimestampStep(const TimestampOptions& options)
    : field_(options.field ? *options.field : *FieldPath::parse("time")),
      in_place_(field_.spelling() == kTimestamp),
      spelling_(options.format),
      offset_seconds_(options.zone.seconds) {}

bool TimestampStep::apply(Batch& batch, Event& event) const {
  const std::optional<FieldValue> value = find(batch, event, field_);
  if (!value || (value->type != ValueType::string && value->type != ValueType::number)) return false;
  const std::string_view text = value_text(*value, batch.arena);
  const auto time = read(text, read_time_of(batch));
  if (!time) return false;
  const bool keep = is_rfc3339(text);
  if (keep && in_place_) return true;
  const std::size_t room = (keep ? text.size() : kRfc3339Max) + 2;
  char* const json = batch.arena.allocate(room);
  std::size_t size = text.size();
  if (keep) {
    std::memcpy(json + 1, text.data(), size);
  } else {
    size = write_rfc3339(*time, json + 1);
  }
  json[0] = '"';
  json[size + 1] = '"';
  batch.arena.shrink_last(room - size - 2);
  set(batch, event, kTimestamp, {json, size + 2});
  return true;
}

std::optional<UnixNanos> TimestampStep::point(std::optional<CivilTime> time, UnixNanos now) const {
  if (!time) return std::nullopt;
  guess_year(*time, now);
  return to_nanos(*time, offset_seconds_);
}

std::optional<UnixNanos> TimestampStep::read(std::string_view text, UnixNanos now) const {
  if (spelling_.own) return point(spelling_.own->scan(text), now);
  switch (spelling_.kind) {
    case TimeSpelling::Kind::rfc3339:
      return point(scan_rfc3339(text), now);
    case TimeSpelling::Kind::rfc3164:
      return point(scan_rfc3164(text), now);
    case TimeSpelling::Kind::clf:
      return point(scan_clf_time(text), now);
    case TimeSpelling::Kind::epoch:
      return scan_epoch(text, spelling_.unit);
    case TimeSpelling::Kind::by_looks:
      break;
  }
  return by_looks(text, now);
}

std::optional<UnixNanos> TimestampStep::by_looks(std::string_view text, UnixNanos now) const {
  if (text.size() >= 19 && text[4] == '-') return point(scan_rfc3339(text), now);
  if (text.size() >= 20 && text[2] == '/') return point(scan_clf_time(text), now);
  if (text.empty()) return std::nullopt;
  if (is_digit(text.front()) || text.front() == '-') {
    if (const auto time = scan_epoch(text, EpochUnit::by_size)) return time;
  }
  return point(scan_rfc3164(text), now);
}

}  // namespace logpipe
