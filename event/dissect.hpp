#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "event/scan_lines.hpp"

namespace logpipe {

/// A line cut at literal texts: `%{ip} - [%{time}] "%{verb} %{path}"`. What stands between two fields is their
/// delimiter; a field ends where its delimiter is found first, the last one where the line (or the literal text that
/// ends the line) does. The notation is that of Logstash's dissect filter:
///
/// - `%{name}`: the text becomes the field; it may be empty.
/// - `%{}`, `%{?name}`: skipped.
/// - `%{name->}`: the delimiter may be repeated behind it (padding in columns).
/// - `%{+name}`: the text is appended to the field of that name that stands to its left, with the delimiter before it.
///   `%{+name/2}` says in which order such parts are joined.
///
/// Two fields need a text between them. A value that reads as a number, `true`, `false` or `null` is one.
/// Limits: a pattern of 4096 bytes, 128 fields. Threads: const after parsing, so any.
class Dissect {
 public:
  static constexpr std::size_t kBytesMax = 4096;
  static constexpr std::size_t kFieldsMax = 128;

  /// What is wrong with a pattern, and at which bytes of it.
  struct Problem {
    std::size_t offset{0};
    std::size_t length{1};
    std::string message;  ///< lower case, no full stop
    std::string hint;     ///< may be empty
  };

  Dissect() = default;
  /// nullopt and what is wrong when the text is no such pattern.
  static std::optional<Dissect> parse(std::string_view text, Problem* problem = nullptr);

  /// Appends the line's fields; false when the line does not have the pattern's texts.
  bool scan(std::string_view line, const ScanOut& out) const;

  const std::string& spelling() const noexcept { return spelling_; }
  bool empty() const noexcept { return parts_.empty(); }  ///< not parsed

 private:
  enum class Kind : std::uint8_t { field, skip, append };
  /// One `%{…}` and the literal text behind it.
  struct Part {
    Kind kind{Kind::field};
    bool padded{false};
    std::string name;
    std::string delimiter;    ///< empty at the end only
    std::uint32_t order{0};   ///< of an append; 0: as written
    std::uint32_t target{0};  ///< of a field or an append: which of the fields, in output order
    std::string joint;        ///< of an append: what stands before it
  };
  class Parser;
  /// Which parts a field is joined of, in the order they are joined in.
  struct Joined {
    std::uint32_t target;
    std::vector<std::uint32_t> parts;
  };

  bool cut(std::string_view line, const ScanOut& out, std::string_view* values) const;
  void join(const std::string_view* values, const ScanOut& out, std::size_t begin) const;

  std::string spelling_;
  std::string prefix_;  ///< the text before the first field
  std::vector<Part> parts_;
  std::vector<Joined> joined_;
};

}  // namespace logpipe
