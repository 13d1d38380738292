#include <string>

#include "tests/config/support.hpp"

using namespace logpipe::config;
using testing::findings;
using testing::load_yaml;
using testing::summary;

TEST_CASE("yaml: every kind of finding stands at its exact place") {
  struct Row {
    std::string yaml;
    const char* expected;
  };
  for (const Row& row : {
           Row{"a: 1\nb: 2\na: 3\n", "3:1+1 LP0202 a: \"a\" is set twice; first at pipeline.yaml:1:1\n"},
           {"sinks:\n  out: {type: file, \"type\": x}\n",
            "2:21+6 LP0202 sinks.out.type: \"type\" is set twice; first at pipeline.yaml:2:9\n"},
           {"- a\n- b\n", "1:1+1 LP0103 expected a map of options at the top of the file\n"},
           {"just text\n", "1:1+9 LP0103 expected a map of options at the top of the file\n"},
           {"a: 1\n---\nb: 2\n",
            "2:1+1 LP0208 a second document in the file | one file holds one document: remove the ---\n"},
           {"a: !thing 1\n", "1:11+1 LP0208 a: tags are not used here | remove the !thing\n"},
           {"a: !!int 1\n", "1:10+1 LP0208 a: tags are not used here | remove the !!int\n"},
           {"? [x, y]\n: 1\n", "1:3+1 LP0207 a key must be a plain name, not a list or a map\n"},
           {": 1\n", "1:1+1 LP0207 a key without a name\n"},
           {"a: &x 1\nb:\n  <<: *x\n",
            "3:7+2 LP0206 b.<<: << merges a map or a list of maps | write <<: *name, where &name is a map\n"},
           {"a: *nobody\n", "1:4+1 LP0201 the referenced anchor is not defined\n"},
           {"a: &x [*x]\n", "1:8+2 LP0208 a[0]: an alias inside its own anchor\n"},
           {"a: \x01\n",
            "1:4+1 LP0211 a control character in the file | inside double quotes write it as an escape: \\x1b\n"},
           {"a: ä\xFF\n", "1:5+1 LP0211 the file is not UTF-8\n"},
           {"${env:X}: 1\n", "1:1+8 LP0304 ${env:X}: ${…} is replaced in values only, never in keys\n"},
           {"a: 1\nb\n", "2:1+1 LP0201 expected \":\" behind \"b\"\n"},
           {"a: {b:1, c: 2}\n", "1:5+3 LP0201 a: expected \":\" behind \"b:1\" | a space belongs behind the colon\n"},
           {"a:\n- x\n-y\n", "3:1+2 LP0201 expected \":\" behind \"-y\" | a space belongs behind the dash\n"},
           {"a: 1\nb: \"open\nc: 2\n",
            "2:4+1 LP0201 b: a quote that is not closed | it swallows the rest of the file\n"},
           {"a: 'x''\nb: 1\n", "1:4+1 LP0201 a: a quote that is not closed | it swallows the rest of the file\n"},
           {"a:\n  - [b,\n",
            "3:1+1 LP0201 end of sequence flow not found | the [ at pipeline.yaml:2:5 is not closed\n"},
           {"a: b: c\n",
            "1:5+1 LP0201 illegal map value | a value that holds \": \" needs quotes; or the indentation is off\n"},
       }) {
    CAPTURE(row.yaml);
    CHECK(findings(row.yaml) == row.expected);
  }
}

TEST_CASE("yaml: syntax errors have a place") {
  for (const std::string yaml : {"a: [1, 2\n", "a: {b: 1\nc: 2\n", "a: \"open\n", "a:\n\t- x\n", "a: 'x' y\n",
                                 "a: @x\n", "a: - b\n", "%YAML 9\n---\na: 1\n"}) {
    CAPTURE(yaml);
    Diagnostics diagnostics;
    const Node root = load_yaml(yaml, diagnostics);
    REQUIRE_FALSE(diagnostics.ok());
    CHECK(diagnostics.sorted().front().code == Code::syntax);
    CHECK(diagnostics.sorted().front().mark.line >= 1);
    CHECK(root.failed);
  }
}

TEST_CASE("yaml: scalars stay text, with their place and whether they were quoted") {
  Diagnostics diagnostics;
  const Node root =
      load_yaml("a: 010\nb: yes\nc: 'x'\nd: |\n  t\ne: ~\nf:\ng: \"\"\nh: null\ni: !!str 5\n", diagnostics);
  REQUIRE(summary(diagnostics).empty());
  CHECK(root.find("a")->text == "010");
  CHECK_FALSE(root.find("a")->quoted);
  CHECK(root.find("b")->text == "yes");
  CHECK(root.find("c")->quoted);
  CHECK(root.find("d")->text == "t\n");
  CHECK(root.find("d")->quoted);
  CHECK(root.find("e")->is_null());
  CHECK(root.find("f")->is_null());
  CHECK(root.find("g")->is_scalar());
  CHECK(root.find("h")->is_null());
  CHECK(root.find("i")->quoted);
  CHECK(root.find("c")->mark == Mark{0, 3, 4, 3, false});
  CHECK(root.entry("c")->key_mark == Mark{0, 3, 1, 1, false});
}

TEST_CASE("yaml: columns count characters, whatever the line ends") {
  Diagnostics diagnostics;
  const Node root = load_yaml("\xEF\xBB\xBF\"äö\": 1\r\nb: {c: ä, d: 2}\r\n", diagnostics);
  REQUIRE(summary(diagnostics).empty());
  CHECK(diagnostics.place(root.find("äö")->mark) == "pipeline.yaml:1:7");
  CHECK(diagnostics.place(root.find("b")->entry("d")->key_mark) == "pipeline.yaml:2:11");
}

TEST_CASE("yaml: aliases copy the anchored value and keep its place") {
  Diagnostics diagnostics;
  const Node root = load_yaml("base: &b {x: 1}\nuse: *b\nagain: [*b, *b]\n", diagnostics);
  REQUIRE(summary(diagnostics).empty());
  CHECK(root.find("use")->find("x")->text == "1");
  CHECK(root.find("use")->find("x")->mark.line == 1);
  CHECK(root.find("again")->items.size() == 2);
}

TEST_CASE("yaml: merge keys add what the map does not set itself, earlier maps first") {
  Diagnostics diagnostics;
  const Node root = load_yaml(
      "one: &one {x: 1, y: 1}\n"
      "two: &two {x: 2, z: 2}\n"
      "m:\n  <<: [*one, *two]\n  y: own\n"
      "late:\n  y: own\n  <<: *one\n"
      "quoted: {'<<': plain}\n",
      diagnostics);
  REQUIRE(summary(diagnostics).empty());
  const Node* m = root.find("m");
  CHECK(m->find("x")->text == "1");
  CHECK(m->find("y")->text == "own");
  CHECK(m->find("z")->text == "2");
  CHECK(m->find("<<") == nullptr);
  CHECK(m->entries.size() == 3);
  CHECK(root.find("late")->find("y")->text == "own");
  CHECK(root.find("late")->find("x")->text == "1");
  CHECK(root.find("quoted")->find("<<")->text == "plain");
}

TEST_CASE("yaml: a second merge key in one map is an error") {
  CHECK(findings("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n") ==
        "4:3+2 LP0202 b.<<: a second << in one map; first at pipeline.yaml:3:3 | merge a list: <<: [*a, *b]\n");
}

TEST_CASE("yaml: an alias bomb is one clean error") {
  std::string yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string below = "*a" + std::to_string(i - 1);
    yaml += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) yaml += (j == 0 ? "" : ", ") + below;
    yaml += "]\n";
  }
  Diagnostics diagnostics;
  const Node root = load_yaml(yaml, diagnostics);
  REQUIRE(diagnostics.error_count() == 1);
  CHECK(diagnostics.sorted().front().code == Code::too_many_nodes);
  CHECK(diagnostics.sorted().front().mark.line > 3);
  CHECK(root.failed);
}

TEST_CASE("yaml: a billion laughs through merge keys is one clean error") {
  std::string yaml = "a0: &a0 {x: [1, 2, 3, 4, 5, 6, 7, 8, 9]}\n";
  for (int i = 1; i < 20; ++i) {
    const std::string below = "*a" + std::to_string(i - 1);
    yaml += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " {l: " + below + ", r: " + below +
            ", <<: " + below + "}\n";
  }
  Diagnostics diagnostics;
  load_yaml(yaml, diagnostics);
  REQUIRE(diagnostics.error_count() == 1);
  CHECK((diagnostics.sorted().front().code == Code::too_many_nodes ||
         diagnostics.sorted().front().code == Code::too_deep));
}

TEST_CASE("yaml: nesting is bounded, written out or through aliases") {
  const std::string deep = "a: " + std::string(100, '[') + std::string(100, ']') + "\n";
  Diagnostics diagnostics;
  load_yaml(deep, diagnostics);
  CHECK(summary(diagnostics) == "1:67+1 LP0205 a" + [] {
    std::string path;
    for (int i = 0; i < 63; ++i) path += "[0]";
    return path;
  }() + ": nested more than 64 levels deep\n");

  std::string yaml = "a0: &a0 x\n";
  for (int i = 1; i < 70; ++i)
    yaml += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
  Diagnostics through_aliases;
  load_yaml(yaml, through_aliases);
  REQUIRE(through_aliases.error_count() == 1);
  CHECK(through_aliases.sorted().front().code == Code::too_deep);
  CHECK(through_aliases.sorted().front().mark.line == 65);
}

TEST_CASE("yaml: a hundred thousand brackets neither crash nor hang") {
  Diagnostics diagnostics;
  load_yaml("a: " + std::string(100'000, '['), diagnostics);
  CHECK(diagnostics.error_count() == 1);
}

TEST_CASE("yaml: a file of one long line is read in time proportional to its size, with true columns") {
  std::string yaml = "k: [";
  for (int i = 0; i < 50'000; ++i) yaml += "'ä" + std::string(100, 'x') + "', ";
  yaml += "*nobody]\n";
  Diagnostics diagnostics;
  const Node root = load_yaml(yaml, diagnostics);
  REQUIRE(diagnostics.error_count() == 1);
  CHECK(diagnostics.sorted().front().mark.column == 5 + 50'000 * 105);
  CHECK(root.find("k")->items[49'999].mark == Mark{0, 1, 5 + 49'999 * 105, 103, false});
  CHECK(diagnostics.place(diagnostics.mark_within(root.find("k")->items[40'000].mark, 3)) ==
        "pipeline.yaml:1:" + std::to_string(5 + 40'000 * 105 + 1 + 2));
}

TEST_CASE("yaml: the part before a syntax error is kept and marked as incomplete") {
  Diagnostics diagnostics;
  const Node root = load_yaml("a: 1\nb:\n  c: 2\n  d: [\n", diagnostics);
  CHECK(diagnostics.error_count() == 1);
  REQUIRE(root.find("a") != nullptr);
  CHECK(root.find("a")->text == "1");
  CHECK_FALSE(root.find("a")->failed);
  REQUIRE(root.find("b") != nullptr);
  CHECK(root.find("b")->failed);
  CHECK(root.failed);
}

TEST_CASE("yaml: keys in all their spellings") {
  Diagnostics diagnostics;
  const Node root = load_yaml("a : 1\n'b' : 2\n\"c\": 3\n? d\n: 4\n{e: 5}: x\n", diagnostics);
  CHECK(summary(diagnostics) == "6:1+1 LP0207 a key must be a plain name, not a list or a map\n");
  CHECK(root.entries.size() == 4);
  Diagnostics flow;
  CHECK(load_yaml("m: {\"a\":1, 'b' :2, c : 3}\n", flow).find("m")->entries.size() == 3);
  CHECK(summary(flow) == "");
}

TEST_CASE("yaml: an empty file is an empty map") {
  for (const std::string yaml : {"", "\n", "# nothing\n", "---\n", "~\n"}) {
    CAPTURE(yaml);
    Diagnostics diagnostics;
    const Node root = load_yaml(yaml, diagnostics);
    CHECK(summary(diagnostics).empty());
    CHECK(root.is_map());
    CHECK(root.entries.empty());
  }
}

TEST_CASE("yaml: a tree written out reads back as the same tree") {
  Diagnostics diagnostics;
  const char* yaml =
      "a: 5\nb: '5'\nc: [x, 'y: z', {d: e}]\nf: {}\ng: []\nh:\ni: |\n  two\n  lines\nj: \"\\x01\"\nk: '$${env:X}'\nl: "
      "-x\n'a b: c': '#'\n";
  const Node root = load_yaml(yaml, diagnostics);
  REQUIRE(summary(diagnostics).empty());
  const std::string once = to_yaml(root);
  const Node again = load_yaml(once, diagnostics);
  REQUIRE(summary(diagnostics).empty());
  CHECK(to_yaml(again) == once);
  CHECK(again.find("b")->quoted);
  CHECK(again.find("k")->text == "${env:X}");
  CHECK(again.find("i")->text == "two\nlines\n");
}
