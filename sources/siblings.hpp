#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "delivery/checkpoint.hpp"
#include "sources/descriptor.hpp"
#include "sources/inflated.hpp"

namespace logpipe {

/// Two names lead to the same file when these are equal.
struct FileKey {
  std::uint64_t device{0};
  std::uint64_t inode{0};
  friend auto operator<=>(const FileKey&, const FileKey&) = default;
};

/// What became of a file that is not where it was.
struct Whereabouts {
  enum class How : std::uint8_t {
    renamed,    ///< the file itself, under another name
    copied,     ///< a copy of it
    compressed  ///< a compressed copy of it
  };
  How how;
  std::string path;
  FileKey key;                             ///< of what lies at the path
  std::uint64_t size{0};                   ///< of the content
  Descriptor file;                         ///< open, unless compressed
  std::unique_ptr<InflatedFile> inflated;  ///< if compressed
};

/// Files that are not to be found: they are being read already.
using Taken = std::function<bool(const FileKey&)>;

/// The files that lie in the same directory as a log, where rotation may have put it: under another name, as a copy, or
/// compressed. A copy is known by its first bytes and by those before the positions; it takes 32 bytes of either.
/// Threads: one. Limits: of names that begin like the log's the 1000 youngest are looked into, and of a directory the
/// first 100,000 names are seen.
class Siblings {
 public:
  explicit Siblings(std::string directory);

  const std::string& directory() const noexcept { return directory_; }
  /// The directory could be read.
  bool readable() const noexcept { return readable_; }

  /// The file itself, then copies of it, then compressed ones; the youngest first. Those it
  /// returns are taken from then on. `go_on` is asked now and then while a long file is read; false ends the search.
  std::optional<Whereabouts> find(const RememberedFile& file, const Taken& taken, const std::function<bool()>& go_on);
  /// Only copies that are not compressed: what a log was copied to before it was truncated.
  std::optional<Whereabouts> find_copy(const RememberedFile& file, const Taken& taken);
  /// The generations of the log `path` that were rotated after the one at `found`, the oldest first.
  std::vector<Whereabouts> younger_than(const std::string& path, const std::string& found, const Taken& taken,
                                        const std::function<bool()>& go_on);

 private:
  struct Name {
    std::string name;
    std::uint64_t inode;
  };
  struct Candidate {
    std::string path;
    FileKey key;
    std::uint64_t size;
    std::int64_t modified_ns;
    Compression compression;
  };
  std::vector<Candidate> candidates(const std::string& path) const;
  std::optional<Candidate> look_at(const std::string& name) const;
  std::optional<Whereabouts> itself(const RememberedFile& file, const Taken& taken) const;

  const std::string directory_;
  std::vector<Name> names_;
  std::set<FileKey> used_;
  bool readable_{false};
};

/// The path without symbolic links, or nothing when it is the path itself or leads nowhere.
std::string target_of(const std::string& path);

/// Which generation of `log` a file is by its path, compressed or not: app.log.1, app.log-20260101.gz; 0: none.
std::uint64_t generation_in(std::string_view log, std::string_view path) noexcept;

/// Whether an open file is the remembered one and has not become shorter than, or other before, any of its positions.
bool is_intact(int fd, const RememberedFile& file);

}  // namespace logpipe
