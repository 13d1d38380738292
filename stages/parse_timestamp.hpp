#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "event/batch.hpp"
#include "event/fields.hpp"
#include "event/timestamp.hpp"
#include "stages/parse.hpp"

namespace logpipe {

/// Reads the time of parsed events out of a field, and sets `timestamp` to it, as RFC 3339.
/// Threads: const, so any.
class TimestampStep {
 public:
  explicit TimestampStep(const TimestampOptions& options);

  /// False when the field is not there or is no time; the event is then left alone. A year that is not written is
  /// the latest that brings the time no more than a day after the block was read. A spelling that is RFC 3339 already
  /// is kept.
  bool apply(Batch& batch, Event& event) const;

  /// The point in time a text stands for.
  std::optional<UnixNanos> read(std::string_view text, UnixNanos now) const;

 private:
  std::optional<UnixNanos> by_looks(std::string_view text, UnixNanos now) const;
  std::optional<UnixNanos> point(std::optional<CivilTime> time, UnixNanos now) const;

  FieldPath field_;
  bool in_place_;  ///< the field is `timestamp` itself
  TimeSpelling spelling_;
  std::int32_t offset_seconds_;
};

}  // namespace logpipe
