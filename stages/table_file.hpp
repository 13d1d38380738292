#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Reading lookup tables from CSV and JSON texts, strictly and with line numbers. What lookup_table.cpp is made of.

namespace logpipe {

/// One row: its key as text, and its other cells as JSON.
struct TableRow {
  struct Cell {
    std::uint32_t column{0};  ///< index in TableText::columns
    std::string json;         ///< on one line
  };
  std::size_t line{0};  ///< where it begins, from 1
  std::string key;
  std::vector<Cell> cells;
};

struct TableText {
  std::vector<std::string> columns;  ///< in order of first appearance, the key's included
  std::vector<TableRow> rows;
};

/// Of one table; a row is searched for doubled names.
inline constexpr std::size_t kTableColumnsMax = 1000;

/// What is wrong with a table, as `line 4: …`, in order of lines. Keeps ten findings; the text is refused if there is
/// any.
class TableProblems {
 public:
  static constexpr std::size_t kKept = 10;

  void add(std::size_t line, std::string message);
  bool none() const noexcept { return count_ == 0; }
  std::size_t count() const noexcept { return count_; }
  const std::vector<std::string>& kept() const noexcept { return kept_; }

 private:
  std::vector<std::string> kept_;
  std::size_t count_{0};
};

/// CSV after RFC 4180, UTF-8, with a header line; LF as well as CRLF, a byte order mark and empty lines are read over.
/// Every row has as many cells as the header. Cells are strings; an empty one is left out.
TableText read_csv_table(std::string_view text, std::string_view key_column, std::size_t rows_max,
                         TableProblems& problems);

/// A JSON array of objects, the key being the member `key_column` of each (a text, number or boolean), or a JSON object
/// of objects, the keys being its own. Values keep their types and spelling, blanks between them are dropped. RFC 8259,
/// 64 levels.
TableText read_json_table(std::string_view text, std::string_view key_column, std::size_t rows_max,
                          TableProblems& problems);

}  // namespace logpipe
