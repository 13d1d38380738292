#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "tests/e2e/json.hpp"
#include "tests/e2e/process.hpp"

// Every directory below examples/ is run in a copy: `logpipe --config logpipe.yaml --once`, with the file `stdin` as
// input where there is one. What it writes must be what its `expected/` holds: `expected/stdout` its output, every
// other file the one of that path. With several sources nothing orders one's lines against another's: such files are
// below `expected-any-order/`, and compared as sets of lines.

using namespace logpipe::test;
namespace fs = std::filesystem;

namespace {

std::vector<fs::path> examples() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(LOGPIPE_SOURCE_DIR "/examples")) {
    if (entry.is_directory()) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::set<std::string> files_below(const fs::path& directory) {
  std::set<std::string> files;
  if (!fs::exists(directory)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) files.insert(fs::relative(entry.path(), directory).string());
  }
  return files;
}

std::vector<std::string> sorted_lines(const std::string& text) {
  std::vector<std::string> lines = lines_of(text);
  std::sort(lines.begin(), lines.end());
  return lines;
}

struct Run {
  TempDir dir;
  Result result;
  std::set<std::string> inputs;

  explicit Run(const fs::path& example) {
    fs::copy(example, dir.path(), fs::copy_options::recursive);
    fs::remove_all(dir / "expected");
    fs::remove_all(dir / "expected-any-order");
    inputs = files_below(dir.path());
    const bool has_stdin = inputs.contains("stdin");
    const int in = has_stdin ? ::open((dir / "stdin").c_str(), O_RDONLY | O_CLOEXEC) : -1;
    Process process({.arguments = {"--config", "logpipe.yaml", "--once", "--ledger", "ledger.json"},
                     .directory = dir.path(),
                     .environment = {},
                     .stdin_fd = in});
    if (in >= 0) ::close(in);
    result.exit = process.wait(std::chrono::seconds(120));
    result.out = process.stdout_text();
    result.err = process.stderr_text();
  }
  std::string written(const std::string& name) const { return name == "stdout" ? result.out : read_file(dir / name); }
};

}  // namespace

TEST_CASE("examples: every one is valid") {
  REQUIRE(examples().size() >= 5);
  for (const fs::path& example : examples()) {
    CAPTURE(example.string());
    const Result result = run({"validate", "--config", "logpipe.yaml"}, {}, example);
    CAPTURE(result.err);
    CHECK(result.exit.status == 0);
    CHECK(result.err == "");
  }
}

TEST_CASE("examples: every one writes what it is said to write, and nothing else") {
  for (const fs::path& example : examples()) {
    CAPTURE(example.string());
    const std::set<std::string> exact = files_below(example / "expected");
    const std::set<std::string> any_order = files_below(example / "expected-any-order");
    CHECK_FALSE((exact.empty() && any_order.empty()));

    const Run run(example);
    CAPTURE(run.result.err);
    CHECK(run.result.exit.status == 0);
    CHECK(Json::parse(read_file(run.dir / "ledger.json"))["balanced"].number == 1);
    for (const std::string& name : exact) {
      CAPTURE(name);
      CHECK(run.written(name) == read_file(example / "expected" / name));
    }
    for (const std::string& name : any_order) {
      CAPTURE(name);
      CHECK(sorted_lines(run.written(name)) == sorted_lines(read_file(example / "expected-any-order" / name)));
    }
    const bool silent = !exact.contains("stdout") && !any_order.contains("stdout");
    if (silent) CHECK(run.result.out == "");
    for (const std::string& name : files_below(run.dir.path())) {
      CAPTURE(name);
      const bool known =
          run.inputs.contains(name) || exact.contains(name) || any_order.contains(name) || name == "ledger.json";
      CHECK(known);
    }
  }
}
