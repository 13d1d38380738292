#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace logpipe::test {

/// A file of the source tree.
struct TreeFile {
  std::string path;  ///< from the root of the tree, with `/`
  std::string text;
  /// `channel` for `channel/result.hpp`; empty for a file at the root.
  std::string folder() const;
  bool ends_with(std::string_view suffix) const { return path.ends_with(suffix); }
};

std::filesystem::path tree_root();
/// Every file of the source tree, sorted by path, without what was built and what version control keeps.
const std::vector<TreeFile>& tree_files();

struct Line {
  std::size_t number;  ///< from 1
  std::string_view text;
};
std::vector<Line> numbered_lines(std::string_view text);

}  // namespace logpipe::test
