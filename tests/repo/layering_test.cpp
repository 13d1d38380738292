#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/repo/tree.hpp"

using namespace logpipe::test;

namespace {

const std::set<std::string> kAboveComponents{"channel", "event", "telemetry", "config", "delivery"};

/// The table of the layers: what each folder may include beside itself. Includes only point up.
const std::map<std::string, std::set<std::string>> kLayers{
    {"channel", {}},
    {"event", {}},
    {"telemetry", {}},
    {"config", {"event"}},
    {"delivery", {"channel", "event", "telemetry"}},
    {"sources", kAboveComponents},
    {"stages", kAboveComponents},
    {"sinks", kAboveComponents},
    {"daemon", {"channel", "event", "telemetry", "config", "delivery", "sources", "stages", "sinks"}},
};

/// Each third-party library is visible in one folder (and what mirrors it in tests/ and bench/).
const std::vector<std::pair<std::string, std::string>> kThirdParty{
    {"concurrentqueue.h", "channel"},
    {"blockingconcurrentqueue.h", "channel"},
    {"tl/expected.hpp", "channel"},
    {"simdjson", "event"},
    {"pcre2.h", "event"},
    {"spdlog/", "telemetry"},
    {"fmt/", "telemetry"},
    {"yaml-cpp/", "config"},
    {"xxhash.h", "delivery"},
    {"CLI/", "daemon"},
    {"microhttpd.h", "daemon"},
    {"curl/curl.h", "delivery"},
    {"zlib.h", "delivery"},
    {"zstd.h", "delivery"},
    {"systemd/", "daemon"},
    {"lua.hpp", "stages"},
    {"maxminddb.h", "stages"},
    {"doctest/", "tests"},
    {"benchmark/", "bench"},
};

/// POSIX and Linux headers without a directory; those of sys/, netinet/ and the like are told by it.
const std::set<std::string> kSystemHeaders{
    "aio.h",     "dirent.h", "dlfcn.h",  "emmintrin.h", "fcntl.h",   "fnmatch.h", "glob.h",     "grp.h",
    "ifaddrs.h", "limits.h", "malloc.h", "netdb.h",     "poll.h",    "pthread.h", "pty.h",      "pwd.h",
    "sched.h",   "signal.h", "stdlib.h", "syslog.h",    "termios.h", "time.h",    "ucontext.h", "unistd.h"};
const std::set<std::string> kSystemDirectories{"sys", "netinet", "arpa", "net", "linux", "bits"};

struct Include {
  const TreeFile* file;
  std::size_t line;
  std::string path;
  bool angle;
  std::string where() const { return file->path + ":" + std::to_string(line) + ": " + path; }
};

bool is_code(const TreeFile& file) {
  for (const std::string_view suffix : {".hpp", ".cpp", ".h", ".cc", ".hpp.in"}) {
    if (file.ends_with(suffix)) return true;
  }
  return false;
}

std::vector<Include> includes_of(const TreeFile& file) {
  std::vector<Include> found;
  for (const Line& line : numbered_lines(file.text)) {
    std::string_view text = line.text;
    const auto skip = [&] { text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size())); };
    skip();
    if (!text.starts_with("#")) continue;
    text.remove_prefix(1);
    skip();
    if (!text.starts_with("include")) continue;
    text.remove_prefix(std::string_view("include").size());
    skip();
    if (text.empty() || (text.front() != '<' && text.front() != '"')) continue;
    const bool angle = text.front() == '<';
    const auto end = text.find(angle ? '>' : '"', 1);
    found.push_back({&file, line.number, std::string(text.substr(1, end - 1)), angle});
  }
  return found;
}

const std::vector<Include>& all_includes() {
  static const std::vector<Include> all = [] {
    std::vector<Include> found;
    for (const TreeFile& file : tree_files()) {
      if (!is_code(file)) continue;
      const auto more = includes_of(file);
      found.insert(found.end(), more.begin(), more.end());
    }
    return found;
  }();
  return all;
}

/// `event` for tests/event/x.cpp and event/x.cpp.
std::string mirrored_folder(const TreeFile& file) {
  const std::string folder = file.folder();
  if (folder != "tests" && folder != "bench") return folder;
  const std::string rest = file.path.substr(folder.size() + 1);
  const auto slash = rest.find('/');
  return slash == std::string::npos ? folder : rest.substr(0, slash);
}

std::string report(const std::vector<std::string>& findings) {
  std::string text;
  for (const std::string& finding : findings) text += finding + "\n";
  return text;
}

}  // namespace

TEST_CASE("layering: includes only point up the table of folders") {
  REQUIRE(all_includes().size() > 200);
  std::vector<std::string> wrong;
  for (const Include& include : all_includes()) {
    if (include.angle) continue;
    const auto slash = include.path.find('/');
    if (slash == std::string::npos) {
      const bool beside =
          std::filesystem::exists(tree_root() / std::filesystem::path(include.file->path).parent_path() / include.path);
      if (beside || include.file->folder() == "tests") wrong.push_back(include.where() + ": paths start at the root");
      continue;
    }
    const std::string from = include.file->folder();
    const std::string to = include.path.substr(0, slash);
    if (from == to || from == "tests" || from == "bench") continue;
    const auto allowed = kLayers.find(from);
    if (allowed == kLayers.end()) {
      wrong.push_back(include.where() + ": there is no code in " + from + "/");
    } else if (!allowed->second.contains(to)) {
      wrong.push_back(include.where() + ": " + from + "/ may not include " + to + "/");
    }
  }
  CHECK(report(wrong) == "");
}

TEST_CASE("layering: what is included from the tree is there") {
  std::vector<std::string> wrong;
  for (const Include& include : all_includes()) {
    if (include.angle || include.path.find('/') == std::string::npos) continue;
    const bool there = std::filesystem::exists(tree_root() / include.path) ||
                       std::filesystem::exists(tree_root() / (include.path + ".in"));
    if (!there) wrong.push_back(include.where());
  }
  CHECK(report(wrong) == "");
}

TEST_CASE("layering: a third-party library is visible in one folder only") {
  std::vector<std::string> wrong;
  for (const Include& include : all_includes()) {
    if (!include.angle) continue;
    const auto slash = include.path.find('/');
    const bool standard = include.path.find('.') == std::string::npos && slash == std::string::npos;
    if (standard || kSystemHeaders.contains(include.path)) continue;
    if (slash != std::string::npos && kSystemDirectories.contains(include.path.substr(0, slash))) continue;
    const auto library = std::find_if(kThirdParty.begin(), kThirdParty.end(),
                                      [&](const auto& entry) { return include.path.starts_with(entry.first); });
    if (library == kThirdParty.end()) {
      wrong.push_back(include.where() + ": unknown; add it to the table of this test with its folder");
      continue;
    }
    const std::string& home = library->second;
    if (include.file->folder() != home && mirrored_folder(*include.file) != home) {
      wrong.push_back(include.where() + ": belongs to " + home + "/");
    }
  }
  CHECK(report(wrong) == "");
}

TEST_CASE("layering: no header shows yaml-cpp, spdlog, CLI11 or libmicrohttpd") {
  std::vector<std::string> wrong;
  for (const Include& include : all_includes()) {
    if (!include.file->ends_with(".hpp")) continue;
    for (const std::string_view heavy : {"yaml-cpp/", "spdlog/", "CLI/", "microhttpd.h"}) {
      if (include.path.starts_with(heavy)) wrong.push_back(include.where());
    }
  }
  CHECK(report(wrong) == "");
}

TEST_CASE("layering: CLI11 is compiled in one file") {
  std::set<std::string> files;
  for (const Include& include : all_includes()) {
    if (include.path.starts_with("CLI/")) files.insert(include.file->path);
  }
  CHECK(files == std::set<std::string>{"daemon/cli.cpp"});
}

TEST_CASE("layering: code is in the folders that hold code") {
  std::vector<std::string> wrong;
  for (const TreeFile& file : tree_files()) {
    const std::string folder = file.folder();
    if (is_code(file) && !kLayers.contains(folder) && folder != "tests" && folder != "bench")
      wrong.push_back(file.path);
  }
  CHECK(report(wrong) == "");
}

TEST_CASE("tree: every header begins with #pragma once") {
  std::vector<std::string> wrong;
  for (const TreeFile& file : tree_files()) {
    if (!file.ends_with(".hpp") && !file.ends_with(".h") && !file.ends_with(".hpp.in")) continue;
    bool guarded = false;
    for (const Line& line : numbered_lines(file.text)) {
      if (line.text.empty() || line.text.starts_with("//")) continue;
      guarded = line.text == "#pragma once";
      break;
    }
    if (!guarded) wrong.push_back(file.path);
  }
  CHECK(report(wrong) == "");
}

TEST_CASE("tree: no notes to oneself and no paths of somebody's machine") {
  // In pieces, or this file would be its own first finding.
  const std::vector<std::string> words{std::string("TO") + "DO", std::string("FIX") + "ME", std::string("XX") + "X",
                                       std::string("HA") + "CK"};
  const std::vector<std::string> paths{std::string("/ho") + "me/", std::string("/wo") + "rk/",
                                       std::string("/ro") + "ot/"};
  const auto is_word_character = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  std::vector<std::string> wrong;
  for (const TreeFile& file : tree_files()) {
    for (const Line& line : numbered_lines(file.text)) {
      const std::string where = file.path + ":" + std::to_string(line.number) + ": ";
      for (const std::string& word : words) {
        for (auto at = line.text.find(word); at != std::string_view::npos; at = line.text.find(word, at + 1)) {
          const bool begins = at == 0 || !is_word_character(line.text[at - 1]);
          const bool ends = at + word.size() == line.text.size() || !is_word_character(line.text[at + word.size()]);
          if (begins && ends) wrong.push_back(where + word);
        }
      }
      for (const std::string& path : paths) {
        const auto at = line.text.find(path);
        // `a/home/b` is a path inside something else.
        if (at != std::string_view::npos && (at == 0 || !is_word_character(line.text[at - 1])))
          wrong.push_back(where + path);
      }
    }
  }
  CHECK(report(wrong) == "");
}

TEST_CASE("tree: no test sleeps") {
  const std::vector<std::string> calls{std::string("sleep_") + "for(", std::string("sleep_") + "until(",
                                       std::string("usle") + "ep(", std::string("nanosle") + "ep("};
  std::vector<std::string> wrong;
  for (const TreeFile& file : tree_files()) {
    if (file.folder() != "tests") continue;
    for (const Line& line : numbered_lines(file.text)) {
      for (const std::string& call : calls) {
        if (line.text.find(call) != std::string_view::npos)
          wrong.push_back(file.path + ":" + std::to_string(line.number) + ": " + call);
      }
    }
  }
  CHECK(report(wrong) == "");
}
