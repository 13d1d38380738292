#include "event/timestamp.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <ctime>
#include <random>
#include <string>

using namespace logpipe;

namespace {

std::string written(UnixNanos time) {
  std::array<char, kRfc3339Max> text{};
  return {text.data(), write_rfc3339(time, text.data())};
}

/// In UTC; a year that is missing is guessed as of 2026-11-21, a zone that is missing is UTC. "-": none.
std::string utc(std::optional<CivilTime> time) {
  if (!time) return "-";
  guess_year(*time, 1'795'262'400'000'000'000);
  const auto nanos = to_nanos(*time);
  return nanos ? written(*nanos) : "beyond";
}

std::string formatted(std::string_view format, std::string_view text) {
  const auto compiled = TimeFormat::parse(format);
  REQUIRE(compiled.has_value());
  return utc(compiled->scan(text));
}

}  // namespace

TEST_CASE("timestamp: RFC 3339 and its relatives") {
  CHECK(utc(scan_rfc3339("2026-11-21T13:00:00Z")) == "2026-11-21T13:00:00Z");
  CHECK(utc(scan_rfc3339("2026-11-21T13:00:00.5+01:00")) == "2026-11-21T12:00:00.500Z");
  CHECK(utc(scan_rfc3339("2026-11-21T13:00:00.123456789-08:30")) == "2026-11-21T21:30:00.123456789Z");
  CHECK(utc(scan_rfc3339("2026-11-21t13:00:00.1234567891z")) == "2026-11-21T13:00:00.123456789Z");
  CHECK(utc(scan_rfc3339("2026-11-21 13:00:00,250")) == "2026-11-21T13:00:00.250Z");
  CHECK(utc(scan_rfc3339("2026-11-21 13:00:00+0100")) == "2026-11-21T12:00:00Z");
  CHECK(utc(scan_rfc3339("2026-11-21 13:00:00+01")) == "2026-11-21T12:00:00Z");
  CHECK(utc(scan_rfc3339("2024-02-29T00:00:00Z")) == "2024-02-29T00:00:00Z");
  CHECK(utc(scan_rfc3339("2026-12-31T23:59:60Z")) == "2027-01-01T00:00:00Z");
  CHECK(utc(scan_rfc3339("0001-01-01T00:00:00Z")) == "beyond");
  for (const std::string_view bad : {"",
                                     "2026-11-21",
                                     "2026-11-21T13:00",
                                     "2026-11-21T13:00:0",
                                     "2026-02-29T00:00:00Z",
                                     "2026-13-01T00:00:00Z",
                                     "2026-11-31T00:00:00Z",
                                     "2026-11-00T00:00:00Z",
                                     "2026-11-21T24:00:00Z",
                                     "2026-11-21T13:60:00Z",
                                     "2026-11-21T13:00:61Z",
                                     "2026-11-21T13:00:00.Z",
                                     "2026-11-21T13:00:00.",
                                     "2026-11-21T13:00:00X",
                                     "2026-11-21T13:00:00Zx",
                                     "2026-11-21T13:00:00+1",
                                     "2026-11-21T13:00:00+01:0",
                                     "2026-11-21T13:00:00+24:00",
                                     "2026/11/21T13:00:00Z",
                                     "20 6-11-21T13:00:00Z",
                                     "2026-11-21x13:00:00Z"}) {
    CAPTURE(bad);
    CHECK_FALSE(scan_rfc3339(bad).has_value());
    CHECK_FALSE(is_rfc3339(bad));
  }
}

TEST_CASE("timestamp: what is RFC 3339 to the letter") {
  CHECK(is_rfc3339("2026-11-21T13:00:00Z"));
  CHECK(is_rfc3339("2026-11-21T13:00:00.123+01:00"));
  CHECK_FALSE(is_rfc3339("2026-11-21T13:00:00"));
  CHECK_FALSE(is_rfc3339("2026-11-21 13:00:00Z"));
  CHECK_FALSE(is_rfc3339("2026-11-21T13:00:00+0100"));
  CHECK_FALSE(is_rfc3339("2026-11-21T13:00:00+01"));
  CHECK_FALSE(is_rfc3339("2026-11-21T13:00:00,5Z"));
}

TEST_CASE("timestamp: RFC 3164, the year is guessed where there is none") {
  CHECK(utc(scan_rfc3164("Oct 11 22:14:15")) == "2026-10-11T22:14:15Z");
  CHECK(utc(scan_rfc3164("Nov 22 00:00:00")) == "2026-11-22T00:00:00Z");
  CHECK(utc(scan_rfc3164("Nov 23 00:00:00")) == "2025-11-23T00:00:00Z");
  CHECK(utc(scan_rfc3164("Dec 31 23:59:59")) == "2025-12-31T23:59:59Z");
  CHECK(utc(scan_rfc3164("Feb 29 01:02:03")) == "2024-02-29T01:02:03Z");
  CHECK(utc(scan_rfc3164("Feb  5 17:32:18.25")) == "2026-02-05T17:32:18.250Z");
  CHECK(utc(scan_rfc3164("Feb 5 17:32:18")) == "2026-02-05T17:32:18Z");
  CHECK(utc(scan_rfc3164("Oct 11 2023 22:14:15")) == "2023-10-11T22:14:15Z");
  CHECK(utc(scan_rfc3164("2023 Oct 11 22:14:15")) == "2023-10-11T22:14:15Z");
  CHECK(utc(scan_rfc3164("Mar  1 18:48:50.483 UTC")) == "2026-03-01T18:48:50.483Z");
  for (const std::string_view bad :
       {"", "Oct", "Oct 11", "Oct 32 22:14:15", "Okt 11 22:14:15", "Oct 11 22:14", "Feb 30 00:00:00",
        "Feb 29 2023 00:00:00", "Oct 11 22:14:15 CEST", "2023 Oct 11"}) {
    CAPTURE(bad);
    CHECK_FALSE(scan_rfc3164(bad).has_value());
  }
  // In the first days of a year the last ones of the year before are past.
  CivilTime december = scan_rfc3164("Dec 31 23:00:00").value();
  guess_year(december, 1'767'225'600'000'000'000);  // 2026-01-01
  CHECK(december.year == 2025);
  CivilTime january = scan_rfc3164("Jan  1 01:00:00").value();
  guess_year(january, 1'767'225'600'000'000'000 - 1);
  CHECK(january.year == 2026);
}

TEST_CASE("timestamp: access logs") {
  CHECK(utc(scan_clf_time("10/Oct/2000:13:55:36 -0700")) == "2000-10-10T20:55:36Z");
  CHECK(utc(scan_clf_time("10/oct/2000:13:55:36")) == "2000-10-10T13:55:36Z");
  for (const std::string_view bad :
       {"", "10/Oct/2000", "10/Oct/2000:13:55", "31/Feb/2000:13:55:36 -0700", "10/Oct/2000:13:55:36 CET",
        "1/Oct/2000:13:55:36 -0700", "10/Oct/2000:13:55:36-07"}) {
    CAPTURE(bad);
    CHECK_FALSE(scan_clf_time(bad).has_value());
  }
}

TEST_CASE("timestamp: numbers since 1970") {
  const auto at = [](std::string_view text, EpochUnit unit) {
    const auto time = scan_epoch(text, unit);
    return time ? written(*time) : std::string("-");
  };
  CHECK(at("0", EpochUnit::seconds) == "1970-01-01T00:00:00Z");
  CHECK(at("1795262400", EpochUnit::by_size) == "2026-11-21T12:00:00Z");
  CHECK(at("1795262400123", EpochUnit::by_size) == "2026-11-21T12:00:00.123Z");
  CHECK(at("1795262400123456", EpochUnit::by_size) == "2026-11-21T12:00:00.123456Z");
  CHECK(at("1795262400123456789", EpochUnit::by_size) == "2026-11-21T12:00:00.123456789Z");
  CHECK(at("1795262400.5", EpochUnit::by_size) == "2026-11-21T12:00:00.500Z");
  CHECK(at("1795262400000.25", EpochUnit::milliseconds) == "2026-11-21T12:00:00.000250Z");
  CHECK(at("-1.5", EpochUnit::seconds) == "1969-12-31T23:59:58.500Z");
  CHECK(at("12", EpochUnit::nanoseconds) == "1970-01-01T00:00:00.000000012Z");
  for (const std::string_view bad : {"", "-", ".5", "1.", "1x", "1e9", "99999999999999999999", "9999999999999"}) {
    CAPTURE(bad);
    CHECK(at(bad, EpochUnit::seconds) == "-");
  }
}

TEST_CASE("timestamp: formats of one's own") {
  CHECK(formatted("%Y-%m-%d %H:%M:%S,%f", "2026-11-21 13:00:00,123") == "2026-11-21T13:00:00.123Z");
  CHECK(formatted("%d.%m.%Y %H:%M", "1.2.2026 7:05") == "2026-02-01T07:05:00Z");
  CHECK(formatted("%a, %d %b %Y %T %z", "Sat, 21 Nov 2026 13:00:00 +0100") == "2026-11-21T12:00:00Z");
  CHECK(formatted("%A %B %e %Y", "Saturday November  1 2026") == "2026-11-01T00:00:00Z");
  CHECK(formatted("%F %T %Z", "2026-11-21 13:00:00 UTC") == "2026-11-21T13:00:00Z");
  CHECK(formatted("%D %I:%M %p", "11/21/26 12:30 AM") == "2026-11-21T00:30:00Z");
  CHECK(formatted("%D %I:%M %p", "11/21/69 1:30 pm") == "1969-11-21T13:30:00Z");
  CHECK(formatted("%Y.%j", "2024.366") == "2024-12-31T00:00:00Z");
  CHECK(formatted("%Y.%j", "2023.366") == "-");
  CHECK(formatted("%s.%f", "1795262400.25") == "2026-11-21T12:00:00.250Z");
  CHECK(formatted("[%b %d]%%", "[Oct 11]%") == "2026-10-11T00:00:00Z");
  CHECK(formatted("%F %H:%M", "2026-11-21 13:00 ") == "-");
  CHECK(formatted("%d/%m", "31/02") == "-");
  CHECK(formatted("%F %p", "2026-11-21 xm") == "-");
  TimeFormat::Problem problem;
  CHECK_FALSE(TimeFormat::parse("%Y %Q", &problem).has_value());
  CHECK(problem.offset == 3);
  CHECK(problem.message == "no such conversion");
  CHECK_FALSE(TimeFormat::parse("%Y %", &problem).has_value());
  CHECK_FALSE(TimeFormat::parse("", &problem).has_value());
}

TEST_CASE("timestamp: a format without a date, or with half an hour of twelve, is refused") {
  TimeFormat::Problem problem;
  for (const std::string_view dateless : {"%H:%M:%S", "%T", "%Y", "%d", "%Y-%m", "%j %T", "m d %T"}) {
    CAPTURE(dateless);
    CHECK_FALSE(TimeFormat::parse(dateless, &problem).has_value());
    CHECK(problem.message == "no date in it");
  }
  for (const std::string_view dated : {"%b %e %T", "%s", "%y%j", "%D", "%F"}) {
    CAPTURE(dated);
    CHECK(TimeFormat::parse(dated).has_value());
  }
  CHECK_FALSE(TimeFormat::parse("%F %I:%M", &problem).has_value());
  CHECK(problem.message == "%I without %p");
}

TEST_CASE("timestamp: numbers beyond the range are none") {
  CHECK_FALSE(scan_epoch("9999999999999999999", EpochUnit::by_size).has_value());
  CHECK_FALSE(scan_epoch("9999999999999999999", EpochUnit::seconds).has_value());
  CHECK_FALSE(scan_epoch("-9223372036854775808", EpochUnit::nanoseconds).has_value());
  CHECK(scan_epoch("9223372036854775806", EpochUnit::nanoseconds) == 9223372036854775806);
}

TEST_CASE("timestamp: the calendar is that of the C library, and what is written is read back") {
  std::mt19937_64 random(9);
  for (int round = 0; round < 20'000; ++round) {
    const auto seconds = static_cast<std::int64_t>(random() % 17'000'000'000ULL) - 8'000'000'000LL;
    const UnixNanos nanos =
        seconds * 1'000'000'000 + (round % 3 == 0 ? 0 : static_cast<std::int64_t>(random() % 1'000'000'000));
    const auto clock = static_cast<std::time_t>(seconds);
    std::tm parts{};
    REQUIRE(gmtime_r(&clock, &parts) != nullptr);
    std::array<char, 64> expected{};
    REQUIRE(std::strftime(expected.data(), expected.size(), "%Y-%m-%dT%H:%M:%S", &parts) != 0);
    const std::string text = written(nanos);
    CAPTURE(text);
    REQUIRE(text.substr(0, 19) == expected.data());
    REQUIRE(to_nanos(scan_rfc3339(text).value()) == nanos);
    REQUIRE(is_rfc3339(text));
  }
}
