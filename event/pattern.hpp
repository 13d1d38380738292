#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace logpipe {

/// A regular expression as PCRE2 understands it (pcre2pattern(3)), compiled once and to machine code where the library
/// can. Text is UTF-8; bytes that are not match nothing but stand in nobody's way. `^` and `$` stand for the ends of
/// the text, not of its lines, unless the pattern says `(?m)`.
///
/// Limits: a pattern of 64 KiB, 100 groups, and some 20 million steps of work for one text of up to 20 KB, which is
/// tenths of a second at the very worst; for a longer text a thousand steps for each of its bytes. A pattern that would
/// take more (nested repetitions) gives up, which counts as no match and is told by gave_up(). Threads: const after
/// parsing, so any, several at once.
class Pattern {
 public:
  static constexpr std::size_t kBytesMax = 64 * 1024;
  static constexpr std::size_t kGroupsMax = 100;

  /// Where the text stops being a pattern, in bytes, and why.
  struct Problem {
    std::size_t offset{0};
    std::string message;
  };

  /// nullopt and what is wrong when the text is no pattern.
  static std::optional<Pattern> parse(std::string_view text, Problem* problem = nullptr);

  /// Whether it matches anywhere in the text.
  bool matches(std::string_view text) const noexcept;
  /// The same, and what the groups matched: `groups[0]` is the whole match; a group that took no part has a null
  /// data(). Views into `text`.
  bool capture(std::string_view text, std::vector<std::string_view>& groups) const;

  const std::string& spelling() const noexcept;
  /// Groups, without the whole match.
  std::size_t group_count() const noexcept;
  /// The number of a named group; nullopt: there is none.
  std::optional<std::size_t> group(std::string_view name) const;
  /// The named groups with their numbers, in the order in which they stand in the pattern.
  std::vector<std::pair<std::string, std::size_t>> named_groups() const;
  /// Texts at which the limit was reached, by all threads together.
  std::uint64_t gave_up() const noexcept;

 private:
  struct Code;
  explicit Pattern(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  int run(std::string_view text) const noexcept;
  std::shared_ptr<const Code> code_;
};

}  // namespace logpipe
