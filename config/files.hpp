#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace logpipe::config {

/// A file's contents, or why there are none.
struct FileText {
  std::string text;
  std::string error;  ///< empty when `text` is good
  bool too_large{false};
};

/// Reads a whole file of at most `most` bytes; "-" is not special here. FIFOs and devices are read until they end.
FileText read_file(const std::filesystem::path& path, std::size_t most);
FileText read_stdin(std::size_t most);

bool is_glob(const std::string& pattern);
/// The paths that match, sorted by bytes whatever the locale.
std::vector<std::string> expand_glob(const std::string& pattern);

}  // namespace logpipe::config
