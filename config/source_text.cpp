#include "config/source_text.hpp"

#include <algorithm>
#include <utility>

#include "config/text.hpp"

namespace logpipe::config {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}
constexpr std::size_t kStride = 256;

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

bool is_break(char c) {
  return c == '\n' || c == '\r';
}

/// Walks over the raw text of a scalar and notes for every byte of its value where it came from, until `wanted` is
/// known.
class ScalarWalk {
 public:
  ScalarWalk(std::string_view text, std::size_t begin, std::size_t wanted) : text_(text), at_(begin), wanted_(wanted) {}

  /// npos when the value is shorter than wanted or the scalar is of a kind that is not followed.
  std::size_t run() {
    const char first = peek();
    if (first == '\'' || first == '"') {
      ++at_;
      flow(first);
    } else if (first == '|' || first == '>') {
      block(first == '>');
    } else {
      flow('\0');
    }
    return found_;
  }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool done() const { return found_ != std::string_view::npos; }

  /// `bytes` bytes of the value come from `from`.
  void emit(std::size_t from, std::size_t bytes = 1) {
    if (!done() && wanted_ < emitted_ + bytes) found_ = from;
    emitted_ += bytes;
  }

  void flow(char quote) {
    while (!done() && at_ < text_.size()) {
      const char c = text_[at_];
      if (quote != '\0' && c == quote) {
        if (quote == '\'' && peek(1) == '\'') {
          emit(at_);
          at_ += 2;
          continue;
        }
        emit(at_);  // the end of the value is a place too
        return;
      }
      if (quote == '"' && c == '\\') {
        escape();
      } else if (is_blank(c) || is_break(c)) {
        white_space();
      } else {
        emit(at_++);
      }
    }
    emit(at_);
  }

  /// Blanks count unless a line break follows; one break is a space, n are n - 1 line feeds.
  void white_space() {
    std::size_t end = at_;
    while (end < text_.size() && is_blank(text_[end])) ++end;
    if (end == text_.size() || !is_break(text_[end])) {
      while (at_ < end) emit(at_++);
      return;
    }
    const std::size_t from = at_;
    std::size_t breaks = 0;
    for (; end < text_.size() && (is_blank(text_[end]) || is_break(text_[end])); ++end)
      breaks += text_[end] == '\n' ? 1 : 0;
    at_ = end;
    emit(from, breaks <= 1 ? 1 : breaks - 1);
  }

  void escape() {
    const std::size_t from = at_;
    const char kind = peek(1);
    at_ += 2;
    switch (kind) {
      case 'x':
        hex(from, 2);
        return;
      case 'u':
        hex(from, 4);
        return;
      case 'U':
        hex(from, 8);
        return;
      case 'N':
      case '_':
        emit(from, 2);
        return;
      case 'L':
      case 'P':
        emit(from, 3);
        return;
      case '\r':
      case '\n':
        while (is_blank(peek()) || is_break(peek())) ++at_;
        return;
      default:
        emit(from);
        return;
    }
  }

  void hex(std::size_t from, std::size_t digits) {
    unsigned long code = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'                     ? c - '0'
                        : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                                 : 0;
      code = code * 16 + static_cast<unsigned long>(digit);
      ++at_;
    }
    emit(from, code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4);
  }

  void block(bool folded) {
    for (; at_ < text_.size() && text_[at_] != '\n'; ++at_) {
      if (text_[at_] >= '1' && text_[at_] <= '9') return;  // indentation relative to a parent that is not known here
      if (text_[at_] == '#') break;
    }
    skip_line();
    std::size_t indent = 0;
    for (std::size_t i = at_; i < text_.size() && (text_[i] == ' ' || is_break(text_[i])); ++i) {
      indent = text_[i] == ' ' ? indent + 1 : 0;
    }
    while (!done() && at_ < text_.size()) {
      const std::size_t line = at_;
      std::size_t skipped = 0;
      while (skipped < indent && peek() == ' ') ++skipped, ++at_;
      const bool blank = is_break(peek());
      if (!blank && skipped < indent) break;  // the scalar is over
      const bool inset = is_blank(peek());
      while (at_ < text_.size() && !is_break(text_[at_])) emit(at_++);
      const std::size_t end = at_;
      skip_line();
      if (!folded || blank || inset) {
        emit(blank ? line : end);
        continue;
      }
      fold(indent, end);
    }
    emit(at_);
  }

  /// After a line of a folded block: what the break is worth depends on what follows.
  void fold(std::size_t indent, std::size_t end) {
    std::size_t ahead = at_;
    std::size_t blank_lines = 0;
    for (std::size_t i = at_; i < text_.size() && (text_[i] == ' ' || is_break(text_[i])); ++i) {
      if (text_[i] != '\n') continue;
      ++blank_lines;
      ahead = i + 1;
    }
    const bool inset_follows = ahead + indent < text_.size() && is_blank(text_[ahead + indent]);
    if (blank_lines == 0 || inset_follows) emit(end);
    if (blank_lines != 0) {
      at_ = ahead;
      emit(end, blank_lines);
    }
  }

  void skip_line() {
    while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    if (at_ < text_.size()) ++at_;
  }

  std::string_view text_;
  std::size_t at_;
  std::size_t wanted_;
  std::size_t emitted_{0};
  std::size_t found_{std::string_view::npos};
};

}  // namespace

SourceText::SourceText(std::string name, std::string text) : name_(std::move(name)), text_(std::move(text)) {
  line_starts_.push_back(0);
  for (std::size_t i = 0; i < text_.size(); ++i) {
    if (text_[i] == '\n') line_starts_.push_back(i + 1);
  }
  characters_at_.push_back(0);
  for (std::size_t i = 0; i + kStride <= text_.size(); i += kStride) {
    characters_at_.push_back(characters_at_.back() + count_characters(std::string_view(text_).substr(i, kStride)));
  }
}

std::size_t SourceText::characters_before(std::size_t offset) const {
  const std::size_t stride = offset / kStride;
  return characters_at_[stride] + count_characters(std::string_view(text_).substr(stride * kStride, offset % kStride));
}

std::string_view SourceText::line(std::size_t number) const {
  if (number == 0 || number > line_starts_.size()) return {};
  const std::size_t begin = line_starts_[number - 1];
  std::size_t end = number < line_starts_.size() ? line_starts_[number] - 1 : text_.size();
  if (end > begin && text_[end - 1] == '\r') --end;
  return std::string_view(text_).substr(begin, end - begin);
}

SourceText::Place SourceText::place(std::size_t offset, std::size_t length) const {
  offset = std::min(offset, text_.size());
  const auto after = std::upper_bound(line_starts_.begin(), line_starts_.end(), offset);
  const auto number = static_cast<std::size_t>(after - line_starts_.begin());
  const std::size_t begin = line_starts_[number - 1];
  const std::string_view content = line(number);
  const std::size_t in_line = std::min(offset - begin, content.size());
  const std::size_t column = characters_before(begin + in_line) - characters_before(begin) + 1;
  return {number, column, std::max<std::size_t>(count_characters(content.substr(in_line, length)), 1)};
}

std::size_t SourceText::offset_of(std::size_t line_number, std::size_t column) const {
  if (line_number == 0 || line_number > line_starts_.size()) return text_.size();
  const std::size_t begin = line_starts_[line_number - 1];
  const std::size_t wanted = characters_before(begin) + column - 1;
  const auto after = std::upper_bound(characters_at_.begin(), characters_at_.end(), wanted);
  const auto stride = static_cast<std::size_t>(after - characters_at_.begin()) - 1;
  // The stride may begin inside a character that was counted before it.
  std::size_t at = stride * kStride;
  while (at < text_.size() && is_continuation(text_[at])) ++at;
  for (std::size_t i = characters_at_[stride]; i < wanted && at < text_.size(); ++i) {
    const std::size_t length = utf8_length(std::string_view(text_).substr(at));
    at += length == 0 ? 1 : length;
  }
  return at;
}

std::size_t SourceText::offset_within(std::size_t scalar, std::size_t value_offset) const {
  const std::size_t found = ScalarWalk(text_, scalar, value_offset).run();
  return found == std::string_view::npos ? scalar : found;
}

}  // namespace logpipe::config
