#include <algorithm>

#include "event/json.hpp"
#include "stages/table_file.hpp"

namespace logpipe {
namespace {

/// Takes a text apart into rows of cells.
class CsvReader {
 public:
  CsvReader(std::string_view text, TableProblems& problems) : text_(text), problems_(problems) {}

  /// The next row that is not an empty line; false at the end. A row with a broken cell is reported, and read to the
  /// line's end.
  bool next(std::vector<std::string>& cells) {
    while (at_ < text_.size() && line_end()) take_line_end();
    if (at_ == text_.size()) return false;
    row_line_ = line_;
    good_ = true;
    std::size_t count = 0;
    for (;;) {
      if (count == cells.size()) cells.emplace_back();
      std::string& cell = cells[count++];
      cell.clear();
      if (text_[at_] == '"') {
        quoted(cell);
      } else {
        plain(cell);
      }
      if (at_ == text_.size() || line_end()) break;
      ++at_;  // the comma
      if (at_ == text_.size()) {
        if (count == cells.size()) cells.emplace_back();
        cells[count++].clear();
        break;
      }
    }
    cells.resize(count);
    if (at_ != text_.size()) take_line_end();
    return true;
  }

  std::size_t row_line() const noexcept { return row_line_; }
  bool good() const noexcept { return good_; }

 private:
  bool line_end() const noexcept {
    return text_[at_] == '\n' || (text_[at_] == '\r' && (at_ + 1 == text_.size() || text_[at_ + 1] == '\n'));
  }
  void take_line_end() noexcept {
    if (text_[at_] == '\r') ++at_;
    if (at_ < text_.size()) ++at_;
    ++line_;
  }
  void broken(std::string message) {
    if (good_) problems_.add(line_, std::move(message));
    good_ = false;
  }

  void plain(std::string& cell) {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != ',' && !line_end()) {
      if (text_[at_] == '"') broken("a quote inside a cell that does not begin with one; double it and quote the cell");
      ++at_;
    }
    cell.assign(text_.substr(begin, at_ - begin));
  }

  void quoted(std::string& cell) {
    const std::size_t opened = line_;
    ++at_;
    for (;;) {
      const std::size_t quote = text_.find('"', at_);
      const std::string_view part = text_.substr(at_, quote == text_.npos ? text_.npos : quote - at_);
      cell += part;
      line_ += static_cast<std::size_t>(std::count(part.begin(), part.end(), '\n'));
      if (quote == text_.npos) {
        at_ = text_.size();
        if (good_) problems_.add(opened, "a quoted cell that does not end");
        good_ = false;
        return;
      }
      at_ = quote + 1;
      if (at_ == text_.size() || text_[at_] != '"') break;
      cell += '"';
      ++at_;
    }
    if (at_ == text_.size() || text_[at_] == ',' || line_end()) return;
    broken("text behind the closing quote of a cell");
    while (at_ < text_.size() && text_[at_] != ',' && !line_end()) ++at_;
  }

  std::string_view text_;
  TableProblems& problems_;
  std::size_t at_{0};
  std::size_t line_{1};
  std::size_t row_line_{1};
  bool good_{true};
};

/// The index of the key's column, or npos after reporting.
std::size_t check_header(const std::vector<std::string>& header, std::string_view key_column, std::size_t line,
                         TableProblems& problems) {
  if (header.size() > kTableColumnsMax) {
    problems.add(line, "more than " + std::to_string(kTableColumnsMax) + " columns");
    return std::string::npos;
  }
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (header[i].empty()) problems.add(line, "column " + std::to_string(i + 1) + " of the header has no name");
    if (std::find(header.begin(), header.begin() + static_cast<std::ptrdiff_t>(i), header[i]) !=
        header.begin() + static_cast<std::ptrdiff_t>(i)) {
      problems.add(line, "two columns named \"" + header[i] + "\"");
    }
  }
  const auto found = std::find(header.begin(), header.end(), key_column);
  if (found != header.end()) return static_cast<std::size_t>(found - header.begin());
  problems.add(line, "no column \"" + std::string(key_column) + "\" in the header");
  return std::string::npos;
}

}  // namespace

void TableProblems::add(std::size_t line, std::string message) {
  if (kept_.size() < kKept) kept_.push_back("line " + std::to_string(line) + ": " + std::move(message));
  ++count_;
}

TableText read_csv_table(std::string_view text, std::string_view key_column, std::size_t rows_max,
                         TableProblems& problems) {
  TableText table;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  CsvReader reader(text, problems);
  if (!reader.next(table.columns)) {
    problems.add(1, "the table is empty; it needs a header line");
    return table;
  }
  const std::size_t key = check_header(table.columns, key_column, reader.row_line(), problems);
  if (!problems.none()) return table;

  std::vector<std::string> cells;
  while (reader.next(cells)) {
    const std::size_t line = reader.row_line();
    if (!reader.good()) continue;
    if (cells.size() != table.columns.size()) {
      problems.add(line, "the row has " + std::to_string(cells.size()) + " cells, the header has " +
                             std::to_string(table.columns.size()));
      continue;
    }
    if (cells[key].empty()) {
      problems.add(line, "the key is empty");
      continue;
    }
    if (table.rows.size() == rows_max) {
      problems.add(line, "more than " + std::to_string(rows_max) + " rows");
      break;
    }
    TableRow row{line, cells[key], {}};
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i != key && !cells[i].empty()) row.cells.push_back({static_cast<std::uint32_t>(i), json_string(cells[i])});
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace logpipe
