#include "sources/registry.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include "config/document.hpp"
#include "config/environment.hpp"
#include "config/load.hpp"
#include "sources/file.hpp"
#include "tests/sources/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

std::string page_of(const SourceEntry& entry) {
  std::ifstream file(std::string(LOGPIPE_SOURCE_DIR) + "/" + std::string(entry.page));
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string between(const std::string& text, const std::string& from, const std::string& to) {
  const std::size_t begin = text.find(from);
  REQUIRE(begin != std::string::npos);
  const std::size_t end = text.find(to, begin + from.size());
  REQUIRE(end != std::string::npos);
  return text.substr(begin + from.size(), end - begin - from.size());
}

std::unique_ptr<SourcePlan> decode(const SourceEntry& entry, const config::Node& node,
                                   config::Diagnostics& diagnostics) {
  config::Object object(config::Decoder(node, diagnostics, "sources.app"));
  object.reserve("type");
  auto plan = entry.decode(object);
  object.finish();
  return plan;
}

std::unique_ptr<SourcePlan> decode(const SourceEntry& entry, const std::string& options,
                                   config::Diagnostics& diagnostics) {
  const std::string yaml = "app: {" + options + "}\n";
  const config::Node root = config::load_text("test.yaml", yaml, config::ProcessEnvironment{}, diagnostics);
  REQUIRE(root.find("app") != nullptr);
  return decode(entry, *root.find("app"), diagnostics);
}

std::size_t errors_of(const SourceEntry& entry, const std::string& options) {
  config::Diagnostics diagnostics;
  decode(entry, options, diagnostics);
  return diagnostics.error_count();
}

}  // namespace

TEST_CASE("source registry: sorted by name, each findable") {
  const auto entries = source_registry();
  CHECK(std::is_sorted(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; }));
  for (const SourceEntry& entry : entries) CHECK(find_source(entry.name) == &entry);
  CHECK(find_source("nothing") == nullptr);
}

TEST_CASE("source registry: every page has the table of options as they are declared") {
  for (const SourceEntry& entry : source_registry()) {
    CAPTURE(entry.name);
    const std::string table = between(page_of(entry), "<!-- options -->\n", "<!-- /options -->");
    CHECK(table == config::document(entry.schema()));
  }
}

TEST_CASE("source registry: the example of every page decodes") {
  for (const SourceEntry& entry : source_registry()) {
    CAPTURE(entry.name);
    const std::string example = between(page_of(entry), "```yaml\n", "```");
    config::Diagnostics diagnostics;
    const config::Node root = config::load_text("page.yaml", example, config::ProcessEnvironment{}, diagnostics);
    const config::Node* sources = root.find("sources");
    REQUIRE(sources != nullptr);
    for (const auto& source : sources->entries) {
      REQUIRE(source.value.find("type") != nullptr);
      CHECK(source.value.find("type")->text == entry.name);
      decode(entry, source.value, diagnostics);
    }
    CHECK_MESSAGE(diagnostics.ok(), config::render_text(diagnostics));
  }
}

TEST_CASE("source registry: options are strict") {
  const SourceEntry& file = *find_source("file");
  CHECK(errors_of(file, "type: file, include: '/var/log/*.log'") == 0);
  CHECK(errors_of(file, "type: file, include: [a, b], oversize: split, max_line_bytes: 64KiB") == 0);
  CHECK(errors_of(file, "type: file") == 1);
  CHECK(errors_of(file, "type: file, include: []") == 1);
  CHECK(errors_of(file, "type: file, include: ['']") == 1);
  CHECK(errors_of(file, "type: file, include: a, exclud: b, read_from: middle, max_line_bytes: 0") == 3);
  const SourceEntry& input = *find_source("stdin");
  CHECK(errors_of(input, "type: stdin") == 0);
  CHECK(errors_of(input, "type: stdin, include: x") == 1);
}

TEST_CASE("source registry: the plan makes a source with the options it was given") {
  const TempDir directory;
  append(directory / "a.log", "123456\n");
  config::Diagnostics diagnostics;
  const std::string options = "type: file, include: '" + directory / "*.log" + "', max_line_bytes: 4B, oversize: split";
  const std::unique_ptr<SourcePlan> plan = decode(*find_source("file"), options, diagnostics);
  REQUIRE(diagnostics.ok());
  Surroundings surroundings;
  surroundings.once = true;
  Running running(surroundings, plan->make(surroundings.services()));
  CHECK(running.end());
  CHECK(running.texts() == list({"1234", "56"}));
}

TEST_CASE("source registry: the plan of a file source knows which paths it would read, whether they exist or not") {
  const TempDir directory;
  std::filesystem::create_directory_symlink(directory.path(), directory / "link");
  config::Diagnostics diagnostics;
  const auto plan =
      decode(*find_source("file"),
             "type: file, include: ['" + directory / "*.log" + "', 'rel/../here/**'], exclude: 'no*'", diagnostics);
  REQUIRE(diagnostics.ok());
  CHECK(plan->reads(directory / "a.log"));
  CHECK(plan->reads(directory / "./sub/../a.log"));
  CHECK(plan->reads(directory / "link/a.log"));
  CHECK_FALSE(plan->reads(directory / "a.jsonl"));
  CHECK_FALSE(plan->reads(directory / "sub/a.log"));
  CHECK_FALSE(plan->reads(directory / "no.log"));
  CHECK_FALSE(plan->reads("a.log"));
  CHECK(plan->reads("here/deep/a"));
  CHECK(plan->reads(std::filesystem::current_path().string() + "/here/a"));
  CHECK_FALSE(decode(*find_source("stdin"), "type: stdin", diagnostics)->reads(directory / "a.log"));
}
