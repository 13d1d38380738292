#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "event/scan_lines.hpp"

namespace logpipe {

/// Reads lines of separated values as RFC 4180 has them: a value in quotes may hold the separator, line ends, and
/// quotes that are doubled. Blanks belong to values. A value in quotes is text; another that reads as a number, `true`,
/// `false` or `null` is one; an empty one is left out. Limits: one line is one event; a quoted value with a line end in
/// it needs a source that joins the lines. Threads: const, so any.
class CsvScanner {
 public:
  /// What a line with fewer or more values than there are names is.
  enum class Columns : std::uint8_t {
    strict,  ///< not in the format
    loose,   ///< values that are missing are left out, further ones are named `column4`, `column5`, …
  };
  static constexpr std::size_t kColumnsMax = 512;

  CsvScanner(std::vector<std::string> names, char separator, Columns columns);
  bool scan(std::string_view line, const ScanOut& out) const;

 private:
  std::vector<std::string> names_;
  char separator_;
  Columns columns_;
};

/// Reads pairs with separators of one's own: `a: 1; b: "x; y"`.
/// A key ends at the first pair separator, a value at the next field separator; blanks around both are trimmed. A value
/// that begins with a quote (`"` or `'`) ends at the same quote, a backslash keeps the next byte. A part without a pair
/// separator is left out, an empty key too; of a key that occurs twice the first value counts. Blanks as field
/// separator count as one however many there are. At least one pair must be there, and 512 are the limit. Threads:
/// const, so any.
class KeyValueScanner {
 public:
  static constexpr std::size_t kPairsMax = 512;

  /// Neither may be empty.
  KeyValueScanner(std::string field_separator, std::string pair_separator);
  bool scan(std::string_view line, const ScanOut& out) const;

 private:
  std::string field_separator_;
  std::string pair_separator_;
};

/// A line of a container's log as CRI runtimes write it: `time stream tags text`, the first tag being `F` or `P` (a
/// part of a longer line). The fields are `time`, `stream`, `tag` and `message`.
bool scan_cri(std::string_view line, const ScanOut& out);

}  // namespace logpipe
