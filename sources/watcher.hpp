#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sources/descriptor.hpp"
#include "sources/glob.hpp"

namespace logpipe {

/// Hears of changes in directories through inotify: one watch per directory covers the files in it.
/// Threads: one. Limits: `watches_max` and the kernel's fs.inotify limits; what could not be watched is counted, and
/// the caller's scan must cover it.
class DirectoryWatcher {
 public:
  struct Change {
    enum class Kind : std::uint8_t {
      appeared,     ///< a file was created or moved to `path`; `moved_from` if it came from a watched directory
      vanished,     ///< a file was deleted or moved away
      modified,     ///< it was written to or truncated
      directories,  ///< directories came or went: walk again
      lost,         ///< the kernel dropped events: walk again and look at every file
    };
    Kind kind;
    std::string path{};
    std::string moved_from{};
  };

  explicit DirectoryWatcher(std::size_t watches_max = std::numeric_limits<std::size_t>::max());

  /// To be polled for input; -1 if the kernel gives no inotify instance.
  int fd() const noexcept { return inotify_.get(); }

  /// One walk over the patterns: begin_walk, watch for each directory it touches, end_walk drops the watches it did not
  /// touch. A directory that was replaced under its name is followed to the new one.
  void begin_walk();
  void watch(const std::string& directory, DirectoryUse use);
  void end_walk();

  std::size_t watched() const noexcept { return watches_.size(); }
  /// Directories of the last walk that could not be watched, and the errno of the last one.
  std::size_t unwatched() const noexcept { return unwatched_; }
  int last_error() const noexcept { return last_error_; }

  /// Appends what has happened since the last call, in order. Never waits.
  void take(std::vector<Change>& changes);

 private:
  struct Watch {
    std::vector<std::string> paths;  // several when links lead to one directory
    std::uint64_t walk{0};
  };
  void note(int descriptor, std::uint32_t mask, std::uint32_t cookie, const char* name, std::vector<Change>& changes);
  void release_path(const std::string& directory);

  Descriptor inotify_;
  std::size_t watches_max_;
  std::uint64_t walk_{0};
  std::size_t unwatched_{0};
  int last_error_{0};
  std::unordered_map<int, Watch> watches_;
  std::unordered_map<std::string, int> by_path_;
  std::deque<std::pair<std::uint32_t, std::string>>
      moves_;  // cookie and old path of the last moves without a target yet
};

}  // namespace logpipe
