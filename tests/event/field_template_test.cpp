#include "event/field_template.hpp"

#include <doctest/doctest.h>

#include <string>

#include "event/json.hpp"
#include "event/logfmt.hpp"
#include "tests/support/blocks.hpp"

using namespace logpipe;

namespace {

struct Opened {
  explicit Opened(std::string_view line) {
    batch.open(freeze(test::block_of(pool, std::string(line) + "\n")));
    if (line.starts_with('{')) parse_json(batch, true);
  }
  ~Opened() { batch.close(); }
  Event& event() { return batch.events.at(0); }
  BlockPool pool{1 << 20};
  Batch batch;
};

std::string text_of(std::string_view line, std::string_view spelling, std::string_view missing = {}) {
  Opened opened(line);
  const auto made = FieldTemplate::parse(spelling);
  REQUIRE(made);
  std::string out = "|";
  const std::size_t absent = made->append(opened.batch, opened.event(), out, missing);
  std::string scratch = "old";
  const FieldTemplate::Rendered rendered = made->render(opened.batch, opened.event(), scratch, missing);
  CHECK(rendered.text == std::string_view(out).substr(1));
  CHECK(rendered.missing == absent);
  return out.substr(1);
}

std::string problem_of(std::string_view spelling) {
  FieldTemplate::Problem problem;
  if (FieldTemplate::parse(spelling, &problem)) return "accepted";
  CHECK_FALSE(FieldTemplate::parse(spelling));
  CHECK(problem.offset <= spelling.size());
  CHECK(problem.length >= 1);
  return std::to_string(problem.offset) + "+" + std::to_string(problem.length) + " " + problem.message +
         (problem.hint.empty() ? "" : " | " + problem.hint);
}

}  // namespace

TEST_CASE("field template: names, paths and literals become the event's values") {
  const std::string line = R"({"service":"api","user":{"id":17,"tags":["a","b"]},"ok":true,"none":null,"pi":1.50})";
  CHECK(text_of(line, "{service}") == "api");
  CHECK(text_of(line, "{service}-{.user.id}") == "api-17");
  CHECK(text_of(line, "{.user.tags[1]}") == "b");
  CHECK(text_of(line, "{ok}/{pi}") == "true/1.50");
  CHECK(text_of(line, "{.user.tags}") == R"(["a","b"])");
  CHECK(text_of(line, "no field") == "no field");
  CHECK(text_of(line, "{{{service}}}") == "{api}");
  CHECK(text_of(line, "a}}b{{c") == "a}b{c");
}

TEST_CASE("field template: a string goes in unescaped, at every place of the template") {
  const std::string line = R"({"a":"x\ny\u00e9","b":""})";
  CHECK(text_of(line, "{a}") == "x\ny\u00e9");
  CHECK(text_of(line, "<{a}{a}>") == "<x\ny\u00e9x\ny\u00e9>");
  CHECK(text_of(line, "[{b}]", "gone") == "[]");
}

TEST_CASE("field template: a field that is absent or null is the placeholder, and is counted") {
  CHECK(text_of(R"({"a":null})", "{a}") == "");
  CHECK(text_of(R"({"a":null})", "{a}", "-") == "-");
  CHECK(text_of(R"({"a":1})", "{b}:{a}:{c}", "?") == "?:1:?");
  Opened opened(R"({"a":1})");
  std::string out;
  CHECK(FieldTemplate::parse("{b}:{a}:{c}")->append(opened.batch, opened.event(), out) == 2);
  CHECK(FieldTemplate::parse("x")->append(opened.batch, opened.event(), out) == 0);
}

TEST_CASE("field template: {level} is the field, and without one the level the detector finds") {
  CHECK(text_of(R"({"level":"WARN"})", "{level}") == "WARN");
  CHECK(text_of(R"({"severity":"WARN"})", "{level}") == "warn");
  CHECK(text_of(R"({"level":null,"severity":3})", "{level}") == "error");
  CHECK(text_of("2024-01-01 [ERROR] broken", "{level}") == "error");
  CHECK(text_of("nothing to see", "{level}", "none") == "none");
  CHECK(text_of(R"({"severity":"WARN"})", "{.level}", "none") == "none");
  Opened opened("[ERROR] but looked at otherwise");
  opened.event().level = Level::debug;
  opened.event().level_known = true;
  std::string out;
  FieldTemplate::parse("{level}")->append(opened.batch, opened.event(), out);
  CHECK(out == "debug");
}

TEST_CASE("field template: text events have a message, logfmt events their fields, edits are seen") {
  CHECK(text_of("plain line", "<{message}>") == "<plain line>");
  Opened logfmt("service=api id=7");
  parse_logfmt(logfmt.batch);
  FieldSet members;
  members.add("host", "\"web\\n1\"");
  set(logfmt.batch, logfmt.event(), members);
  std::string out;
  FieldTemplate::parse("{service}/{id}/{host}")->append(logfmt.batch, logfmt.event(), out);
  CHECK(out == "api/7/web\n1");
}

TEST_CASE("field template: one field is handed out where it stands") {
  Opened opened(R"({"a":"plain","b":"with\tescape"})");
  std::string scratch;
  const auto plain = FieldTemplate::parse("{a}")->render(opened.batch, opened.event(), scratch).text;
  const Block& block = opened.batch.block();
  CHECK(plain.data() >= block.data());
  CHECK(plain.data() < block.data() + block.size());
  CHECK(FieldTemplate::parse("{b}")->render(opened.batch, opened.event(), scratch).text.data() == scratch.data());
}

TEST_CASE("field template: what is no template is refused with its place") {
  CHECK(problem_of("") == "0+1 expected a text with fields, got nothing | for example {service}");
  CHECK(problem_of("a}b") == "1+1 `}` without `{` | write `}}` for the character itself");
  CHECK(problem_of("ab{c") == "2+2 `{` is not closed | write `{{` for the character itself");
  CHECK(problem_of("x{}") == "1+2 expected a field's name between the braces | for example {service} or {.user.id}");
  CHECK(problem_of("{a{b}") == "2+1 `{` inside the braces of a field | close the first field before the next one");
  CHECK(problem_of("{.a..b}").starts_with("0+7 expected a name behind the dot"));
  CHECK(problem_of("{.a[x]}").starts_with("0+7 expected an index"));
  CHECK(problem_of(std::string(5000, 'x')) == "4096+904 a template has at most 4096 bytes");
  CHECK(problem_of("{{}}") == "accepted");
}
