#include "stages/registry.hpp"

#include <algorithm>
#include <sstream>

#include "config/document.hpp"
#include "tests/stages/support.hpp"

using namespace logpipe;

namespace {

std::string page_of(const StageEntry& entry) {
  std::ifstream file(std::string(LOGPIPE_SOURCE_DIR) + "/" + std::string(entry.page), std::ios::binary);
  REQUIRE_MESSAGE(file.good(), entry.page);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// What stands between two markers, without the line ends next to them.
std::string between(const std::string& text, std::string_view from, std::string_view to) {
  const std::size_t begin = text.find(from);
  REQUIRE_MESSAGE(begin != text.npos, from);
  const std::size_t end = text.find(to, begin + from.size());
  REQUIRE_MESSAGE(end != text.npos, to);
  std::string part = text.substr(begin + from.size(), end - begin - from.size());
  while (!part.empty() && part.front() == '\n') part.erase(0, 1);
  while (!part.empty() && part.back() == '\n') part.pop_back();
  return part;
}

}  // namespace

TEST_CASE("registry: entries are sorted and found by name") {
  const auto entries = stage_registry();
  CHECK(std::is_sorted(entries.begin(), entries.end(),
                       [](const StageEntry& a, const StageEntry& b) { return a.name < b.name; }));
  for (const StageEntry& entry : entries) {
    CHECK(find_stage(entry.name) == &entry);
    CHECK_FALSE(entry.schema().title().empty());
  }
  CHECK(find_stage("nothing") == nullptr);
}

TEST_CASE("registry: every page shows the options as they are declared") {
  for (const StageEntry& entry : stage_registry()) {
    CAPTURE(entry.name);
    std::string declared = config::document(entry.schema());
    while (!declared.empty() && declared.back() == '\n') declared.pop_back();
    CHECK(between(page_of(entry), "<!-- options -->", "<!-- /options -->") == declared);
  }
}

TEST_CASE("registry: the example of every page does what the page says") {
  // The pages name their table files relative to the directory logpipe is started in.
  const test::Directory directory;
  const std::filesystem::path before = std::filesystem::current_path();
  for (const StageEntry& entry : stage_registry()) {
    CAPTURE(entry.name);
    const std::string page = page_of(entry);
    for (const char* name : {"services.csv"}) {
      const std::string fence = std::string("`") + name + "`:\n```csv\n";
      if (page.find(fence) != page.npos) directory.write(name, between(page, fence, "```") + "\n");
    }
    const std::string yaml = between(page, "```yaml\n", "```");
    CHECK(yaml.find("sources:") != yaml.npos);
    CHECK(yaml.find("sinks:") != yaml.npos);
    std::filesystem::current_path(std::filesystem::path(directory.path("x")).parent_path());
    test::Pipeline pipeline(yaml);
    std::filesystem::current_path(before);
    CHECK(pipeline.run(between(page, "In:\n```text\n", "```") + "\n") ==
          between(page, "Out:\n```text\n", "```") + "\n");
  }
}

TEST_CASE("registry: every stage takes an empty batch and one of a single empty line") {
  for (const char* yaml :
       {"stages: [{parse: json}]", "stages: [{parse: logfmt}]", "stages: [{parse: auto}]", "stages: [{level: warn}]",
        "stages: [{enrich: {set: {a: 1}}}]", "stages: [dedupe]", "stages: [{set: {a: 1}}]",
        "stages: [{remove: message}]", "stages: [{keep: [a]}]", "stages: [{rename: {message: m}}]",
        "stages: [{move: {fields: message, to: m}}]", "stages: [{convert: {message: int}}]", "stages: [add_level]",
        "stages: [redact]", "stages: [{replace: {text: a, with: b}}]",
        "stages: [{route: [{when: 'level >= error', to: a}]}]", "stages: [{sample: 0.5}]",
        "stages: [{throttle: 1000/s}]"}) {
    CAPTURE(yaml);
    test::Pipeline pipeline(yaml);
    CHECK(pipeline.run("").empty());
    const std::string one = pipeline.run("\n");
    CHECK(std::count(one.begin(), one.end(), '\n') == 1);
  }
}
