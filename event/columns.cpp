#include "event/columns.hpp"

#include <utility>

#include "event/byte_search.hpp"

namespace logpipe {
namespace {

constexpr bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t';
}

std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// Text in which two quotes stand for one.
std::string_view undouble(std::string_view text, Arena& arena) {
  char* const begin = arena.allocate(text.size());
  char* out = begin;
  for (std::size_t i = 0; i < text.size(); ++i) {
    *out++ = text[i];
    if (text[i] == '"') ++i;
  }
  const std::string_view done = slice(begin, out);
  arena.shrink_last(text.size() - done.size());
  return done;
}

/// Text in which a backslash keeps what follows it.
std::string_view unescape(std::string_view text, Arena& arena) {
  char* const begin = arena.allocate(text.size());
  char* out = begin;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    *out++ = text[i];
  }
  const std::string_view done = slice(begin, out);
  arena.shrink_last(text.size() - done.size());
  return done;
}

std::string_view name_of_column(std::size_t number, Arena& arena) {
  return arena.copy("column" + std::to_string(number));
}

}  // namespace

CsvScanner::CsvScanner(std::vector<std::string> names, char separator, Columns columns)
    : names_(std::move(names)), separator_(separator), columns_(columns) {}

bool CsvScanner::scan(std::string_view line, const ScanOut& out) const {
  const char* at = line.data();
  const char* const end = at + line.size();
  std::size_t column = 0;
  for (bool more = true; more; ++column) {
    std::string_view value;
    bool quoted = false;
    if (at != end && *at == '"') {
      const char* const begin = ++at;
      bool doubled = false;
      while (true) {
        at = find_byte(at, end, '"');
        if (at == end) return false;
        if (at + 1 == end || at[1] != '"') break;
        doubled = true;
        at += 2;
      }
      value = slice(begin, at++);
      if (at != end && *at != separator_) return false;
      if (doubled) value = undouble(value, out.arena);
      quoted = true;
    } else {
      const char* const stop = find_byte(at, end, separator_);
      value = slice(at, stop);
      at = stop;
    }
    more = at != end;
    if (more) ++at;
    if (column >= names_.size() && (columns_ == Columns::strict || column >= kColumnsMax)) return false;
    if (value.empty() && !quoted) continue;
    const std::string_view name = column < names_.size() ? names_[column] : name_of_column(column + 1, out.arena);
    out.fields.push_back({name, value, quoted, false});
  }
  return column >= names_.size() || columns_ == Columns::loose;
}

KeyValueScanner::KeyValueScanner(std::string field_separator, std::string pair_separator)
    : field_separator_(std::move(field_separator)), pair_separator_(std::move(pair_separator)) {}

bool KeyValueScanner::scan(std::string_view line, const ScanOut& out) const {
  const char* at = line.data();
  const char* const end = at + line.size();
  const std::size_t begin = out.fields.size();
  const auto known = [&](std::string_view key) {
    for (std::size_t i = begin; i < out.fields.size(); ++i) {
      if (out.fields[i].key == key) return true;
    }
    return false;
  };
  std::size_t pairs = 0;
  while (at != end) {
    const char* stop = find_text(at, end, field_separator_);
    const char* const pair = find_text(at, stop, pair_separator_);
    if (pair != stop) {
      if (++pairs > kPairsMax) return false;
      const std::string_view key = trim(slice(at, pair));
      const char* value_begin = pair + pair_separator_.size();
      while (value_begin != end && is_blank(*value_begin) && !slice(value_begin, end).starts_with(field_separator_)) {
        ++value_begin;
      }
      std::string_view value;
      bool quoted = false;
      if (value_begin != end && (*value_begin == '"' || *value_begin == '\'')) {
        bool escaped = false;
        const char* close = value_begin + 1;
        while (close < end && *close != *value_begin) {
          escaped = escaped || *close == '\\';
          close += *close == '\\' ? 2 : 1;
        }
        if (close < end) {
          value = slice(value_begin + 1, close);
          if (escaped) value = unescape(value, out.arena);
          stop = find_text(close + 1, end, field_separator_);
          quoted = true;
        }
      }
      if (!quoted) {
        stop = find_text(value_begin, end, field_separator_);
        value = trim(slice(value_begin, stop));
      }
      if (!key.empty() && !known(key)) out.fields.push_back({key, value, quoted, false});
    }
    at = stop == end ? end : stop + field_separator_.size();
  }
  return out.fields.size() != begin;
}

bool scan_cri(std::string_view line, const ScanOut& out) {
  const char* const end = line.data() + line.size();
  const char* const time = find_byte(line.data(), end, ' ');
  if (time == end || time == line.data() || *line.data() < '0' || *line.data() > '9') return false;
  const char* const stream = find_byte(time + 1, end, ' ');
  const std::string_view name = slice(time + 1, stream);
  if (stream == end || (name != "stdout" && name != "stderr")) return false;
  const char* const tags = find_byte(stream + 1, end, ' ');
  const std::string_view all = slice(stream + 1, tags);
  const std::string_view tag = all.substr(0, all.find(':'));
  if (tag != "F" && tag != "P") return false;
  out.text("time", slice(line.data(), time));
  out.text("stream", name);
  out.text("tag", tag);
  out.text("message", tags == end ? slice(end, end) : slice(tags + 1, end));
  return true;
}

}  // namespace logpipe
