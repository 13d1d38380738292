#include "event/level.hpp"

#include <doctest/doctest.h>

#include <string>


using namespace logpipe;

TEST_CASE("level: every name of ours reads back as itself, in any case") {
  for (const Level level : {Level::trace, Level::debug, Level::info, Level::notice, Level::warn, Level::error,
                            Level::critical, Level::alert, Level::fatal}) {
    std::string name(level_name(level));
    CHECK(level_from_name(name) == level);
    for (char& c : name) c = static_cast<char>(c & ~0x20);
    CHECK(level_from_name(name) == level);
    name[1] = static_cast<char>(name[1] | 0x20);
    CHECK(level_from_name(name) == level);
  }
  CHECK(level_name(Level::unknown) == "unknown");
  CHECK_FALSE(level_from_name("unknown"));
}

TEST_CASE("level: abbreviations and other loggers' words are known") {
  struct Row {
    const char* name;
    Level level;
  };
  for (const Row& row :
       {Row{"WARNING", Level::warn},       Row{"wrn", Level::warn},        Row{"W", Level::warn},
        Row{"err", Level::error},          Row{"SEVERE", Level::error},    Row{"fail", Level::error},
        Row{"crit", Level::critical},      Row{"dpanic", Level::critical}, Row{"emerg", Level::fatal},
        Row{"Emergency", Level::fatal},    Row{"panic", Level::fatal},     Row{"FTL", Level::fatal},
        Row{"dbg", Level::debug},          Row{"FINE", Level::debug},      Row{"finest", Level::trace},
        Row{"Verbose", Level::trace},      Row{"inf", Level::info},        Row{"Information", Level::info},
        Row{"informational", Level::info}, Row{"INFO ", Level::info},      Row{" warn", Level::warn},
        Row{"alert", Level::alert},        Row{"notice", Level::notice}}) {
    CAPTURE(row.name);
    CHECK(level_from_name(row.name) == row.level);
  }
}

TEST_CASE("level: a word that is none is none") {
  using namespace std::string_view_literals;
  for (const std::string_view name :
       {""sv, " "sv, "warns"sv, "inform"sv, "errors"sv, "z"sv, "13"sv, "w4rn"sv, "error\0"sv, "\0"sv, "@ERR"sv,
        "emergencyx"sv, "informationaL1"sv, "wärn"sv, "a very long text that is not a level"sv}) {
    CAPTURE(name);
    CHECK_FALSE(level_from_name(name));
  }
}

TEST_CASE("level: numbers are syslog severities or bunyan's tens") {
  const Level syslog[] = {Level::fatal, Level::alert,  Level::critical, Level::error,
                          Level::warn,  Level::notice, Level::info,     Level::debug};
  for (unsigned i = 0; i < 8; ++i) {
    CHECK(level_from_number(i) == syslog[i]);
    CHECK(level_from_syslog_severity(i) == syslog[i]);
  }
  CHECK(level_from_syslog_severity(8) == Level::unknown);
  const Level bunyan[] = {Level::trace, Level::debug, Level::info, Level::warn, Level::error, Level::fatal};
  for (unsigned i = 0; i < 6; ++i) CHECK(level_from_number(10 * (i + 1)) == bunyan[i]);
  for (const std::uint64_t number : {8ULL, 9ULL, 15ULL, 70ULL, ~0ULL}) CHECK_FALSE(level_from_number(number));
}

TEST_CASE("level: names order by severity") {
  CHECK(Level::unknown < Level::trace);
  CHECK(Level::info < Level::notice);
  CHECK(Level::notice < Level::warn);
  CHECK(Level::error < Level::critical);
  CHECK(Level::alert < Level::fatal);
}
