#include <doctest/doctest.h>

#include <cctype>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.hpp"
#include "daemon/settings.hpp"
#include "sinks/registry.hpp"
#include "sources/registry.hpp"
#include "stages/registry.hpp"
#include "tests/e2e/process.hpp"
#include "tests/repo/tree.hpp"

using namespace logpipe::test;
namespace fs = std::filesystem;

namespace {

struct Component {
  std::string kind;
  std::string name;
  std::string page;
  const logpipe::config::SchemaBase* schema;
};

std::vector<Component> components() {
  std::vector<Component> all;
  for (const auto& entry : logpipe::source_registry()) {
    all.push_back({"source", std::string(entry.name), std::string(entry.page), &entry.schema()});
  }
  for (const auto& entry : logpipe::stage_registry()) {
    all.push_back({"stage", std::string(entry.name), std::string(entry.page), &entry.schema()});
  }
  for (const auto& entry : logpipe::sink_registry()) {
    all.push_back({"sink", std::string(entry.name), std::string(entry.page), &entry.schema()});
  }
  return all;
}

bool is_page(const TreeFile& file) {
  return file.ends_with(".md");
}

/// The texts between ```LANGUAGE and ```.
std::vector<std::string> blocks_of(std::string_view page, const std::string& language) {
  std::vector<std::string> blocks;
  bool inside = false;
  bool wanted = false;
  for (const Line& line : numbered_lines(page)) {
    if (line.text.starts_with("```")) {
      inside = !inside;
      wanted = inside && line.text.substr(3) == language;
      if (wanted) blocks.emplace_back();
    } else if (inside && wanted) {
      blocks.back() += std::string(line.text) + "\n";
    }
  }
  return blocks;
}

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const auto from = text.find(begin);
  const auto to = text.find(end);
  if (from == std::string::npos || to == std::string::npos) return {};
  return text.substr(from + begin.size(), to - from - begin.size());
}

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  const auto first = text.find_first_not_of(" \n");
  return first == std::string::npos ? std::string() : text.substr(first);
}

/// Whether a block stands for a whole file; others show a part of one.
bool is_whole(const std::string& yaml) {
  for (const Line& line : numbered_lines(yaml)) {
    for (const std::string_view key : {"sources:", "stages:", "sinks:"}) {
      if (line.text.starts_with(key)) return true;
    }
  }
  return false;
}

bool is_metric_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/// Every metric of ours that a text names; `logpipe_queue_{events,bytes}{component}` names two.
std::set<std::string> metrics_in(std::string_view text) {
  constexpr std::string_view kPrefix = "logpipe_";
  std::set<std::string> found;
  for (auto at = text.find(kPrefix); at != std::string_view::npos; at = text.find(kPrefix, at + 1)) {
    if (at > 0 && is_metric_character(text[at - 1])) continue;
    auto end = at;
    while (end < text.size() && is_metric_character(text[end])) ++end;
    const std::string name(text.substr(at, end - at));
    if (!name.ends_with('_') || end >= text.size() || text[end] != '{') {
      found.insert(name);
      continue;
    }
    const auto close = text.find('}', end);
    if (close == std::string_view::npos) continue;
    auto rest_end = close + 1;
    while (rest_end < text.size() && is_metric_character(text[rest_end])) ++rest_end;
    const std::string rest(text.substr(close + 1, rest_end - close - 1));
    std::string choices(text.substr(end + 1, close - end - 1));
    while (!choices.empty()) {
      const auto comma = choices.find(',');
      found.insert(name + choices.substr(0, comma) + rest);
      choices.erase(0, comma == std::string::npos ? choices.size() : comma + 1);
    }
  }
  return found;
}

/// The metrics that the program can export: the names in its code, quoted.
std::set<std::string> exported_metrics() {
  const std::set<std::string> folders{"channel", "delivery", "sources", "stages", "sinks", "daemon", "telemetry"};
  std::set<std::string> found;
  for (const TreeFile& file : tree_files()) {
    if (!folders.contains(file.folder()) || !file.ends_with(".cpp")) continue;
    const std::string mark = "\"logpipe_";
    for (auto at = file.text.find(mark); at != std::string::npos; at = file.text.find(mark, at + 1)) {
      const auto end = file.text.find('"', at + 1);
      found.insert(file.text.substr(at + 1, end - at - 1));
    }
  }
  return found;
}

std::string without_histogram_suffix(const std::string& name) {
  for (const std::string_view suffix : {"_bucket", "_sum", "_count"}) {
    if (name.ends_with(suffix)) return name.substr(0, name.size() - suffix.size());
  }
  return name;
}

struct Link {
  const TreeFile* page;
  std::size_t line;
  std::string target;
};

/// Markdown links that lead to files of the tree, outside of code.
std::vector<Link> relative_links() {
  std::vector<Link> links;
  for (const TreeFile& page : tree_files()) {
    if (!is_page(page)) continue;
    bool code = false;
    for (const Line& line : numbered_lines(page.text)) {
      if (line.text.starts_with("```")) code = !code;
      if (code) continue;
      for (auto at = line.text.find("]("); at != std::string_view::npos; at = line.text.find("](", at + 1)) {
        const auto end = line.text.find(')', at);
        const std::string target(line.text.substr(at + 2, end - at - 2));
        const bool outside =
            target.starts_with("http://") || target.starts_with("https://") || target.starts_with("mailto:");
        if (!outside && target.find(' ') == std::string::npos) links.push_back({&page, line.number, target});
      }
    }
  }
  return links;
}

/// The anchor that a heading gets: lower case, blanks as `-`, no other punctuation.
std::string anchor_of(std::string_view heading) {
  std::string anchor;
  for (const char c : heading) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == ' ') {
      anchor += '-';
    } else if (std::isalnum(byte) != 0 || c == '-' || c == '_' || byte >= 0x80) {
      anchor += static_cast<char>(std::tolower(byte));
    }
  }
  return anchor;
}

bool has_anchor(const std::string& text, const std::string& anchor) {
  for (const Line& line : numbered_lines(text)) {
    const auto level = line.text.find_first_not_of('#');
    if (level == 0 || level == std::string_view::npos || line.text[level] != ' ') continue;
    if (anchor_of(line.text.substr(level + 1)) == anchor) return true;
  }
  return false;
}

std::string report(const std::vector<std::string>& findings) {
  std::string text;
  for (const std::string& finding : findings) text += finding + "\n";
  return text;
}

}  // namespace

TEST_CASE("docs: every component has a page with an example") {
  REQUIRE(components().size() >= 7);
  std::vector<std::string> missing;
  for (const Component& component : components()) {
    const std::string page = read_file(tree_root() / component.page);
    if (page.empty()) {
      missing.push_back(component.page);
    } else if (blocks_of(page, "yaml").empty()) {
      missing.push_back(component.page + ": no ```yaml block");
    }
  }
  CHECK(report(missing) == "");
}

TEST_CASE("docs: the options of a page are those of the component") {
  for (const Component& component : components()) {
    CAPTURE(component.page);
    const std::string page = read_file(tree_root() / component.page);
    if (page.empty()) continue;  // reported above
    CHECK(trimmed(between(page, "<!-- options -->", "<!-- /options -->")) ==
          trimmed(logpipe::config::document(*component.schema)));
  }
}

TEST_CASE("docs: the options of the process are listed as they are declared") {
  const std::string page = read_file(tree_root() / "docs/configuration.md");
  CHECK(trimmed(between(page, "<!-- options -->", "<!-- /options -->")) ==
        trimmed(logpipe::config::document(schema_of(logpipe::config::Tag<logpipe::ProcessSettings>{}))));
}

TEST_CASE("docs: every whole configuration in them is valid") {
  // Tables that examples look things up in.
  TempDir dir;
  write_file(dir / "services.csv", "service,team,oncall\ncheckout,shop,+49-30-5550101\n");
  write_file(dir / "hosts.json", "[{\"host\":\"web-1\",\"name\":\"web-1\",\"rack\":\"B12\",\"cores\":16}]\n");
  std::size_t checked = 0;
  for (const TreeFile& page : tree_files()) {
    if (!is_page(page)) continue;
    std::size_t number = 0;
    for (const std::string& yaml : blocks_of(page.text, "yaml")) {
      ++number;
      if (!is_whole(yaml)) continue;
      ++checked;
      CAPTURE(page.path);
      CAPTURE(number);
      write_file(dir / "logpipe.yaml", yaml);
      const Result result = run({"validate", "--config", "logpipe.yaml"}, {}, dir.path(), {{"HOSTNAME", "web1"}});
      CAPTURE(result.err);
      CHECK(result.exit.status == 0);
    }
  }
  CHECK(checked >= components().size());
}

TEST_CASE("docs: metrics that they name exist") {
  const std::set<std::string> exported = exported_metrics();
  REQUIRE(exported.size() > 20);
  std::vector<std::string> unknown;
  for (const TreeFile& page : tree_files()) {
    const bool about_metrics = page.path.starts_with("docs/") && !page.path.starts_with("docs/adr/");
    if (!is_page(page) || !about_metrics) continue;
    for (const std::string& name : metrics_in(page.text)) {
      if (!exported.contains(name) && !exported.contains(without_histogram_suffix(name)))
        unknown.push_back(page.path + ": " + name);
    }
  }
  CHECK(report(unknown) == "");
}

TEST_CASE("docs: every metric is documented in docs/operations.md") {
  const std::set<std::string> documented = metrics_in(read_file(tree_root() / "docs/operations.md"));
  std::vector<std::string> missing;
  for (const std::string& name : exported_metrics()) {
    if (!documented.contains(name)) missing.push_back(name);
  }
  CHECK(report(missing) == "");
}

TEST_CASE("docs: links inside the tree lead somewhere") {
  std::vector<std::string> broken;
  for (const Link& link : relative_links()) {
    const auto hash = link.target.find('#');
    const std::string path = link.target.substr(0, hash);
    const fs::path target =
        path.empty() ? tree_root() / link.page->path : tree_root() / fs::path(link.page->path).parent_path() / path;
    const std::string where = link.page->path + ":" + std::to_string(link.line) + ": " + link.target;
    if (!fs::exists(target)) {
      broken.push_back(where);
    } else if (hash != std::string::npos && !has_anchor(read_file(target), link.target.substr(hash + 1))) {
      broken.push_back(where + ": no such heading");
    }
  }
  CHECK(report(broken) == "");
}

TEST_CASE("docs: the pages that a reader is sent to are there") {
  std::vector<std::string> missing;
  for (const char* page : {"README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/quickstart.md",
                           "docs/configuration.md", "docs/operations.md"}) {
    if (read_file(tree_root() / page).empty()) missing.emplace_back(page);
  }
  CHECK(report(missing) == "");
}
