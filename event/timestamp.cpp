#include "event/timestamp.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace logpipe {
namespace {

constexpr std::int64_t kNanos = 1'000'000'000;
constexpr std::int64_t kDay = 86'400;

constexpr bool is_digit(char c) noexcept {
  return static_cast<unsigned char>(c - '0') < 10;
}

constexpr bool leap(std::int64_t year) noexcept {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

constexpr unsigned days_of(std::int64_t year, unsigned month) noexcept {
  constexpr std::array<unsigned, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && leap(year) ? 29 : kDays[month - 1];
}

/// A date without a year may be the 29th of February.
bool in_range(const CivilTime& time) noexcept {
  return time.month >= 1 && time.month <= 12 && time.day >= 1 &&
         time.day <= days_of(time.has_year ? time.year : 2000, time.month) && time.hour <= 23 && time.minute <= 59 &&
         time.second <= 60;
}

/// Reads from left to right; whatever fails leaves `good` false and reads on.
struct Reader {
  const char* at;
  const char* end;
  bool good{true};

  explicit Reader(std::string_view text) noexcept : at(text.data()), end(text.data() + text.size()) {}
  std::size_t left() const noexcept { return static_cast<std::size_t>(end - at); }
  bool done() const noexcept { return good && at == end; }

  /// Two digits that are there: the caller has looked how much is left.
  unsigned two() noexcept {
    const auto high = static_cast<unsigned char>(at[0] - '0');
    const auto low = static_cast<unsigned char>(at[1] - '0');
    good = good && high < 10 && low < 10;
    at += 2;
    return high * 10U + low;
  }
  void text(char c) noexcept { good = good && *at++ == c; }
  bool take(char c) noexcept {
    if (at == end || *at != c) return false;
    ++at;
    return true;
  }
  /// From `least` to `most` digits, at most 19; a number that is too large is none.
  std::int64_t number(int least, int most) noexcept {
    std::uint64_t value = 0;
    int count = 0;
    while (count < most && at != end && is_digit(*at)) {
      value = value * 10 + static_cast<std::uint64_t>(*at++ - '0');
      ++count;
    }
    good = good && count >= least && value <= std::uint64_t{std::numeric_limits<std::int64_t>::max()};
    return good ? static_cast<std::int64_t>(value) : 0;
  }
  /// Digits behind a point, in nanoseconds.
  std::uint32_t fraction() noexcept {
    std::uint32_t value = 0;
    int count = 0;
    for (; at != end && is_digit(*at); ++at) {
      if (count == 9) continue;
      value = value * 10 + static_cast<std::uint32_t>(*at - '0');
      ++count;
    }
    good = good && count > 0;
    for (; count < 9; ++count) value *= 10;
    return value;
  }
  /// `22:14:15`
  void clock(CivilTime& time) noexcept {
    if (left() < 8) {
      good = false;
      return;
    }
    time.hour = static_cast<std::uint8_t>(two());
    text(':');
    time.minute = static_cast<std::uint8_t>(two());
    text(':');
    time.second = static_cast<std::uint8_t>(two());
  }
  /// `Z`, `+01:00`, `+0100`, `+01`
  void offset(CivilTime& time) noexcept {
    time.has_offset = true;
    if (take('Z') || take('z')) return;
    if (left() < 3 || (*at != '+' && *at != '-')) {
      good = false;
      return;
    }
    const bool west = *at++ == '-';
    const unsigned hours = two();
    unsigned minutes = 0;
    if (left() >= 3 && *at == ':') {
      ++at;
      minutes = two();
    } else if (left() >= 2 && is_digit(*at)) {
      minutes = two();
    }
    good = good && hours <= 23 && minutes <= 59;
    time.offset_seconds = static_cast<std::int32_t>(hours * 3600 + minutes * 60) * (west ? -1 : 1);
  }
  /// The number of a word in a row of three-letter names, from 1; 0: none of them.
  std::uint8_t three_letters(std::string_view names) noexcept {
    if (left() < 3) return 0;
    for (std::size_t i = 0; i < names.size(); i += 3) {
      // Capitals and small letters differ in one bit.
      if ((at[0] | 0x20) == names[i] && (at[1] | 0x20) == names[i + 1] && (at[2] | 0x20) == names[i + 2]) {
        at += 3;
        return static_cast<std::uint8_t>(i / 3 + 1);
      }
    }
    return 0;
  }
  /// Reads over the rest of a name that may be written out (`January` for `Jan`).
  void rest_of(std::string_view rest) noexcept {
    if (left() < rest.size()) return;
    for (std::size_t i = 0; i < rest.size(); ++i) {
      if ((at[i] | 0x20) != rest[i]) return;
    }
    at += rest.size();
  }
  void blanks() noexcept {
    while (at != end && (*at == ' ' || *at == '\t')) ++at;
  }
};

constexpr std::string_view kMonths = "janfebmaraprmayjunjulaugsepoctnovdec";
constexpr std::array<std::string_view, 12> kMonthRests = {"uary", "ruary", "ch",     "il",   "",      "e",
                                                          "y",    "ust",   "tember", "ober", "ember", "ember"};
constexpr std::string_view kWeekdays = "montuewedthufrisatsun";
constexpr std::array<std::string_view, 7> kWeekdayRests = {"day", "sday", "nesday", "rsday", "day", "urday", "day"};

std::optional<CivilTime> finished(const Reader& reader, const CivilTime& time) noexcept {
  if (!reader.done() || !in_range(time)) return std::nullopt;
  return time;
}

char* put_two(std::uint32_t value, char* out) noexcept {
  out[0] = static_cast<char>('0' + value / 10);
  out[1] = static_cast<char>('0' + value % 10);
  return out + 2;
}

}  // namespace

std::int64_t days_from_civil(std::int64_t year, unsigned month, unsigned day) noexcept {
  year -= month <= 2 ? 1 : 0;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t from_march = month > 2 ? std::int64_t{month} - 3 : std::int64_t{month} + 9;
  const std::int64_t day_of_year = (153 * from_march + 2) / 5 + day - 1;
  const std::int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

CivilTime civil_from_days(std::int64_t days) noexcept {
  days += 719'468;
  const std::int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const std::int64_t day_of_era = days - era * 146'097;
  const std::int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted = (5 * day_of_year + 2) / 153;
  CivilTime time;
  time.day = static_cast<std::uint8_t>(day_of_year - (153 * shifted + 2) / 5 + 1);
  time.month = static_cast<std::uint8_t>(shifted < 10 ? shifted + 3 : shifted - 9);
  time.year = static_cast<std::int32_t>(year_of_era + era * 400 + (time.month <= 2 ? 1 : 0));
  return time;
}

std::int64_t civil_seconds(const CivilTime& time) noexcept {
  return days_from_civil(time.year, time.month, time.day) * kDay + time.hour * 3600 + time.minute * 60 + time.second;
}

std::optional<UnixNanos> to_nanos(const CivilTime& time, std::int64_t offset_seconds) noexcept {
  const std::int64_t seconds = civil_seconds(time) - (time.has_offset ? time.offset_seconds : offset_seconds);
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max() / kNanos - 1;
  if (seconds > kMax || seconds < -kMax) return std::nullopt;
  return seconds * kNanos + time.nanosecond;
}

void guess_year(CivilTime& time, UnixNanos now) noexcept {
  if (time.has_year) return;
  const std::int64_t now_seconds = now / kNanos;
  time.year = civil_from_days(now_seconds / kDay).year + 1;
  // From next year backwards: the first that is not in the future, and has such a day.
  for (int tries = 0; tries < 9; ++tries, --time.year) {
    if (time.day <= days_of(time.year, time.month) && civil_seconds(time) <= now_seconds + kDay) break;
  }
  time.has_year = true;
}

std::optional<CivilTime> scan_rfc3339(std::string_view text) noexcept {
  if (text.size() < 19) return std::nullopt;
  Reader reader(text);
  CivilTime time;
  time.year = static_cast<std::int32_t>(reader.two() * 100);
  time.year += static_cast<std::int32_t>(reader.two());
  reader.text('-');
  time.month = static_cast<std::uint8_t>(reader.two());
  reader.text('-');
  time.day = static_cast<std::uint8_t>(reader.two());
  if (!reader.take('T') && !reader.take('t') && !reader.take(' ')) return std::nullopt;
  reader.clock(time);
  if (reader.take('.') || reader.take(',')) time.nanosecond = reader.fraction();
  if (reader.at != reader.end) reader.offset(time);
  return finished(reader, time);
}

bool is_rfc3339(std::string_view text) noexcept {
  const auto time = scan_rfc3339(text);
  if (!time || !time->has_offset || text[10] == ' ' || text.find(',') != std::string_view::npos) return false;
  if (text.back() == 'Z' || text.back() == 'z') return true;
  const std::string_view offset = text.substr(text.size() - 6);
  return offset[0] != ':' && offset[3] == ':' && (offset[0] == '+' || offset[0] == '-');
}

std::optional<CivilTime> scan_rfc3164(std::string_view text) noexcept {
  Reader reader(text);
  CivilTime time;
  time.has_year = false;
  const auto year = [&] {
    if (reader.left() < 5 || !is_digit(reader.at[2]) || !is_digit(reader.at[3]) || reader.at[4] != ' ') return;
    time.year = static_cast<std::int32_t>(reader.number(4, 4));
    time.has_year = true;
    ++reader.at;
  };
  year();
  time.month = reader.three_letters(kMonths);
  if (time.month == 0 || !reader.take(' ')) return std::nullopt;
  reader.take(' ');
  time.day = static_cast<std::uint8_t>(reader.number(1, 2));
  if (!reader.take(' ')) return std::nullopt;
  if (!time.has_year) year();
  reader.clock(time);
  if (reader.take('.') || reader.take(',')) time.nanosecond = reader.fraction();
  const std::string_view rest(reader.at, reader.left());
  if (rest == " UTC" || rest == " GMT" || rest == " Z") {
    reader.at = reader.end;
    time.has_offset = true;
  }
  return finished(reader, time);
}

std::optional<CivilTime> scan_clf_time(std::string_view text) noexcept {
  if (text.size() < 20) return std::nullopt;
  Reader reader(text);
  CivilTime time;
  time.day = static_cast<std::uint8_t>(reader.two());
  reader.text('/');
  time.month = reader.three_letters(kMonths);
  if (!reader.take('/') || reader.left() < 13) return std::nullopt;
  time.year = static_cast<std::int32_t>(reader.two() * 100);
  time.year += static_cast<std::int32_t>(reader.two());
  reader.text(':');
  reader.clock(time);
  if (reader.take(' ')) reader.offset(time);
  return finished(reader, time);
}

std::optional<UnixNanos> scan_epoch(std::string_view text, EpochUnit unit) noexcept {
  Reader reader(text);
  const bool negative = reader.take('-');
  const char* const first = reader.at;
  const std::int64_t whole = reader.number(1, 18 + 1);
  if (!reader.good || reader.at - first > 19) return std::nullopt;
  const auto digits = reader.at - first;
  if (unit == EpochUnit::by_size) {
    unit = digits <= 11   ? EpochUnit::seconds
           : digits <= 14 ? EpochUnit::milliseconds
           : digits <= 17 ? EpochUnit::microseconds
                          : EpochUnit::nanoseconds;
  }
  std::int64_t scale = kNanos;
  for (int i = 0; i < static_cast<int>(unit); ++i) scale /= 1000;
  std::int64_t part = 0;
  if (reader.take('.')) part = static_cast<std::int64_t>(reader.fraction()) / (kNanos / scale);
  if (!reader.done() || whole > std::numeric_limits<std::int64_t>::max() / scale - 1) return std::nullopt;
  const std::int64_t value = whole * scale + part;
  return negative ? -value : value;
}

std::size_t write_rfc3339(UnixNanos time, char* out) noexcept {
  std::int64_t seconds = time / kNanos;
  std::int64_t nanos = time % kNanos;
  if (nanos < 0) {
    nanos += kNanos;
    --seconds;
  }
  std::int64_t days = seconds / kDay;
  std::int64_t rest = seconds % kDay;
  if (rest < 0) {
    rest += kDay;
    --days;
  }
  const CivilTime date = civil_from_days(days);
  char* const begin = out;
  out = put_two(static_cast<std::uint32_t>(date.year / 100), out);
  out = put_two(static_cast<std::uint32_t>(date.year % 100), out);
  *out++ = '-';
  out = put_two(date.month, out);
  *out++ = '-';
  out = put_two(date.day, out);
  *out++ = 'T';
  out = put_two(static_cast<std::uint32_t>(rest / 3600), out);
  *out++ = ':';
  out = put_two(static_cast<std::uint32_t>(rest / 60 % 60), out);
  *out++ = ':';
  out = put_two(static_cast<std::uint32_t>(rest % 60), out);
  if (nanos != 0) {
    *out++ = '.';
    // Three digits at a time, as long as something is left.
    for (std::int64_t scale = 1'000'000; scale != 0 && nanos != 0; scale /= 1000) {
      const std::int64_t three = nanos / scale;
      *out++ = static_cast<char>('0' + three / 100);
      out = put_two(static_cast<std::uint32_t>(three % 100), out);
      nanos %= scale;
    }
  }
  *out++ = 'Z';
  return static_cast<std::size_t>(out - begin);
}

std::optional<TimeFormat> TimeFormat::parse(std::string_view text, Problem* problem) {
  const auto wrong = [problem](std::size_t offset, std::size_t length, std::string message, std::string hint) {
    if (problem != nullptr) *problem = {offset, length, std::move(message), std::move(hint)};
    return std::nullopt;
  };
  constexpr std::string_view kKnown = "YymbBdejHIMSfzZaApsTDF%";
  constexpr std::size_t kBytesMax = 256;
  if (text.empty()) return wrong(0, 1, "the format is empty", {});
  if (text.size() > kBytesMax) return wrong(kBytesMax, 1, "longer than 256 bytes", {});
  TimeFormat made;
  made.spelling_ = text;
  const auto add = [&](std::string_view kinds) {
    for (const char kind : kinds) made.items_.push_back({kind == ':' || kind == '/' || kind == '-' ? '%' : kind, kind});
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ' ') {
      made.items_.push_back({' ', ' '});
    } else if (text[i] != '%') {
      made.items_.push_back({'%', text[i]});
    } else if (++i == text.size() || kKnown.find(text[i]) == std::string_view::npos) {
      return wrong(i - 1, i == text.size() ? 1 : 2, "no such conversion",
                   "known are %Y %y %m %b %d %e %j %H %I %p %M %S %f %z %Z %a %s %T %D %F %%");
    } else if (text[i] == 'T') {
      add("H:M:S");
    } else if (text[i] == 'D') {
      add("m/d/y");
    } else if (text[i] == 'F') {
      add("Y-m-d");
    } else {
      made.items_.push_back({text[i], '%'});
    }
  }
  const auto has = [&made](std::string_view kinds) {
    return std::any_of(made.items_.begin(), made.items_.end(), [kinds](const Item& item) {
      return item.kind != '%' && kinds.find(item.kind) != std::string_view::npos;
    });
  };
  if (!has("s") && !(has("mbB") && has("de")) && !(has("j") && has("Yy"))) {
    return wrong(0, text.size(), "no date in it", "a month and a day are needed, or %j and a year, or %s");
  }
  if (has("I") && !has("p")) {
    return wrong(0, text.size(), "%I without %p", "%I is an hour of twelve; one of 24 is %H");
  }
  return made;
}

std::optional<CivilTime> TimeFormat::scan(std::string_view text) const noexcept {
  Reader reader(text);
  CivilTime time;
  time.has_year = false;
  std::int64_t day_of_year = 0;
  std::optional<std::int64_t> epoch;
  bool twelve = false;
  bool afternoon = false;
  for (const Item& item : items_) {
    switch (item.kind) {
      case '%':
        if (!reader.take(item.literal)) return std::nullopt;
        break;
      case ' ':
        reader.blanks();
        break;
      case 'Y':
        time.year = static_cast<std::int32_t>(reader.number(4, 4));
        time.has_year = true;
        break;
      case 'y':
        time.year = static_cast<std::int32_t>(reader.number(2, 2));
        time.year += time.year >= 69 ? 1900 : 2000;
        time.has_year = true;
        break;
      case 'm':
        time.month = static_cast<std::uint8_t>(reader.number(1, 2));
        break;
      case 'b':
      case 'B':
        time.month = reader.three_letters(kMonths);
        if (time.month == 0) return std::nullopt;
        reader.rest_of(kMonthRests[time.month - 1U]);
        break;
      case 'd':
      case 'e':
        reader.blanks();
        time.day = static_cast<std::uint8_t>(reader.number(1, 2));
        break;
      case 'j':
        day_of_year = reader.number(1, 3);
        if (day_of_year < 1 || day_of_year > 366) return std::nullopt;
        break;
      case 'I':
        twelve = true;
        time.hour = static_cast<std::uint8_t>(reader.number(1, 2));
        if (time.hour < 1 || time.hour > 12) return std::nullopt;
        break;
      case 'H':
        time.hour = static_cast<std::uint8_t>(reader.number(1, 2));
        break;
      case 'p':
        if (reader.left() < 2 || (reader.at[1] | 0x20) != 'm') return std::nullopt;
        afternoon = (*reader.at | 0x20) == 'p';
        if (!afternoon && (*reader.at | 0x20) != 'a') return std::nullopt;
        reader.at += 2;
        break;
      case 'M':
        time.minute = static_cast<std::uint8_t>(reader.number(1, 2));
        break;
      case 'S':
        time.second = static_cast<std::uint8_t>(reader.number(1, 2));
        break;
      case 'f':
        time.nanosecond = reader.fraction();
        break;
      case 'z':
        reader.offset(time);
        break;
      case 'Z':
        if (!reader.take('Z')) {
          const std::string_view name(reader.at, reader.left());
          if (!name.starts_with("UTC") && !name.starts_with("GMT")) return std::nullopt;
          reader.at += 3;
        }
        time.has_offset = true;
        break;
      case 'a':
      case 'A': {
        const std::uint8_t weekday = reader.three_letters(kWeekdays);
        if (weekday == 0) return std::nullopt;
        reader.rest_of(kWeekdayRests[weekday - 1U]);
        break;
      }
      case 's':
        epoch = reader.number(1, 11);
        break;
      default:
        return std::nullopt;
    }
    if (!reader.good) return std::nullopt;
  }
  if (!reader.done()) return std::nullopt;
  if (twelve) time.hour = static_cast<std::uint8_t>(time.hour % 12 + (afternoon ? 12 : 0));
  if (epoch) {
    const std::uint32_t nanosecond = time.nanosecond;
    time = civil_from_days(*epoch / kDay);
    const std::int64_t rest = *epoch % kDay;
    time.hour = static_cast<std::uint8_t>(rest / 3600);
    time.minute = static_cast<std::uint8_t>(rest / 60 % 60);
    time.second = static_cast<std::uint8_t>(rest % 60);
    time.nanosecond = nanosecond;
    time.has_offset = true;
  } else if (day_of_year != 0) {
    if (!time.has_year || (day_of_year == 366 && !leap(time.year))) return std::nullopt;
    const CivilTime date = civil_from_days(days_from_civil(time.year, 1, 1) + day_of_year - 1);
    time.month = date.month;
    time.day = date.day;
  }
  return in_range(time) ? std::optional<CivilTime>(time) : std::nullopt;
}

}  // namespace logpipe
