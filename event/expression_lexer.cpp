#include "event/expression_lexer.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace logpipe::expr {
namespace {

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
int hex_value(char c) noexcept {
  if (is_digit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// Longer ones first, so that `>=` is not read as `>`.
constexpr std::array<std::string_view, 24> kSymbols = {"==", "!=", ">=", "<=", "=~", "!~", "&&", "||",
                                                       "<",  ">",  "!",  "(",  ")",  "[",  "]",  ",",
                                                       "+",  "-",  "*",  "/",  "%",  ".",  "=",  "?"};

char* put_utf8(std::uint32_t point, char* out) noexcept {
  if (point < 0x80) {
    *out++ = static_cast<char>(point);
  } else if (point < 0x800) {
    *out++ = static_cast<char>(0xC0 | point >> 6);
    *out++ = static_cast<char>(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    *out++ = static_cast<char>(0xE0 | point >> 12);
    *out++ = static_cast<char>(0x80 | (point >> 6 & 0x3F));
    *out++ = static_cast<char>(0x80 | (point & 0x3F));
  } else {
    *out++ = static_cast<char>(0xF0 | point >> 18);
    *out++ = static_cast<char>(0x80 | (point >> 12 & 0x3F));
    *out++ = static_cast<char>(0x80 | (point >> 6 & 0x3F));
    *out++ = static_cast<char>(0x80 | (point & 0x3F));
  }
  return out;
}

/// Reads up to `most` hexadecimal digits at `at`; how many there were is told.
std::uint32_t take_hex(std::string_view text, std::size_t at, std::size_t most, std::size_t& count) noexcept {
  std::uint32_t value = 0;
  for (count = 0; count < most && at + count < text.size(); ++count) {
    const int digit = hex_value(text[at + count]);
    if (digit < 0) break;
    value = value << 4 | static_cast<std::uint32_t>(digit);
  }
  return value;
}

/// The character of `\xNN`, `\uNNNN` or `\u{N}` at `at`, which is moved behind it; false when it is none.
bool take_code(std::string_view text, std::size_t& at, std::uint32_t& point) noexcept {
  const bool braces = text[at + 1] == 'u' && at + 2 < text.size() && text[at + 2] == '{';
  const std::size_t wanted = braces ? 6 : text[at + 1] == 'x' ? 2 : 4;
  const std::size_t begin = at + (braces ? 3 : 2);
  std::size_t count = 0;
  point = take_hex(text, begin, wanted, count);
  if (braces) {
    if (count == 0 || begin + count >= text.size() || text[begin + count] != '}') return false;
  } else if (count != wanted) {
    return false;
  }
  at = begin + count + (braces ? 1 : 0);
  // `\x` up to 7F, so that no text stops being UTF-8 by it.
  return point <= (wanted == 2 ? 0x7FU : 0x10FFFFU) && (point < 0xD800 || point > 0xDFFF);
}

}  // namespace

bool is_name_start(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '@' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool is_name_char(char c) noexcept {
  return is_name_start(c) || is_digit(c);
}

void Lexer::finish(Token& token, TokenKind kind, std::size_t end) const noexcept {
  token.kind = kind;
  token.length = end - token.offset;
  token.text = text_.substr(token.offset, token.length);
}

bool Lexer::next(Token& token, ExpressionProblem& problem) {
  while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
  token = {};
  token.offset = at_;
  if (at_ == text_.size()) return true;
  const char c = text_[at_];
  if (c == '\'' || c == '"' || c == '`') return quoted(token, problem);
  if (is_digit(c)) return number(token);
  if (is_name_start(c)) {
    while (at_ < text_.size() && is_name_char(text_[at_])) ++at_;
    finish(token, TokenKind::name, at_);
    return true;
  }
  return symbol(token, problem);
}

bool Lexer::quoted(Token& token, ExpressionProblem& problem) {
  const char quote = text_[at_];
  std::size_t at = at_ + 1;
  while (at < text_.size() && text_[at] != quote) at += text_[at] == '\\' && quote != '`' ? 2 : 1;
  if (at >= text_.size()) {
    problem = {token.offset, text_.size() - token.offset, "a quote that is not closed", {}};
    if (quote != '`') problem.hint = "write \\" + std::string(1, quote) + " for the character itself";
    return false;
  }
  finish(token, quote == '`' ? TokenKind::quoted_name : TokenKind::text, at + 1);
  token.text = token.text.substr(1, token.text.size() - 2);
  at_ = at + 1;
  return true;
}

/// Digits and the unit behind them, whatever that is.
bool Lexer::number(Token& token) {
  const auto digits = [&] {
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
  };
  digits();
  if (at_ + 1 < text_.size() && text_[at_] == '.' && is_digit(text_[at_ + 1])) {
    ++at_;
    digits();
  }
  if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
    std::size_t exponent = at_ + 1;
    if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-')) ++exponent;
    if (exponent < text_.size() && is_digit(text_[exponent])) {
      at_ = exponent;
      digits();
    }
  }
  while (at_ < text_.size() &&
         (is_name_char(text_[at_]) || (text_[at_] == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1])))) {
    ++at_;
  }
  finish(token, TokenKind::number, at_);
  return true;
}

bool Lexer::symbol(Token& token, ExpressionProblem& problem) {
  for (const std::string_view one : kSymbols) {
    if (!text_.substr(at_).starts_with(one)) continue;
    at_ += one.size();
    // What looks like an operator and is none is told as a whole.
    if (one.find_first_of("<>=!") != std::string_view::npos && one != "!") {
      while (at_ < text_.size() && std::strchr("<>=", text_[at_]) != nullptr) ++at_;
    }
    finish(token, TokenKind::symbol, at_);
    return true;
  }
  problem = {at_, 1, "unexpected character `" + std::string(1, text_[at_]) + "`", {}};
  if (text_[at_] == '#') problem.hint = "names with odd characters stand in backquotes";
  return false;
}

bool unescape_text(const Token& token, Arena& arena, std::string_view& out, ExpressionProblem& problem) {
  const std::string_view text = token.text;
  char* const begin = arena.allocate(text.size());
  char* end = begin;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] != '\\') {
      *end++ = text[at++];
      continue;
    }
    const char kind = text[at + 1];
    constexpr std::string_view kLetters = "ntr0\\'\"/";
    constexpr std::string_view kMeaning{"\n\t\r\0\\'\"/", 8};
    const std::size_t found = kLetters.find(kind);
    const std::size_t escape = at;
    std::uint32_t point = 0;
    if (found != std::string_view::npos) {
      *end++ = kMeaning[found];
      at += 2;
    } else if ((kind == 'x' || kind == 'u') && take_code(text, at, point)) {
      end = put_utf8(point, end);
    } else {
      problem = {token.offset + 1 + escape, 2, "unknown escape `" + std::string(text.substr(escape, 2)) + "`",
                 "write \\\\ for a backslash; in patterns behind =~ it stands for itself"};
      return false;
    }
  }
  arena.shrink_last(text.size() - static_cast<std::size_t>(end - begin));
  out = {begin, static_cast<std::size_t>(end - begin)};
  return true;
}

std::string_view raw_text(const Token& token, Arena& arena) {
  const std::string_view text = token.text;
  char* const begin = arena.allocate(text.size());
  char* end = begin;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\' && at + 1 < text.size()) {
      if (text[at + 1] != '\'' && text[at + 1] != '"') *end++ = '\\';
      ++at;
    }
    *end++ = text[at];
  }
  arena.shrink_last(text.size() - static_cast<std::size_t>(end - begin));
  return {begin, static_cast<std::size_t>(end - begin)};
}

std::size_t raw_offset(const Token& token, std::size_t offset) noexcept {
  const std::string_view text = token.text;
  std::size_t at = 0;
  for (std::size_t raw = 0; at < text.size() && raw < offset; ++at, ++raw) {
    if (text[at] != '\\' || at + 1 >= text.size()) continue;
    if (text[at + 1] == '\'' || text[at + 1] == '"') {
      ++at;
    } else if (raw + 1 < offset) {
      ++at;
      ++raw;
    }
  }
  return std::min(at, text.size());
}

}  // namespace logpipe::expr
