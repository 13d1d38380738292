#include <unordered_map>

#include "event/arena.hpp"
#include "event/json.hpp"
#include "stages/table_file.hpp"

namespace logpipe {
namespace {

constexpr int kDepthMax = 64;

/// Reads JSON by the grammar of RFC 8259, one value after the other. The first error ends it: what follows means
/// nothing.
class JsonReader {
 public:
  JsonReader(std::string_view text, TableProblems& problems) : text_(text), problems_(problems) {}

  std::size_t line() const noexcept { return line_; }
  bool failed() const noexcept { return failed_; }
  bool fail(std::string message) {
    if (!failed_) problems_.add(line_, std::move(message));
    failed_ = true;
    return false;
  }

  char peek() noexcept {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r' || text_[at_] == '\n')) {
      if (text_[at_++] == '\n') ++line_;
    }
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  /// Blanks, then this character.
  bool take(char c) {
    if (peek() != c || at_ == text_.size()) return fail(std::string("expected `") + c + "`" + instead());
    ++at_;
    return true;
  }
  bool at_end() { return peek() == '\0' && at_ == text_.size(); }

  /// Behind a member or element: true when another follows, false when `close` was taken (or after an error).
  bool more(char close) {
    if (peek() == ',') {
      ++at_;
      return true;
    }
    if (peek() == close) {
      ++at_;
    } else {
      fail(std::string("expected `,` or `") + close + "`" + instead());
    }
    return false;
  }
  /// Takes `open`, and `close` when it follows at once; true when there are members.
  bool begin(char open, char close) {
    if (!take(open)) return false;
    if (peek() != close) return true;
    ++at_;
    return false;
  }

  /// A string with its quotes, as written.
  bool string(std::string_view& quoted) {
    if (peek() != '"') return fail("expected a text in quotes" + instead());
    const std::size_t begin = at_++;
    while (at_ < text_.size() && text_[at_] != '"') {
      const auto byte = static_cast<unsigned char>(text_[at_]);
      if (byte < 0x20) return fail("a control character inside a text");
      at_ += text_[at_] == '\\' ? escape_length() : 1;
      if (failed_) return false;
    }
    if (at_ >= text_.size()) return fail("a text that does not end");
    ++at_;
    quoted = text_.substr(begin, at_ - begin);
    return true;
  }

  /// Any value, appended to `out` without the blanks around its parts.
  bool value(std::string& out, int depth = 0) {
    if (depth > kDepthMax) return fail("nested more than " + std::to_string(kDepthMax) + " levels deep");
    const char c = peek();
    if (c == '{' || c == '[') return container(c, out, depth);
    std::string_view text;
    if (c == '"') {
      if (!string(text)) return false;
    } else if (!literal(text)) {
      return false;
    }
    out += text;
    return true;
  }

 private:
  std::string instead() const {
    if (at_ >= text_.size()) return ", got the end of the file";
    return std::string(", got `") + text_[at_] + "`";
  }
  std::size_t escape_length() {
    const std::string_view rest = text_.substr(at_ + 1);
    if (rest.empty()) return 1;
    if (std::string_view("\"\\/bfnrt").find(rest[0]) != std::string_view::npos) return 2;
    const bool four = rest.size() >= 5 && rest[0] == 'u' &&
                      rest.substr(1, 4).find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
    if (!four) fail("an escape that JSON does not know");
    return 6;
  }
  bool literal(std::string_view& text) {
    const std::size_t begin = at_;
    while (at_ < text_.size() && std::string_view(" \t\r\n,]}").find(text_[at_]) == std::string_view::npos) ++at_;
    text = text_.substr(begin, at_ - begin);
    if (text == "true" || text == "false" || text == "null" || is_json_number(text)) return true;
    at_ = begin;
    return fail("expected a value" + instead());
  }
  bool container(char open, std::string& out, int depth) {
    const char close = open == '{' ? '}' : ']';
    out += open;
    if (begin(open, close)) {
      bool first = true;
      do {
        if (!first) out += ',';
        first = false;
        if (open == '{') {
          std::string_view name;
          if (!string(name) || !take(':')) return false;
          out += name;
          out += ':';
        }
        if (!value(out, depth + 1)) return false;
      } while (more(close));
    }
    out += close;
    return !failed_;
  }

  std::string_view text_;
  TableProblems& problems_;
  std::size_t at_{0};
  std::size_t line_{1};
  bool failed_{false};
};

class JsonTable {
 public:
  JsonTable(std::string_view text, std::string_view key_column, std::size_t rows_max, TableProblems& problems)
      : reader_(text, problems), problems_(problems), key_column_(key_column), rows_max_(rows_max) {}

  TableText read() {
    if (reader_.peek() == '[') {
      read_array();
    } else if (reader_.peek() == '{') {
      read_object();
    } else {
      reader_.fail("expected an array of objects or an object of objects");
    }
    if (!reader_.failed() && !reader_.at_end()) reader_.fail("something behind the table's end");
    return std::move(table_);
  }

 private:
  void read_array() {
    if (!reader_.begin('[', ']')) return;
    do {
      reader_.peek();
      TableRow row{reader_.line(), {}, {}};
      bool has_key = false;
      if (!members(row, &has_key)) return;
      if (!has_key) {
        problems_.add(row.line, "no key \"" + std::string(key_column_) + "\" with a text, a number or a boolean");
      } else if (!keep(std::move(row))) {
        return;
      }
    } while (reader_.more(']'));
  }

  void read_object() {
    if (!reader_.begin('{', '}')) return;
    do {
      reader_.peek();
      TableRow row{reader_.line(), {}, {}};
      std::string_view name;
      if (!reader_.string(name) || !reader_.take(':')) return;
      row.key = unescaped(name);
      if (!members(row, nullptr) || !keep(std::move(row))) return;
    } while (reader_.more('}'));
  }

  bool keep(TableRow row) {
    if (row.key.empty()) {
      problems_.add(row.line, "the key is empty");
      return true;
    }
    if (table_.rows.size() == rows_max_) return reader_.fail("more than " + std::to_string(rows_max_) + " rows");
    table_.rows.push_back(std::move(row));
    return true;
  }

  /// One row's object. With `has_key` the key is among its members, otherwise it is known already.
  bool members(TableRow& row, bool* has_key) {
    if (!reader_.begin('{', '}')) return !reader_.failed();
    do {
      std::string_view quoted;
      if (!reader_.string(quoted) || !reader_.take(':')) return false;
      const std::string name = unescaped(quoted);
      const std::size_t line = reader_.line();
      std::string json;
      if (!reader_.value(json)) return false;
      if (has_key != nullptr && name == key_column_) {
        if (*has_key) problems_.add(line, "the member \"" + name + "\" twice in one row");
        *has_key = json.front() != '{' && json.front() != '[' && json != "null";
        row.key = json.front() == '"' ? unescaped(json) : json;
        continue;
      }
      const std::uint32_t column = column_of(name);
      if (table_.columns.size() > kTableColumnsMax) {
        return reader_.fail("more than " + std::to_string(kTableColumnsMax) + " columns");
      }
      for (const TableRow::Cell& cell : row.cells) {
        if (cell.column == column) problems_.add(line, "the member \"" + name + "\" twice in one row");
      }
      row.cells.push_back({column, std::move(json)});
    } while (reader_.more('}'));
    return !reader_.failed();
  }

  std::string unescaped(std::string_view quoted) {
    const std::string_view inner = quoted.substr(1, quoted.size() - 2);
    if (inner.find('\\') == inner.npos) return std::string(inner);
    Arena arena;
    return std::string(json_unescape(inner, arena));
  }
  std::uint32_t column_of(const std::string& name) {
    const auto [found, added] = columns_.try_emplace(name, static_cast<std::uint32_t>(table_.columns.size()));
    if (added) table_.columns.push_back(name);
    return found->second;
  }

  JsonReader reader_;
  TableProblems& problems_;
  std::string_view key_column_;
  std::size_t rows_max_;
  TableText table_;
  std::unordered_map<std::string, std::uint32_t> columns_;
};

}  // namespace

TableText read_json_table(std::string_view text, std::string_view key_column, std::size_t rows_max,
                          TableProblems& problems) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return JsonTable(text, key_column, rows_max, problems).read();
}

}  // namespace logpipe
