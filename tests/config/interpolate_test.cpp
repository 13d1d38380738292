#include "tests/config/support.hpp"

using namespace logpipe::config;
using testing::findings;
using testing::load_yaml;
using testing::summary;

namespace {

std::string value_of(const std::string& yaml, const std::map<std::string, std::string>& variables) {
  Diagnostics diagnostics;
  const Node root = load_yaml(yaml, diagnostics, variables);
  CHECK(summary(diagnostics).empty());
  const Node* node = root.find("k");
  return node == nullptr ? std::string("(none)") : node->text;
}

}  // namespace

TEST_CASE("interpolate: every form of env, in every kind of scalar") {
  const std::map<std::string, std::string> variables{
      {"HOST", "web1"}, {"EMPTY", ""}, {"TRICKY", "a: [b]\n# ${env:HOST}"}};
  struct Row {
    std::string yaml;
    const char* value;
  };
  for (const Row& row : {
           Row{"k: ${env:HOST}\n", "web1"},
           {"k: 'x-${env:HOST}-y'\n", "x-web1-y"},
           {"k: \"${env:HOST}${env:HOST}\"\n", "web1web1"},
           {"k: |\n  ${env:HOST}\n", "web1\n"},
           {"k: x${env:EMPTY}y\n", "xy"},
           {"k: ${env:EMPTY:-other}\n", "other"},
           {"k: ${env:NONE:-other words}\n", "other words"},
           {"k: ${env:NONE:-}\n", ""},
           {"k: ${env:HOST:-other}\n", "web1"},
           {"k: ${env:HOST:?must be set}\n", "web1"},
           {"k: ${env:NONE:-${env:HOST}}\n", "web1"},
           {"k: ${env:NONE:-a${env:NOTHING:-b}c}d\n", "abcd"},
           {"k: ${env:HOST:-${env:NOTHING}}\n", "web1"},
           {"k: ${env:TRICKY}\n", "a: [b]\n# ${env:HOST}"},
           {"k: $${env:HOST}\n", "${env:HOST}"},
           {"k: '$${x} ${env:HOST} $$ $ {x}'\n", "${x} web1 $$ $ {x}"},
           {"k: ${env:NONE:-$${x}}!\n", "${x}!"},
           {"k: '^end$'\n", "^end$"},
       }) {
    CAPTURE(row.yaml);
    CHECK(value_of(row.yaml, variables) == row.value);
  }
}

TEST_CASE("interpolate: what cannot be replaced is an error at its column") {
  const std::map<std::string, std::string> variables{{"EMPTY", ""}};
  struct Row {
    std::string yaml;
    const char* expected;
  };
  for (const Row& row : {
           Row{"k: ${env:NONE}\n",
               "1:4+11 LP0302 k: environment variable NONE is not set | give it a default: ${env:NONE:-default}\n"},
           {"a:\n  - k: 'xä-${env:NONE}'\n",
            "2:12+11 LP0302 a[0].k: environment variable NONE is not set | give it a default: ${env:NONE:-default}\n"},
           {"k: ${env:EMPTY:?set it in /etc/default/logpipe}\n",
            "1:4+44 LP0302 k: environment variable EMPTY is not set: set it in /etc/default/logpipe\n"},
           {"k: |\n  one\n  two ${env:NONE}\n",
            "3:7+11 LP0302 k: environment variable NONE is not set | give it a default: ${env:NONE:-default}\n"},
           {"k: ${HOST}\n",
            "1:4+7 LP0301 k: expected ${env:…}, ${file:…} or ${cred:…}, got \"${HOST}\" | write ${env:HOST}, or $${ "
            "for a literal ${\n"},
           {"k: ${vault:x/y}\n",
            "1:4+12 LP0301 k: expected ${env:…}, ${file:…} or ${cred:…}, got \"${vault:x/y}\" | write ${env:vault}, or "
            "$${ for a literal ${\n"},
           {"k: 'a ${env:HOST'\n", "1:7+10 LP0301 k: ${ without its } | write $${ for a literal ${\n"},
           {"k: ${env:}\n", "1:4+7 LP0301 k: expected the name of a variable, got \"\"\n"},
           {"k: ${env:9X}\n", "1:4+9 LP0301 k: expected the name of a variable, got \"9X\"\n"},
           {"k: ${env:X:=y}\n", "1:4+11 LP0301 k: expected :-default or :?message behind the name\n"},
           {"k: ${}\n",
            "1:4+3 LP0301 k: expected ${env:…}, ${file:…} or ${cred:…}, got \"${}\" | write $${ for a literal ${\n"},
           {"k: ${env:A} ${env:B}\n",
            "1:4+8 LP0302 k: environment variable A is not set | give it a default: ${env:A:-default}\n"
            "1:13+8 LP0302 k: environment variable B is not set | give it a default: ${env:B:-default}\n"},
           {"k: ${file:/nonexistent/x}\n",
            "1:4+22 LP0303 k: cannot read \"/nonexistent/x\": No such file or directory\n"},
           {"k: ${cred:token}\n",
            "1:4+13 LP0303 k: no credentials here: CREDENTIALS_DIRECTORY is not set | systemd sets it for units with "
            "LoadCredential=token:…\n"},
           {"k: ${cred:../token}\n", "1:4+16 LP0301 k: expected the name of a credential, got \"../token\"\n"},
       }) {
    CAPTURE(row.yaml);
    CHECK(findings(row.yaml, variables) == row.expected);
  }
}

TEST_CASE("interpolate: a value that could not be replaced is marked, its neighbours are not") {
  Diagnostics diagnostics;
  const Node root = load_yaml("k: ${env:NONE}\nl: x\n", diagnostics);
  CHECK(root.find("k")->failed);
  CHECK_FALSE(root.find("l")->failed);
}

TEST_CASE("interpolate: files are relative to the file that names them, lose one newline, and are secret") {
  const testing::Directory directory;
  directory.write("conf/token", "s3cret\n\n");
  directory.write("creds/password", "hunter2\r\n");
  const std::string path =
      directory.write("conf/main.yaml",
                      "a: 'x${file:token}'\nb: ${cred:password}\nc: ${env:CREDENTIALS_DIRECTORY}\nd: "
                      "${env:NONE:-${file:token}}\ne: ${env:CREDENTIALS_DIRECTORY:-${file:none}}\n");
  Diagnostics diagnostics;
  const Node root = load({path}, FixedEnvironment({{"CREDENTIALS_DIRECTORY", directory.at("creds")}}), diagnostics);
  REQUIRE(summary(diagnostics).empty());
  CHECK(root.find("a")->text == "xs3cret\n");
  CHECK(root.find("a")->secret);
  CHECK(root.find("b")->text == "hunter2");
  CHECK(root.find("b")->secret);
  CHECK_FALSE(root.find("c")->secret);
  CHECK(root.find("d")->secret);
  CHECK_FALSE(root.find("e")->secret);
  const std::string printed = to_yaml(root);
  CHECK(printed.find("s3cret") == std::string::npos);
  CHECK(printed.find("hunter2") == std::string::npos);
  CHECK(printed.find("a: <redacted>\nb: <redacted>\nc: /") == 0);
}

TEST_CASE("interpolate: a value file with a NUL byte or beyond its limit is refused") {
  const testing::Directory directory;
  directory.write("nul", std::string_view("a\0b", 3));
  directory.write("big", std::string(1024 * 1024 + 1, 'x'));
  const std::string path = directory.write("main.yaml", "a: ${file:nul}\nb: ${file:big}\nc: ${file:.}\n");
  Diagnostics diagnostics;
  load({path}, FixedEnvironment(), diagnostics);
  CHECK(summary(diagnostics) ==
        "1:4+11 LP0303 a: cannot read \"nul\": it holds a NUL byte\n"
        "2:4+11 LP0303 b: cannot read \"big\": larger than 1MiB\n"
        "3:4+9 LP0303 c: cannot read \".\": Is a directory\n");
}

TEST_CASE("interpolate: an alias does not report its cause twice") {
  CHECK(findings("a: &x ${env:NONE}\nb: *x\nc: [*x, *x]\n") ==
        "1:7+11 LP0302 a: environment variable NONE is not set | give it a default: ${env:NONE:-default}\n");
}
