#include <string>
#include <vector>

#include "tests/config/support.hpp"

using namespace logpipe::config;
using testing::Directory;
using testing::summary;
using testing::without;

namespace {

Node load_files(const std::vector<std::string>& paths, Diagnostics& diagnostics) {
  return load(paths, FixedEnvironment(std::map<std::string, std::string>{{"PART", "part"}}), diagnostics);
}

/// First lines of the rendering only: `file:line:column: error[…]: …`.
std::string places(const Diagnostics& diagnostics, const Directory& directory) {
  std::string out;
  for (const Diagnostic& finding : diagnostics.sorted()) {
    out += (finding.mark.known() ? diagnostics.place(finding.mark) : finding.file) + ": " + to_string(finding.code) +
           " " + finding.path + ": " + finding.message + "\n";
  }
  return without(out, directory.at(""));
}

}  // namespace

TEST_CASE("load: several files join by key at every depth") {
  const Directory directory;
  const std::string a = directory.write("a.yaml", "admin: {listen: x}\nsources:\n  one: {type: file}\n");
  const std::string b = directory.write("b.yaml", "admin: {socket: y}\nsources:\n  two: {type: file}\nmemory: 1MiB\n");
  const std::string c = directory.write("c.yaml", "sources:\nsinks:\n");
  const std::string d = directory.write("d.yaml", "sinks:\n  out: {type: file}\n");
  Diagnostics diagnostics;
  const Node root = load_files({a, b, c, d}, diagnostics);
  REQUIRE(summary(diagnostics).empty());
  CHECK(to_yaml(root) ==
        "admin:\n  listen: x\n  socket: y\nsources:\n  one:\n    type: file\n  two:\n    type: file\nmemory: "
        "1MiB\nsinks:\n  out:\n    type: file\n");
}

TEST_CASE("load: what two files set is an error that names both places") {
  const Directory directory;
  const std::string a = directory.write("a.yaml", "memory: 1MiB\nsources:\n  app: {type: file}\nstages: []\n");
  const std::string b = directory.write("b.yaml", "sources:\n  app: {path: x}\nmemory: 1MiB\nstages: [x]\n");
  Diagnostics diagnostics;
  load_files({a, b}, diagnostics);
  CHECK(places(diagnostics, directory) ==
        "b.yaml:2:3: LP0203 sources.app: \"app\" is already set at a.yaml:3:3\n"
        "b.yaml:3:1: LP0203 memory: \"memory\" is already set at a.yaml:1:1\n"
        "b.yaml:4:1: LP0203 stages: \"stages\" is already set at a.yaml:4:1\n");
}

TEST_CASE("load: includes are relative to their file, globs are sorted, a file is read once") {
  const Directory directory;
  directory.write("conf.d/20.yaml", "b: 2\n");
  directory.write("conf.d/10.yaml", "a: 1\ninclude: ../more/part.yaml\n");
  directory.write("conf.d/ignored.txt", "x: [\n");
  directory.write("more/part.yaml", "c: 3\n");
  const std::string path =
      directory.write("main.yaml", "include: [conf.d/*.yaml, 'more/${env:PART}.yaml', none.d/*.yaml]\nd: 4\n");
  Diagnostics diagnostics;
  const Node root = load_files({path, directory.at("conf.d/20.yaml"), path}, diagnostics);
  REQUIRE(summary(diagnostics).empty());
  CHECK(to_yaml(root) == "d: 4\na: 1\nc: 3\nb: 2\n");
}

TEST_CASE("load: an include cycle is an error at the include that closes it") {
  const Directory directory;
  const std::string a = directory.write("a.yaml", "x: 1\ninclude: b.yaml\n");
  directory.write("b.yaml", "include:\n  - ./a.yaml\n");
  Diagnostics diagnostics;
  load_files({a}, diagnostics);
  CHECK(places(diagnostics, directory) ==
        "b.yaml:2:5: LP0212 include: \"./a.yaml\" includes itself through other files\n");

  const std::string self = directory.write("self.yaml", "include: self.yaml\n");
  Diagnostics own;
  load_files({self}, own);
  CHECK(places(own, directory) == "self.yaml:1:10: LP0212 include: \"self.yaml\" includes itself\n");
}

TEST_CASE("load: files that cannot be read are errors at what named them") {
  const Directory directory;
  const std::string a = directory.write("a.yaml", "include: [none.yaml, ., '', {x: 1}]\n");
  const std::string big = directory.write("big.yaml", "#" + std::string(8 * 1024 * 1024, 'x'));
  Diagnostics diagnostics;
  const Node root = load_files({a, directory.at("missing.yaml"), big}, diagnostics);
  CHECK(places(diagnostics, directory) ==
        "a.yaml:1:11: LP0209 include: cannot read \"none.yaml\": No such file or directory\n"
        "a.yaml:1:22: LP0209 include: cannot read \".\": Is a directory\n"
        "a.yaml:1:25: LP0103 include: expected a path\n"
        "a.yaml:1:29: LP0103 include: expected a path\n"
        "missing.yaml: LP0209 : cannot read \"missing.yaml\": No such file or directory\n"
        "big.yaml: LP0210 : cannot read \"big.yaml\": larger than 8MiB\n");
  CHECK(root.failed);
  CHECK(without(render_text(diagnostics), directory.at("")).find("missing.yaml: error[LP0209]: cannot read") !=
        std::string::npos);
}

TEST_CASE("load: include is a word of the top level only") {
  Diagnostics diagnostics;
  const Node root = testing::load_yaml("sources:\n  app: {type: file, include: /var/log/*.log}\n", diagnostics);
  CHECK(summary(diagnostics).empty());
  CHECK(root.find("sources")->find("app")->find("include")->text == "/var/log/*.log");
  Diagnostics wrong;
  testing::load_yaml("include: {a: b}\n", wrong);
  CHECK(summary(wrong) == "1:10+1 LP0103 include: expected a path or a list of paths\n");
}

TEST_CASE("load: errors of all files come together") {
  const Directory directory;
  const std::string a = directory.write("a.yaml", "x: 1\nx: 2\ninclude: b.yaml\n");
  directory.write("b.yaml", "y: [\n");
  const std::string c = directory.write("c.yaml", "z: ${env:NONE}\n");
  Diagnostics diagnostics;
  load_files({a, c}, diagnostics);
  CHECK(diagnostics.error_count() == 3);
}

TEST_CASE("load: the process environment is the real one") {
  ::setenv("LOGPIPE_CONFIG_TEST", "here", 1);
  CHECK(ProcessEnvironment().variable("LOGPIPE_CONFIG_TEST") == "here");
  ::unsetenv("LOGPIPE_CONFIG_TEST");
  CHECK_FALSE(ProcessEnvironment().variable("LOGPIPE_CONFIG_TEST"));
}
