#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channel/result.hpp"
#include "event/batch.hpp"
#include "event/fields.hpp"
#include "event/pattern.hpp"

namespace logpipe::verifying {

/// Where something stands in a line: a field of JSON, or a group of a regular expression.
class Locator {
 public:
  /// `.field` is a field, everything else a regular expression; `group` is the name of the group that counts, otherwise
  /// it is the first. ErrorKind::invalid, with `option` in the message.
  static Result<Locator> parse(const std::string& option, const std::string& text, const std::string& group);
  bool is_field() const noexcept { return path_.has_value(); }
  /// Only of a field; the text is of the block or of the batch's arena.
  std::optional<std::string_view> field(Batch& batch, const Event& event) const;
  /// Only of a regular expression.
  std::optional<std::string_view> group(std::string_view line, std::vector<std::string_view>& groups) const;

 private:
  std::optional<FieldPath> path_;
  std::optional<Pattern> pattern_;
  std::size_t group_{0};
};

/// The number of each line, and which sequence it is of.
/// Threads: one at a time. Limits: blocks of 1 MiB, or the longest line.
class NumberReader {
 public:
  struct Line {
    std::string_view text;
    std::optional<std::uint64_t> number;
    std::string_view sequence;
  };
  static Result<NumberReader> make(const std::string& key, const std::string& per);

  /// Calls `visit(line)` for each of these whole lines; false ends.
  bool each(std::string_view lines, const std::function<bool(const Line&)>& visit);

 private:
  NumberReader() = default;
  Locator key_;
  std::optional<Locator> per_;
  std::unique_ptr<Batch> batch_{std::make_unique<Batch>()};
  std::vector<std::string_view> groups_;
};

}  // namespace logpipe::verifying
