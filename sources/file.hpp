#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/schema.hpp"
#include "sources/charset.hpp"
#include "sources/line_options.hpp"
#include "sources/multiline.hpp"
#include "sources/source.hpp"
#include "sources/tail.hpp"

namespace logpipe {

/// Where reading begins in a file that is there at the start and has no checkpoint.
enum class ReadFrom : std::uint8_t { beginning, end };

/// Options of `type: file`.
struct FileSourceOptions {
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  ReadFrom read_from{ReadFrom::beginning};
  std::chrono::milliseconds discovery_interval{1000};
  config::Bytes max_line_bytes{1024 * 1024};
  Oversize oversize{Oversize::truncate};
  Charset charset{Charset::utf8};
  std::optional<MultilineOptions> multiline;
  std::chrono::milliseconds partial_line_timeout{0};
  std::chrono::milliseconds rotate_wait{2000};
  std::uint32_t max_open_files{4096};
};
const config::Schema<FileSourceOptions>& schema_of(config::Tag<FileSourceOptions>);

/// How many descriptors the process may have at present (the soft limit RLIMIT_NOFILE).
std::size_t descriptor_limit();

/// What a test may replace.
struct FileSourceSystem {
  PositionedRead read{system_read()};
  std::size_t inotify_watches_max{std::numeric_limits<std::size_t>::max()};
  std::size_t descriptors_max{descriptor_limit()};  ///< of the whole process
  std::size_t released_max{4096};                   ///< closed files that still exist and are remembered
  std::size_t held_back_max{1000};                  ///< deleted files that are kept known, see FileSet::hold_back()
};

/// Follows files across growth, rotation and truncation. See docs/components/sources/file.md.
std::unique_ptr<Source> make_file_source(FileSourceOptions options, SourceServices services,
                                         FileSourceSystem system = {});

/// Whether these patterns lead to a file of this path, existing or not. A relative path begins at the working
/// directory.
bool reads_file(const FileSourceOptions& options, const std::string& path);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::ReadFrom> {
  static constexpr EnumName<ReadFrom> values[] = {
      {"beginning", ReadFrom::beginning, "the whole file"},
      {"end", ReadFrom::end, "only lines that come later"},
  };
};
