#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "delivery/checkpoint.hpp"
#include "sources/siblings.hpp"

namespace logpipe {

/// A file to be read on, found where rotation put it.
struct Recovered {
  std::string origin;               ///< the path it was written under
  std::optional<std::uint64_t> id;  ///< as the checkpoints know it; nothing: a generation that was never seen
  Whereabouts where;
  bool all_read{false};  ///< every sink has all of it
  bool youngest{false};  ///< the checkpoints know no younger one of the same path
};

/// What rotation did while nobody watched: compares the files that the checkpoints know with those that the patterns
/// find, and looks for the missing ones among their siblings. Threads: one.
/// Limits: of the missing files the 4096 youngest are looked for.
class Recovery {
 public:
  /// `found`: what the patterns lead to now. `go_on`: asked now and then; false ends the search.
  Recovery(std::vector<RememberedFile> remembered, const std::unordered_set<std::string>& found,
           std::function<bool()> go_on);

  /// Those to be read on, and generations that came and went since, each path's in their order.
  std::vector<Recovered> search();

  /// Files that lie at another path that the patterns match: where they were written. After search() also generations
  /// that came and went since.
  const std::unordered_map<std::string, std::string>& origins() const noexcept { return origins_; }
  /// Paths whose file is not the one that it was.
  const std::set<std::string>& successors() const noexcept { return successors_; }
  /// Missing ones that were found nowhere.
  std::size_t vanished() const noexcept { return vanished_; }
  /// Those of them of which that is certain, ascending: their directory, or the nearest one above it that there is,
  /// lies where they lay, so it is no file system that is not mounted, and could be read.
  const std::vector<std::uint64_t>& gone() const noexcept { return gone_; }

 private:
  void compare(const std::unordered_set<std::string>& found);
  void follow(const RememberedFile& file, std::vector<Recovered>& recovered);
  bool is_gone(const RememberedFile& file);
  Siblings& siblings_of(const std::string& path);
  void note_generation(const std::string& path, const std::string& at);
  void adopt_generations();

  const std::vector<RememberedFile> remembered_;
  const std::function<bool()> go_on_;
  std::vector<const RememberedFile*> missing_;
  std::map<std::string, std::uint64_t> youngest_;  // id by path
  std::set<std::string> known_paths_;              // where the file is one that the checkpoints know
  std::set<FileKey> accounted_;
  std::set<FileKey> at_log_paths_;  // what is now at the path of a remembered file
  std::set<FileKey> found_keys_;
  std::unordered_set<std::string> found_;
  std::map<std::string, std::uint64_t> generations_;  // by path, of the youngest known file of it
  std::map<std::string, Siblings> directories_;
  std::unordered_map<std::string, std::string> origins_;
  std::set<std::string> successors_;
  std::size_t vanished_{0};
  std::vector<std::uint64_t> gone_;
};

}  // namespace logpipe
