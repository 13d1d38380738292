#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace logpipe {

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted; from 1678 to 2261.
using UnixNanos = std::int64_t;

/// A date and a clock as they were written, and the zone where one was.
struct CivilTime {
  std::int32_t year{1970};
  std::uint8_t month{1};  ///< 1 to 12
  std::uint8_t day{1};    ///< 1 to 31
  std::uint8_t hour{0};
  std::uint8_t minute{0};
  std::uint8_t second{0};  ///< up to 60
  bool has_year{true};
  bool has_offset{false};
  std::uint32_t nanosecond{0};
  std::int32_t offset_seconds{0};  ///< east of Greenwich
};

/// Days since 1970-01-01 of a date of the Gregorian calendar. The algorithm is that of Howard Hinnant's
/// "chrono-compatible low-level date algorithms".
std::int64_t days_from_civil(std::int64_t year, unsigned month, unsigned day) noexcept;
/// The inverse; only the date is set.
CivilTime civil_from_days(std::int64_t days) noexcept;

/// Seconds since 1970 of a civil time as if it were UTC; its offset is not looked at.
std::int64_t civil_seconds(const CivilTime& time) noexcept;
/// The point in time by the offset that was written, otherwise `offset_seconds`; nullopt beyond what UnixNanos holds.
std::optional<UnixNanos> to_nanos(const CivilTime& time, std::int64_t offset_seconds = 0) noexcept;
/// Sets a year that was not written: the one that brings the time closest to now, at most a day ahead of it.
void guess_year(CivilTime& time, UnixNanos now) noexcept;

// The scanners take the whole text. Digits and ranges are checked (the day by its month too), so what comes back is a
// time. All of them: nullopt for anything else, any thread.

/// RFC 3339 section 5.6: `2026-11-21T13:00:00.123456789+01:00`, `Z` or `z`, a blank or `t` instead of the `T`, any
/// number of digits behind the point (from the tenth on they are cut). Also as ISO 8601 has it: a comma for the point,
/// the offset as `+0100` or `+01`, or none at all.
std::optional<CivilTime> scan_rfc3339(std::string_view text) noexcept;
/// Whether it is RFC 3339 to the letter, with a `T` and an offset: a spelling that any reader understands.
bool is_rfc3339(std::string_view text) noexcept;
/// `Oct 11 22:14:15`, with a fraction, with a year before the month or behind the day, with `UTC` or `GMT` behind it.
std::optional<CivilTime> scan_rfc3164(std::string_view text) noexcept;
/// `10/Oct/2000:13:55:36 -0700`, as in access logs.
std::optional<CivilTime> scan_clf_time(std::string_view text) noexcept;

enum class EpochUnit : std::uint8_t { seconds, milliseconds, microseconds, nanoseconds, by_size };
/// A number since 1970, with a fraction; `by_size` tells the unit by its digits: up to 11 are seconds, 14 milliseconds,
/// 17 microseconds.
std::optional<UnixNanos> scan_epoch(std::string_view text, EpochUnit unit) noexcept;

/// `2026-11-21T12:00:00.123Z`: in UTC, with 0, 3, 6 or 9 digits of a fraction, as many as it needs. `out` has room for
/// kRfc3339Max bytes; returns how many were written.
inline constexpr std::size_t kRfc3339Max = 30;
std::size_t write_rfc3339(UnixNanos time, char* out) noexcept;

/// A format of strptime's kind, compiled once. A blank stands for any number of blanks; all other text stands for
/// itself.
///
/// `%Y` year, `%y` two digits (69 to 99 are 19..), `%m` month, `%b` or `%B` its English name, `%d` or `%e` day, `%j`
/// day of the year, `%H` hour, `%I` hour up to 12 with `%p` AM or PM, `%M` minute, `%S` second, `%f` digits of a
/// fraction, `%z` offset (`Z`, `+01:00`, `+0100`, `+01`), `%Z` `UTC`, `GMT` or `Z`, `%a` or `%A` English weekday (not
/// checked), `%s` seconds since 1970, `%T` = `%H:%M:%S`, `%D` = `%m/%d/%y`, `%F` = `%Y-%m-%d`, `%%`. Numbers may have
/// fewer digits than their field. Threads: const after parsing, so any.
class TimeFormat {
 public:
  struct Problem {
    std::size_t offset{0};
    std::size_t length{1};
    std::string message;  ///< lower case, no full stop
    std::string hint;     ///< may be empty
  };
  static std::optional<TimeFormat> parse(std::string_view text, Problem* problem = nullptr);
  std::optional<CivilTime> scan(std::string_view text) const noexcept;
  const std::string& spelling() const noexcept { return spelling_; }

 private:
  struct Item {
    char kind;  ///< the letter behind the %, ' ' for blanks, '%' for a literal byte
    char literal;
  };
  std::string spelling_;
  std::vector<Item> items_;
};

}  // namespace logpipe
