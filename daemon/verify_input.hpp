#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "channel/result.hpp"

namespace logpipe::verifying {

/// The regular files that match any of the patterns, each once, sorted by name. ErrorKind::io where it cannot be known
/// which those are: a directory that cannot be read.
Result<std::vector<std::string>> files_of(const std::vector<std::string>& patterns);

/// Whole lines of a file, with their line feeds; the last line of a file may lack it. False ends the reading.
using TakeLines = std::function<bool(std::string_view lines)>;

/// Reads a file from its beginning, decompressed where its first bytes say so. Limits: 1 MiB, or twice the longest
/// line.
Status read_lines(const std::string& path, const TakeLines& take);

/// Calls `visit(line)` for each of these lines, without its line feed; it returns false to end.
template <class Visit>
bool each_line(std::string_view lines, Visit&& visit) {
  while (!lines.empty()) {
    const std::size_t feed = lines.find('\n');
    if (!visit(lines.substr(0, feed))) return false;
    lines.remove_prefix(feed == std::string_view::npos ? lines.size() : feed + 1);
  }
  return true;
}

/// The files of one side as one long row of lines, each with its number in the row.
class FileRow {
 public:
  explicit FileRow(std::vector<std::string> paths) : paths_(std::move(paths)) {}

  const std::vector<std::string>& paths() const noexcept { return paths_; }
  std::uint64_t lines() const noexcept { return next_; }
  std::uint64_t bytes() const noexcept { return bytes_; }

  /// Reads all of them: `take(first number, lines)`.
  Status read(const std::function<bool(std::uint64_t first, std::string_view lines)>& take);
  /// Which file a line of the row is in; after read().
  std::size_t file_of(std::uint64_t number) const noexcept;
  std::uint64_t line_of(std::uint64_t number) const noexcept;  ///< in its file, from 1

 private:
  const std::vector<std::string> paths_;
  std::vector<std::uint64_t> begins_;  // by file: the number of its first line
  std::uint64_t next_{0};
  std::uint64_t bytes_{0};
};

/// A line for people: shortened, what is no printable ASCII or UTF-8 escaped.
std::string shown(std::string_view line);

}  // namespace logpipe::verifying
