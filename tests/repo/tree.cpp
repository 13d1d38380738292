#include "tests/repo/tree.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>

namespace logpipe::test {

namespace fs = std::filesystem;

namespace {

bool is_ours(const std::string& name) {
  return name != ".git" && name != ".cache" && name != "build" && !name.starts_with("build-");
}

void collect(const fs::path& directory, std::vector<TreeFile>& files) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.is_symlink()) continue;
    if (entry.is_directory()) {
      if (is_ours(entry.path().filename().string())) collect(entry.path(), files);
    } else if (entry.is_regular_file()) {
      std::ifstream in(entry.path(), std::ios::binary);
      std::ostringstream text;
      text << in.rdbuf();
      files.push_back({fs::relative(entry.path(), tree_root()).generic_string(), text.str()});
    }
  }
}

}  // namespace

std::string TreeFile::folder() const {
  const auto slash = path.find('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

fs::path tree_root() {
  return LOGPIPE_SOURCE_DIR;
}

const std::vector<TreeFile>& tree_files() {
  static const std::vector<TreeFile> files = [] {
    std::vector<TreeFile> found;
    collect(tree_root(), found);
    std::sort(found.begin(), found.end(), [](const TreeFile& a, const TreeFile& b) { return a.path < b.path; });
    return found;
  }();
  return files;
}

std::vector<Line> numbered_lines(std::string_view text) {
  std::vector<Line> lines;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    lines.push_back({number, text.substr(0, end)});
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

}  // namespace logpipe::test
