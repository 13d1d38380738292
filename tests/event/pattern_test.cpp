#include "event/pattern.hpp"

#include <doctest/doctest.h>

#include <thread>

using namespace logpipe;

namespace {

Pattern pattern(std::string_view text) {
  Pattern::Problem problem;
  auto parsed = Pattern::parse(text, &problem);
  INFO(problem.message);
  REQUIRE(parsed);
  return *parsed;
}

}  // namespace

TEST_CASE("pattern: matches anywhere in the text unless it is anchored") {
  CHECK(pattern("b+").matches("aabb"));
  CHECK_FALSE(pattern("^b+").matches("aabb"));
  CHECK(pattern("^$").matches(""));
  CHECK(pattern("^$").matches({}));
  CHECK(pattern("^\\d{4}-").matches("2026-01-01"));
  CHECK_FALSE(pattern("^end").matches("first\nend"));
  CHECK(pattern("(?m)^end").matches("first\nend"));
}

TEST_CASE("pattern: says where and why a text is none") {
  Pattern::Problem problem;
  CHECK_FALSE(Pattern::parse("ab(c", &problem));
  CHECK(problem.offset == 4);
  CHECK(problem.message.find("parenthesis") != std::string::npos);
  CHECK_FALSE(Pattern::parse("[z-a]", &problem));
  CHECK(problem.offset == 3);
  CHECK_FALSE(Pattern::parse(std::string(Pattern::kBytesMax + 1, 'a'), &problem));
  std::string groups;
  for (int i = 0; i < 101; ++i) groups += "(a)";
  CHECK_FALSE(Pattern::parse(groups, &problem));
  CHECK(problem.message == "more than 100 groups");
}

TEST_CASE("pattern: captures numbered and named groups") {
  const Pattern both = pattern(R"(host=(?<host>\w+)(?: seq=(\d+))?(x)?)");
  CHECK(both.group_count() == 3);
  CHECK(both.group("host") == 1);
  CHECK_FALSE(both.group("seq"));
  std::vector<std::string_view> groups;
  REQUIRE(both.capture("a host=web1 seq=17", groups));
  REQUIRE(groups.size() == 4);
  CHECK(groups[0] == "host=web1 seq=17");
  CHECK(groups[1] == "web1");
  CHECK(groups[2] == "17");
  CHECK(groups[3].data() == nullptr);
  REQUIRE(both.capture("host=a", groups));
  CHECK(groups[2].data() == nullptr);
  CHECK_FALSE(both.capture("nothing", groups));
  CHECK(groups.empty());
}

TEST_CASE("pattern: characters are those of UTF-8, and bytes that are none disturb nobody") {
  CHECK(pattern("^.{3}$").matches("a\xC3\xA9z"));
  CHECK(pattern("(?i)^\xC3\xA9$").matches("\xC3\x89"));
  CHECK(pattern("end$").matches("\xFF\xFE\xC3 end"));
  CHECK_FALSE(
      pattern("^.end").matches("\xFF"
                               "end"));
  CHECK(pattern("a.b").matches(std::string_view("a\0b", 3)));
}

TEST_CASE("pattern: gives up on endless work, which is no match") {
  const Pattern nested = pattern("^(a+)+$");
  CHECK(nested.matches(std::string(30, 'a')));
  CHECK(nested.gave_up() == 0);
  CHECK_FALSE(nested.matches(std::string(60, 'a') + "b"));
  CHECK(nested.gave_up() == 1);
}

TEST_CASE("pattern: gives up sooner on a long text, where work could begin anew at every byte") {
  // From each beginning of a word there are thousands of ways to part it.
  const Pattern parted = pattern("(\\w|\\w\\w)+[=:]");
  const std::string word = std::string(20, 'a') + " ";
  CHECK_FALSE(parted.matches(word));
  CHECK(parted.gave_up() == 0);
  std::string line;
  while (line.size() < 16 * 1024) line += word;
  CHECK_FALSE(parted.matches(line));
  CHECK(parted.gave_up() == 1);
}

TEST_CASE("pattern: ordinary patterns need no more on a long text than on a short one") {
  std::string line;
  while (line.size() < 1024 * 1024) line += "2026-01-01T00:00:00Z level=info user=somebody path=/a/b/c ";
  for (const char* text : {"status=(\\d+)", "^\\d{4}-.*level=info", "(?i)error|warn(ing)?",
                           "user=(?<user>\\w+) code=", "\\b\\w+Exception\\b", "^(\\S+) (\\S+) (\\S+) path="}) {
    CAPTURE(text);
    const Pattern ordinary = pattern(text);
    static_cast<void>(ordinary.matches(line));
    CHECK(ordinary.gave_up() == 0);
  }
}

TEST_CASE("pattern: several threads use one at the same time") {
  const Pattern digits = pattern("(\\d+)-(\\d+)");
  std::vector<std::thread> threads;
  std::vector<int> good(4, 0);
  for (std::size_t t = 0; t < good.size(); ++t) {
    threads.emplace_back([&, t] {
      std::vector<std::string_view> groups;
      for (int i = 0; i < 2000; ++i) {
        const std::string text = "x" + std::to_string(i) + "-" + std::to_string(t);
        if (digits.capture(text, groups) && groups[1] == std::to_string(i) && groups[2] == std::to_string(t)) ++good[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : good) CHECK(count == 2000);
}
