#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace logpipe {

/// What a pattern wants of a directory it passes through.
enum class DirectoryUse : std::uint8_t {
  passage,  ///< names that may appear in it lead further
  files,    ///< files of interest may lie in it
};

/// What a walk finds.
class GlobVisitor {
 public:
  virtual ~GlobVisitor() = default;
  /// A directory in which a change of names may change the result.
  virtual void on_directory(const std::string& path, DirectoryUse use) = 0;
  /// A name that matches and exists, of whatever kind.
  virtual void on_match(const std::string& path) = 0;
  /// A name that cannot be looked at, or a directory that cannot be read: whatever lies at it or below is not known.
  virtual void on_error(const std::string& path, int error) = 0;
};

/// A pattern over paths: `*`, `?` and `[…]` within one component, `**` for any number of directories, `\` takes the
/// meaning from the next character. A leading dot must be matched by a dot. Symbolic links are followed, except by
/// `**`. Threads: const after construction. Limits: `**` goes 64 directories deep.
class Glob {
 public:
  /// A relative pattern begins at `directory`.
  Glob(std::string_view pattern, std::string_view directory);

  const std::string& text() const noexcept { return text_; }
  /// Whether an absolute path without `.`, `..` and doubled slashes matches, existing or not.
  bool matches(std::string_view path) const;
  /// Visits everything that exists and matches, in no particular order, possibly more than once with `**`.
  void walk(GlobVisitor& visitor) const;

 private:
  enum class Kind : std::uint8_t { literal, pattern, any_depth };
  struct Component {
    std::string text;
    Kind kind;
  };
  bool matches_from(std::size_t component, const std::vector<std::string>& names, std::size_t name) const;
  void walk_from(std::size_t component, const std::string& directory, int depth, GlobVisitor& visitor) const;
  void walk_literal(std::size_t component, const std::string& directory, int depth, GlobVisitor& visitor) const;

  std::string text_;
  std::vector<Component> components_;
};

/// Files to leave out: a pattern without a slash is matched against the name alone, others against the whole path.
class ExcludeList {
 public:
  ExcludeList(const std::vector<std::string>& patterns, std::string_view directory);
  bool matches(std::string_view path) const;

 private:
  std::vector<std::string> names_;
  std::vector<Glob> paths_;
};

}  // namespace logpipe
