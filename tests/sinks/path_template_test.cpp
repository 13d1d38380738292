#include "sinks/path_template.hpp"

#include <doctest/doctest.h>

#include <string>

#include "event/json.hpp"
#include "tests/sinks/support.hpp"

using namespace logpipe;

namespace {

std::string safe(std::string_view value) {
  std::string out;
  append_path_value(value, out);
  return out;
}

std::string rendered(std::string_view text, std::string_view line, std::string_view missing = "unknown") {
  const auto path = PathTemplate::parse(text);
  if (!path) return "no template";
  BlockPool pool(1 << 20);
  Batch batch;
  batch.open(freeze(test::block_of(pool, line)));
  parse_json(batch, false);
  std::string out;
  Arena arena;
  const auto moment = std::chrono::system_clock::from_time_t(1767323045);  // 2026-01-02 03:04:05 UTC, a Friday
  path->render(batch, batch.events.at(0), path->times(moment, TimeZone::utc), missing, arena, out);
  return out;
}

}  // namespace

TEST_CASE("path template: values are made safe, whatever an event says") {
  struct Case {
    std::string_view in;
    std::string_view out;
  };
  using namespace std::string_view_literals;
  const Case cases[] = {
      {"web", "web"},
      {"", "_"},
      {".", "_"},
      {"..", "__"},
      {"...", "___"},
      {"../../etc/passwd", "___.._etc_passwd"},
      {"/etc/passwd", "_etc_passwd"},
      {"a/b", "a_b"},
      {".hidden", "_hidden"},
      {"a..b", "a..b"},
      {"a.", "a."},
      {"nul\0inside"sv, "nul_inside"},
      {"line\nfeed\ttab\x7f", "line_feed_tab_"},
      {"spaces stay", "spaces stay"},
      {"caf\xc3\xa9", "caf\xc3\xa9"},
      {"{x}%d", "{x}%d"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.in);
    CHECK(safe(c.in) == c.out);
  }
}

TEST_CASE("path template: long values are cut, not inside a character") {
  CHECK(safe(std::string(100, 'a')) == std::string(100, 'a'));
  CHECK(safe(std::string(5000, 'a')) == std::string(100, 'a'));
  CHECK(safe(std::string(99, 'a') + "\xc3\xa9") == std::string(99, 'a'));
  CHECK(safe(std::string(98, 'a') + "\xc3\xa9z") == std::string(98, 'a') + "\xc3\xa9");
  CHECK(safe(std::string(97, 'a') + "\xf0\x9f\x98\x80") == std::string(97, 'a'));
  CHECK(safe(std::string(200, '\x80')).size() <= 100);
}

TEST_CASE("path template: fields and times of the block make the path") {
  CHECK(rendered("/l/{service}.log", "{\"service\":\"web\"}\n") == "/l/web.log");
  CHECK(rendered("/l/{service}/%Y-%m-%d.log", "{\"service\":\"a/b\"}\n") == "/l/a_b/2026-01-02.log");
  CHECK(rendered("/l/{.k8s.pod}-{n}.log", "{\"k8s\":{\"pod\":\"p1\"},\"n\":7}\n") == "/l/p1-7.log");
  CHECK(rendered("/l/{service}.log", "{\"other\":1}\n") == "/l/unknown.log");
  CHECK(rendered("/l/{service}.log", "{\"service\":null}\n", "none") == "/l/none.log");
  CHECK(rendered("/l/{service}.log", "plain text\n", "..") == "/l/__.log");
  CHECK(rendered("/l/{service}/x", "{\"service\":\"..\"}\n") == "/l/__/x");
  CHECK(rendered("/l/.{service}", "{\"service\":\".\"}\n") == "/l/._");
  CHECK(rendered("/l/%y%j-%H%M%S-%G-W%V-%u-%F", "{}\n") == "/l/26002-030405-2026-W01-5-2026-01-02");
  CHECK(rendered("/l/100%%-{{x}}", "{}\n") == "/l/100%-{x}");
  CHECK(rendered("/l/{message}", "plain\n") == "/l/plain");
  CHECK(rendered("/l/{s}", "{\"s\":\"\\u002e\\u002e\\u002f\"}\n") == "/l/___");
}

TEST_CASE("path template: what is wrong is told with its place") {
  struct Case {
    std::string text;
    std::size_t offset;
    std::size_t length;
    std::string_view message;
  };
  const Case cases[] = {
      {"", 0, 1, "expected a path"},
      {"/var/log/", 8, 1, "one of a directory"},
      {"/l/{service", 3, 8, "`{` is not closed"},
      {"/l/}x", 3, 1, "`}` without `{`"},
      {"/l/{}.log", 3, 2, "expected a field name"},
      {"/l/%D.log", 3, 2, "unknown conversion"},
      {"/l/100%", 6, 1, "unknown conversion"},
      {"/l/{a}{b}{c}", 0, 12, "too long"},
      {"/l/" + std::string(256, 'x'), 0, 259, "too long"},
      {std::string("/a\0b", 4), 2, 1, "NUL"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    PathTemplate::Problem problem;
    CHECK_FALSE(PathTemplate::parse(c.text, &problem).has_value());
    CHECK(problem.offset == c.offset);
    CHECK(problem.length == c.length);
    CHECK(problem.message.find(c.message) != std::string::npos);
  }
}

TEST_CASE("path template: it knows whether it is one path") {
  CHECK(PathTemplate::parse("/a/b")->is_constant());
  CHECK(PathTemplate::parse("/a/%%")->is_constant());
  CHECK_FALSE(PathTemplate::parse("/a/%Y")->is_constant());
  CHECK_FALSE(PathTemplate::parse("/a/%Y")->has_fields());
  CHECK(PathTemplate::parse("/a/{b}")->has_fields());
}
