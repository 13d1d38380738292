#include "config/diagnostics.hpp"

#include <set>

#include "config/text.hpp"
#include "tests/config/support.hpp"

using namespace logpipe::config;

TEST_CASE("diagnostics: a finding is rendered with its line, a caret and a hint") {
  Diagnostics diagnostics;
  const std::uint32_t file = diagnostics.add_source("pipeline.yaml", "sinks:\n  archive:\n      flush_bytes: 64Q\n");
  diagnostics.error({file, 3, 20, 3}, "sinks.archive.flush_bytes", "expected a size such as 64KiB, got \"64Q\"",
                    "units are B, KiB, MiB, GiB, kB, MB, GB");
  CHECK(render_text(diagnostics) ==
        "pipeline.yaml:3:20: error[LP0103]: sinks.archive.flush_bytes: expected a size such as 64KiB, got \"64Q\"\n"
        "     3 |       flush_bytes: 64Q\n"
        "       |                    ^^^\n"
        "       = hint: units are B, KiB, MiB, GiB, kB, MB, GB\n");
}

TEST_CASE("diagnostics: findings come in the order of the files, errors and warnings alike") {
  Diagnostics diagnostics;
  const std::uint32_t first = diagnostics.add_source("a.yaml", "x: 1\ny: 2\n");
  const std::uint32_t second = diagnostics.add_source("b.yaml", "z: 3\n");
  diagnostics.error({second, 1, 1, 1}, "z", "third");
  diagnostics.warning({first, 2, 1, 1}, "y", "second");
  diagnostics.error({first, 1, 4, 1}, "x", "first");
  diagnostics.error({}, {}, "fourth, without a place");
  CHECK(render_text(diagnostics) ==
        "a.yaml:1:4: error[LP0103]: x: first\n"
        "     1 | x: 1\n"
        "       |    ^\n"
        "a.yaml:2:1: warning[LP0108]: y: second\n"
        "     2 | y: 2\n"
        "       | ^\n"
        "b.yaml:1:1: error[LP0103]: z: third\n"
        "     1 | z: 3\n"
        "       | ^\n"
        "error[LP0103]: fourth, without a place\n");
  CHECK(diagnostics.error_count() == 3);
  CHECK(diagnostics.warning_count() == 1);
}

TEST_CASE("diagnostics: the same finding at the same place is kept once, and a flood is counted") {
  Diagnostics diagnostics;
  const std::uint32_t file = diagnostics.add_source("a.yaml", "x: 1\n");
  diagnostics.error({file, 1, 1, 1}, "a.x", "wrong");
  diagnostics.error({file, 1, 1, 1}, "b.x", "wrong");
  CHECK(diagnostics.error_count() == 1);
  for (int i = 0; i < 600; ++i) diagnostics.error({file, 1, 2, 1}, {}, "wrong " + std::to_string(i));
  CHECK(diagnostics.error_count() == 601);
  CHECK(diagnostics.sorted().size() == 500);
  CHECK(diagnostics.not_kept() == 101);
}

TEST_CASE("diagnostics: carets stand right under tabs, wide text and far columns") {
  Diagnostics diagnostics;
  const std::string far(200, 'x');
  const std::uint32_t file = diagnostics.add_source("a.yaml", "\tk: v\nä€😀: bad\n" + far + "!" + far + "\n");
  diagnostics.error({file, 1, 5, 1}, {}, "tab");
  diagnostics.error({file, 2, 6, 3}, {}, "wide");
  diagnostics.error({file, 3, 201, 1}, {}, "far");
  const std::string text = render_text(diagnostics);
  CHECK(text.find("     1 | \tk: v\n       | \t   ^\n") != std::string::npos);
  CHECK(text.find("     2 | ä€😀: bad\n       |      ^^^\n") != std::string::npos);
  CHECK(text.find("     3 | …" + std::string(60, 'x') + "!" + std::string(59, 'x') + "…\n       |  " +
                  std::string(60, ' ') + "^\n") != std::string::npos);
}

TEST_CASE("diagnostics: colour changes nothing but the escapes") {
  Diagnostics diagnostics;
  const std::uint32_t file = diagnostics.add_source("a.yaml", "x: 1\n");
  diagnostics.error({file, 1, 1, 1}, "x", "wrong", "do it right");
  std::string colored = render_text(diagnostics, Color::on);
  CHECK(colored.find("\x1b[1;31merror[LP0103]\x1b[0m") != std::string::npos);
  for (std::size_t at = colored.find('\x1b'); at != std::string::npos; at = colored.find('\x1b')) {
    colored.erase(at, colored.find('m', at) - at + 1);
  }
  CHECK(colored == render_text(diagnostics));
}

TEST_CASE("diagnostics: JSON carries every field and escapes text") {
  Diagnostics diagnostics;
  const std::uint32_t file = diagnostics.add_source("a \"b\".yaml", "x: 1\n");
  diagnostics.error({file, 1, 4, 1}, "x", "got \"\n\xFF\"", "hint");
  CHECK(render_json(diagnostics) ==
        "{\"errors\":1,\"warnings\":0,\"diagnostics\":[{\"code\":\"LP0103\",\"severity\":\"error\",\"file\":\"a "
        "\\\"b\\\".yaml\",\"line\":1,"
        "\"column\":4,\"length\":1,\"path\":\"x\",\"message\":\"got \\\"\\n\xEF\xBF\xBD\\\"\",\"hint\":\"hint\"}]}");
  CHECK(render_json(Diagnostics()) == R"({"errors":0,"warnings":0,"diagnostics":[]})");
}

TEST_CASE("diagnostics: Error carries the findings and their text") {
  Diagnostics diagnostics;
  CHECK_NOTHROW(diagnostics.throw_if_errors());
  diagnostics.warning({}, "x", "old");
  CHECK_NOTHROW(diagnostics.throw_if_errors());
  diagnostics.error({}, "x", "wrong");
  try {
    diagnostics.throw_if_errors();
    FAIL("no exception");
  } catch (const Error& error) {
    CHECK(error.diagnostics().error_count() == 1);
    CHECK(std::string(error.what()) == render_text(diagnostics));
  }
}

TEST_CASE("diagnostics: every code has a title and a number of its own") {
  std::set<std::string> names;
  for (const Code code : all_codes()) {
    CHECK_FALSE(title_of(code).empty());
    CHECK(names.insert(to_string(code)).second);
  }
  CHECK(to_string(Code::invalid_value) == "LP0103");
}

TEST_CASE("diagnostics: a byte of a scalar is found through quotes, escapes, folding and indentation") {
  struct Row {
    std::string yaml;
    const char* where;  // line:column of the X in the value of `k`
  };
  for (const Row& row : {Row{"k: aaX\n", "1:6"},
                         {"k: 'it''s X'\n", "1:11"},
                         {"k: \"a\\n\\x41\\u00e4\\\"X\"\n", "1:20"},
                         {"k: |\n  one\n  twX\n", "3:5"},
                         {"k: >\n  one\n  twX\n\n  x\n", "3:5"},
                         {"k: >-\n  one\n\n\n  X\n", "5:3"},
                         {"k: >\n  one\n    inset\n  X\n", "4:3"},
                         {"k: one\n  two\n\n  X\n", "4:3"},
                         {"k: &a !!str 'X'\n", "1:14"},
                         {"k: \"one\\\n   X\"\n", "2:4"},
                         {"k: 'ä€😀X'\n", "1:8"},
                         {"k: |2\n  X\n", "1:4"},
                         {"k: \"a  \n  X\"\n", "2:3"},
                         {"k:\n  - |\n    a\n\n    X\n", "5:5"}}) {
    CAPTURE(row.yaml);
    Diagnostics diagnostics;
    const Node root = testing::load_yaml(row.yaml, diagnostics);
    REQUIRE(diagnostics.ok());
    const Node* node = root.find("k");
    if (node->is_sequence()) node = &node->items.front();
    const std::size_t at = node->text.find('X');
    REQUIRE(at != std::string::npos);
    CHECK(diagnostics.place(diagnostics.mark_within(node->mark, at)) == std::string("pipeline.yaml:") + row.where);
  }
}

TEST_CASE("diagnostics: the place behind the end of a scalar is a place") {
  Diagnostics diagnostics;
  const Node root = testing::load_yaml("k: 'ab'\n", diagnostics);
  CHECK(diagnostics.place(diagnostics.mark_within(root.find("k")->mark, 2)) == "pipeline.yaml:1:7");
}

TEST_CASE("text: UTF-8 is checked as RFC 3629 says") {
  CHECK(utf8_length("a") == 1);
  CHECK(utf8_length("ä") == 2);
  CHECK(utf8_length("€") == 3);
  CHECK(utf8_length("😀") == 4);
  for (const char* bad : {"\x80", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
                          "\xE2\x82", "\xFF"}) {
    CHECK(utf8_length(bad) == 0);
  }
  CHECK(in_quotes(std::string(70, 'a')) == "\"" + std::string(60, 'a') + "…\"");
}
