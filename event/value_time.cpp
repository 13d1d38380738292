#include <chrono>
#include <cstdint>

#include "event/value.hpp"

namespace logpipe {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::size_t kTextBytes = 36;

/// Reads fixed fields from left to right; `ok` once false stays so.
struct Reader {
  std::string_view text;
  std::size_t at{0};
  bool ok{true};

  int digits(std::size_t count) noexcept {
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const char c = at < text.size() ? text[at] : '\0';
      ok = ok && c >= '0' && c <= '9';
      value = value * 10 + (c - '0');
      ++at;
    }
    return value;
  }
  void one_of(std::string_view characters) noexcept {
    ok = ok && at < text.size() && characters.find(text[at]) != std::string_view::npos;
    ++at;
  }
  bool has(char c) const noexcept { return at < text.size() && text[at] == c; }
};

std::int64_t fraction(Reader& reader) noexcept {
  if (!reader.has('.') && !reader.has(',')) return 0;
  const std::size_t begin = ++reader.at;
  std::int64_t nanoseconds = 0;
  std::int64_t digit = kSecond / 10;
  while (reader.at < reader.text.size() && reader.text[reader.at] >= '0' && reader.text[reader.at] <= '9') {
    nanoseconds += digit * (reader.text[reader.at++] - '0');
    digit /= 10;
  }
  reader.ok = reader.ok && reader.at != begin;
  return nanoseconds;
}

/// Seconds east of Greenwich.
int offset(Reader& reader) noexcept {
  if (reader.has('Z') || reader.has('z')) {
    ++reader.at;
    return 0;
  }
  const int sign = reader.has('-') ? -1 : 1;
  reader.one_of("+-");
  const int hours = reader.digits(2);
  if (reader.has(':')) ++reader.at;
  const int minutes = reader.digits(2);
  reader.ok = reader.ok && hours < 24 && minutes < 60;
  return sign * (hours * 3600 + minutes * 60);
}

void put(char*& at, int value, int width) noexcept {
  for (int i = width; i-- > 0;) {
    at[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  at += width;
}

}  // namespace

std::optional<std::int64_t> time_from_text(std::string_view text) noexcept {
  Reader reader{text};
  const int year = reader.digits(4);
  reader.one_of("-");
  const int month = reader.digits(2);
  reader.one_of("-");
  const int day = reader.digits(2);
  reader.one_of("Tt ");
  const int hour = reader.digits(2);
  reader.one_of(":");
  const int minute = reader.digits(2);
  reader.one_of(":");
  const int second = reader.digits(2);
  if (!reader.ok) return std::nullopt;
  const std::int64_t nanoseconds = fraction(reader);
  const int east = offset(reader);
  if (!reader.ok || reader.at != text.size()) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  // Beyond these years nanoseconds do not fit 64 bits.
  if (!date.ok() || year < 1678 || year > 2261 || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t seconds = days * 86400 + hour * 3600 + minute * 60 + second - east;
  return seconds * kSecond + nanoseconds;
}

std::string_view time_text(std::int64_t nanoseconds, Arena& arena) {
  // Not by floor(): the beginning of the first day does not fit 64 bits.
  constexpr std::int64_t kDay = 86'400 * kSecond;
  const std::int64_t within = ((nanoseconds % kDay) + kDay) % kDay;
  const std::chrono::days days{nanoseconds / kDay - (nanoseconds % kDay < 0 ? 1 : 0)};
  const std::chrono::year_month_day date{std::chrono::sys_days(days)};
  const std::chrono::hh_mm_ss clock{std::chrono::nanoseconds(within)};
  char* const begin = arena.allocate(kTextBytes);
  char* at = begin;
  put(at, static_cast<int>(date.year()), 4);
  *at++ = '-';
  put(at, static_cast<int>(static_cast<unsigned>(date.month())), 2);
  *at++ = '-';
  put(at, static_cast<int>(static_cast<unsigned>(date.day())), 2);
  *at++ = 'T';
  put(at, static_cast<int>(clock.hours().count()), 2);
  *at++ = ':';
  put(at, static_cast<int>(clock.minutes().count()), 2);
  *at++ = ':';
  put(at, static_cast<int>(clock.seconds().count()), 2);
  if (const auto part = static_cast<int>(clock.subseconds().count()); part != 0) {
    *at++ = '.';
    if (part % 1'000'000 == 0) {
      put(at, part / 1'000'000, 3);
    } else if (part % 1000 == 0) {
      put(at, part / 1000, 6);
    } else {
      put(at, part, 9);
    }
  }
  *at++ = 'Z';
  const auto length = static_cast<std::size_t>(at - begin);
  arena.shrink_last(kTextBytes - length);
  return {begin, length};
}

}  // namespace logpipe
