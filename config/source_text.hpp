#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace logpipe::config {

/// A loaded file with its line starts. Offsets are bytes, columns characters; both lines and columns count from 1.
class SourceText {
 public:
  struct Place {
    std::size_t line;
    std::size_t column;
    std::size_t length;
  };

  SourceText(std::string name, std::string text);

  const std::string& name() const { return name_; }
  const std::string& text() const { return text_; }

  /// A line without its end; empty when there is none.
  std::string_view line(std::size_t number) const;
  /// The place of `[offset, offset + length)`, cut at the end of its line, at least one character long.
  Place place(std::size_t offset, std::size_t length) const;
  std::size_t offset_of(std::size_t line, std::size_t column) const;

  /// Where in the text byte `value_offset` of the decoded scalar that starts at `scalar` stands. Follows YAML 1.2
  /// chapters 7.3 (flow scalars: quotes, escapes, line folding) and 8.1 (block scalars). `scalar` itself where that
  /// cannot be told.
  std::size_t offset_within(std::size_t scalar, std::size_t value_offset) const;

 private:
  /// Code points before the offset.
  std::size_t characters_before(std::size_t offset) const;

  std::string name_;
  std::string text_;
  std::vector<std::size_t> line_starts_;
  std::vector<std::size_t> characters_at_;  // before every kStride-th byte, so that a file of one long line stays cheap
};

}  // namespace logpipe::config
