#include "event/topic_template.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "event/json.hpp"
#include "tests/support/blocks.hpp"

using namespace logpipe;

namespace {

std::string topic_of(std::string_view line, std::string_view spelling) {
  BlockPool pool(1 << 20);
  Batch batch;
  batch.open(freeze(test::block_of(pool, std::string(line) + "\n")));
  if (line.starts_with('{')) parse_json(batch, false);
  const auto made = TopicTemplate::parse(spelling);
  REQUIRE(made);
  std::string out = "|";
  made->append(batch, batch.events.at(0), out);
  batch.close();
  return out.substr(1);
}

std::string problem_of(std::string_view spelling) {
  TopicTemplate::Problem problem;
  if (TopicTemplate::parse(spelling, &problem)) return "accepted";
  CHECK_FALSE(TopicTemplate::parse(spelling));
  CHECK(problem.offset <= spelling.size());
  return std::to_string(problem.offset) + "+" + std::to_string(problem.length) + " " + problem.message;
}

bool may_match(std::string_view spelling, std::string_view pattern) {
  const auto made = TopicTemplate::parse(spelling);
  REQUIRE(made);
  return made->may_match(pattern);
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  for (;;) {
    const std::size_t dot = text.find('.');
    words.emplace_back(text.substr(0, dot));
    if (dot == std::string_view::npos) return words;
    text.remove_prefix(dot + 1);
  }
}

/// The rule as a definition.
bool matches(const std::vector<std::string>& pattern, const std::vector<std::string>& topic, std::size_t at = 0) {
  if (at == pattern.size()) return at == topic.size();
  if (pattern[at] == "#") return at + 1 == pattern.size();
  return at < topic.size() && (pattern[at] == "*" || pattern[at] == topic[at]) && matches(pattern, topic, at + 1);
}

}  // namespace

TEST_CASE("topic template: words are made of literals and fields") {
  const std::string line = R"({"service":"api","level":"error","user":{"id":7}})";
  CHECK(topic_of(line, "logs.{service}.{level}") == "logs.api.error");
  CHECK(topic_of(line, "logs") == "logs");
  CHECK(topic_of(line, "{service}") == "api");
  CHECK(topic_of(line, "svc-{service}_{.user.id}.x") == "svc-api_7.x");
  CHECK_FALSE(TopicTemplate::parse("a.b")->has_fields());
  CHECK(TopicTemplate::parse("a.{b}.c")->words() == 3);
}

TEST_CASE("topic template: a value is always exactly one word, whatever is in it") {
  const std::string line = R"({"a":"x.y z","b":"*","c":"#","d":"$sys","e":"","f":null,"g":"\u00e9\n","h":"A-Z_09"})";
  CHECK(topic_of(line, "t.{a}") == "t.x_y_z");
  CHECK(topic_of(line, "t.{b}.{c}") == "t._._");
  CHECK(topic_of(line, "{d}.t") == "_sys.t");
  CHECK(topic_of(line, "t.{e}.{f}.{nothing}") == "t._._._");
  CHECK(topic_of(line, "t.{g}") == "t.___");
  CHECK(topic_of(line, "t.{h}") == "t.A-Z_09");
}

TEST_CASE("topic template: {level} has one spelling, however the event spells it") {
  for (const char* level : {R"("ERROR")", R"("err")", "50", R"("Error")", R"("\u0045RROR")"}) {
    CHECK(topic_of("{\"level\":" + std::string(level) + "}", "l.{level}") == "l.error");
  }
  CHECK(topic_of(R"({"severity":"WARNING"})", "l.{level}") == "l.warn");
  CHECK(topic_of(R"({"level":"Loud!"})", "l.{level}") == "l.Loud_");
  CHECK(topic_of("a line", "l.{level}") == "l._");
}

TEST_CASE("topic template: values are cut so that no topic is longer than 255 bytes") {
  const std::string line = "{\"v\":\"" + std::string(300, 'x') + "\",\"w\":\"" + std::string(300, '\\') + "\"}";
  CHECK(topic_of(line, "t.{v}") == "t." + std::string(64, 'x'));
  CHECK(topic_of(line, "t.{w}") == "t." + std::string(64, '_'));
  CHECK(topic_of(line, "{v}.{v}.{v}.{v}.{v}.{v}").size() <= 255);
  CHECK(TopicTemplate::parse("{v}.{v}.{v}.{v}.{v}.{v}")->value_bytes_max() == 41);
  CHECK(problem_of(std::string(248, 'x') + ".{v}") == "0+252 the topic can become too long");
  CHECK(topic_of(line, std::string(246, 'x') + ".{v}").size() == 255);
}

TEST_CASE("topic template: what is no topic is refused with its place") {
  CHECK(problem_of("") == "0+1 expected a topic, got nothing");
  CHECK(problem_of("a..b") == "2+1 a topic cannot have an empty word");
  CHECK(problem_of(".a") == "0+1 a topic cannot have an empty word");
  CHECK(problem_of("a.") == "1+1 a topic cannot have an empty word");
  CHECK(problem_of("$sys.a") == "0+1 topics that begin with `$` are the program's own");
  CHECK(problem_of("a.$b") == "2+1 a topic cannot hold `$`");
  CHECK(problem_of("a.*") == "2+1 `*` is for patterns, not for topics");
  CHECK(problem_of("a.#") == "2+1 `#` is for patterns, not for topics");
  CHECK(problem_of("a b") == "1+1 a topic cannot hold ` `");
  CHECK(problem_of("a{{b") == "1+1 a topic cannot hold braces");
  CHECK(problem_of("caf\xC3\xA9") == "3+1 a topic cannot hold this character");
  CHECK(problem_of("a.{b") == "2+2 `{` is not closed");
  CHECK(problem_of("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p") == "accepted");
  CHECK(problem_of("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q") == "32+1 a topic has at most 16 words");
  CHECK(problem_of("{.a.b.c}") == "accepted");
}

TEST_CASE("topic template: may_match holds exactly where some event could make a matching topic") {
  const std::string_view logs = "logs.{service}.{level}";
  for (const char* yes : {"#", "logs.#", "*.*.*", "logs.*.error", "logs.api.*", "logs.api.error.#", "logs.api.*.#"}) {
    CHECK_MESSAGE(may_match(logs, yes), yes);
  }
  for (const char* no : {"", "logs", "*", "metrics.#", "logs.api", "logs.*.*.*", "logs.*.*.x.#", "$sys.#", "logs.#.x",
                         "logs.a b.*", "logs..error", "logs.*.ERROR", "Logs.#"}) {
    CHECK_MESSAGE(!may_match(logs, no), no);
  }
  CHECK(may_match("a", "a"));
  CHECK(may_match("a", "a.#"));
  CHECK(may_match("svc-{x}-end.t", "svc-a-end-end.t"));
  CHECK_FALSE(may_match("svc-{x}-end.t", "svc--end.t"));
  CHECK_FALSE(may_match("svc-{x}", "other-1"));
  CHECK(may_match("{x}{y}", "ab"));
  CHECK_FALSE(may_match("{x}{y}", "a"));
  CHECK(may_match("t.{x}", "t." + std::string(64, 'x')));
  CHECK_FALSE(may_match("t.{x}", "t." + std::string(65, 'x')));
}

TEST_CASE("topic template: may_match agrees with rendering when templates, patterns and values are random") {
  const std::uint64_t seed = 20240117;
  std::mt19937_64 random(seed);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const std::vector<std::string> values{"a", "b", "ab", "aa"};
  const std::vector<std::string> parts{"a", "b", "{v}", "a{v}", "{v}b", "{v}{w}"};
  const std::vector<std::string> words{"a", "b", "ab", "aa", "aab", "*", "*"};
  for (int round = 0; round < 400; ++round) {
    std::string spelling;
    for (std::size_t i = 0, n = 1 + below(3); i < n; ++i) spelling += (i == 0 ? "" : ".") + parts[below(parts.size())];
    std::string pattern;
    for (std::size_t i = 0, n = 1 + below(3); i < n; ++i) pattern += (i == 0 ? "" : ".") + words[below(words.size())];
    if (below(3) == 0) pattern += ".#";
    bool found = false;
    for (const std::string& v : values) {
      for (const std::string& w : values) {
        const std::string topic = topic_of("{\"v\":\"" + v + "\",\"w\":\"" + w + "\"}", spelling);
        found = found || matches(split(pattern), split(topic));
      }
    }
    CAPTURE(seed);
    CAPTURE(spelling);
    CAPTURE(pattern);
    if (found) CHECK(may_match(spelling, pattern));
    // The values tried are not all there are, but without fields they are.
    if (spelling.find('{') == std::string::npos) CHECK(may_match(spelling, pattern) == found);
  }
}
