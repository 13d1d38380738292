#include "config/units.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <limits>

using namespace logpipe::config;
using namespace std::chrono_literals;

TEST_CASE("units: sizes are read exactly") {
  struct Row {
    std::string text;
    std::uint64_t bytes;
  };
  for (const Row& row : {Row{"0", 0},
                         {"0B", 0},
                         {"1B", 1},
                         {"64KiB", 65536},
                         {"1.5MiB", 1572864},
                         {"10MB", 10'000'000},
                         {"2kB", 2000},
                         {"3GiB", 3221225472},
                         {"1TiB", 1099511627776},
                         {"0.5KiB", 512},
                         {"18446744073709551615B", std::numeric_limits<std::uint64_t>::max()}}) {
    CAPTURE(row.text);
    REQUIRE(parse_bytes(row.text));
    CHECK(parse_bytes(row.text)->value == row.bytes);
  }
}

TEST_CASE("units: what is no size is refused") {
  for (const std::string text : {"", "64", "64Q", "KiB", "-1B", "+1B", "1 KiB", "1KB", "1kib", "0.3B", "1.B", ".5KiB",
                                 "1.0000001MiB", "18446744073709551616B", "16777217TiB", "1e3B", "64KiB ", "1KiB2B"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_bytes(text));
  }
}

TEST_CASE("units: durations are read exactly") {
  struct Row {
    std::string text;
    Duration value;
  };
  for (const Row& row : {Row{"0", 0ns},
                         {"5s", 5s},
                         {"200ms", 200ms},
                         {"1m30s", 90s},
                         {"1.5h", 90min},
                         {"1d", 24h},
                         {"7us", 7us},
                         {"1h1m1s1ms1us1ns", 1h + 1min + 1s + 1ms + 1us + 1ns},
                         {"0s", 0ns}}) {
    CAPTURE(row.text);
    REQUIRE(parse_duration(row.text));
    CHECK(*parse_duration(row.text) == row.value);
  }
}

TEST_CASE("units: what is no duration is refused") {
  for (const std::string text :
       {"", "5", "5sec", "s", "30s1m", "1s1s", "-1s", "1 s", "0.0000000001s", "0.5ns", "300000d", "1m30"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_duration(text));
  }
}

TEST_CASE("units: rates name their time") {
  CHECK(parse_rate("100/s") == Rate{100, 1s});
  CHECK(parse_rate("6000/m") == Rate{6000, 60s});
  CHECK(parse_rate("36/h")->per_second() == doctest::Approx(0.01));
  for (const std::string text : {"", "100", "/s", "100/", "100/d", "1.5/s", "-1/s", "100 /s"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_rate(text));
  }
}

TEST_CASE("units: rates and amounts are of events, or of bytes where they have a unit of size") {
  CHECK(parse_flow_rate("1000/s") == FlowRate{1000, 1s, false});
  CHECK(parse_flow_rate("5/m") == FlowRate{5, 60s, false});
  CHECK(parse_flow_rate("10MiB/s") == FlowRate{10 * 1024 * 1024, 1s, true});
  CHECK(parse_flow_rate("1.5kB/h") == FlowRate{1500, 1h, true});
  CHECK(parse_flow_rate("3/m")->per_second() == doctest::Approx(0.05));
  CHECK(parse_flow_amount("2000") == FlowAmount{2000, false});
  CHECK(parse_flow_amount("20MiB") == FlowAmount{20 * 1024 * 1024, true});
  for (const std::string text : {"", "/s", "10", "10MiB", "10/d", "10/s/s", "MiB/s", "1.5/s", "-1/s", "1/10s"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_flow_rate(text));
  }
  for (const FlowRate rate :
       {FlowRate{0, 1s, false}, FlowRate{7, 60s, false}, FlowRate{4096, 1h, true}, FlowRate{0, 1s, true}}) {
    CHECK(parse_flow_rate(print_flow_rate(rate)) == rate);
  }
}

TEST_CASE("units: what is printed reads back as the same value") {
  for (const std::uint64_t value :
       {0ULL, 1ULL, 1000ULL, 1024ULL, 65536ULL, 1'500'000ULL, 1572864ULL, 1099511627776ULL, 18446744073709551615ULL}) {
    CHECK(parse_bytes(print_bytes(value))->value == value);
  }
  for (const Duration value :
       {Duration(0), Duration(1ns), Duration(1500ms), Duration(90s), Duration(25h), Duration::max()}) {
    CHECK(*parse_duration(print_duration(value)) == value);
  }
  CHECK(print_bytes(65536) == "64KiB");
  CHECK(print_bytes(10'000'000) == "10MB");
  CHECK(print_duration(90s) == "1m30s");
  CHECK(print_duration(200ms) == "200ms");
  CHECK(print_rate({100, 1s}) == "100/s");
}
