#pragma once

// The words of an expression. For the sources of event/ only.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "event/arena.hpp"
#include "event/expression.hpp"

namespace logpipe::expr {

enum class TokenKind : std::uint8_t { end, number, text, name, quoted_name, symbol };

struct Token {
  TokenKind kind{TokenKind::end};
  std::size_t offset{0};
  std::string_view text;  ///< as written; of a text or quoted name what stands between the quotes
  std::size_t length{0};  ///< of all of it, quotes included
};

/// Splits a text into tokens, one at a time.
class Lexer {
 public:
  explicit Lexer(std::string_view text) noexcept : text_(text) {}
  /// False and a problem where no token begins.
  bool next(Token& token, ExpressionProblem& problem);

 private:
  bool quoted(Token& token, ExpressionProblem& problem);
  bool number(Token& token);
  bool symbol(Token& token, ExpressionProblem& problem);
  void finish(Token& token, TokenKind kind, std::size_t end) const noexcept;
  std::string_view text_;
  std::size_t at_{0};
};

/// A text's escapes undone: `\n \t \r \0 \\ \' \" \/ \xNN \uNNNN \u{N}`. False and a problem for any other.
bool unescape_text(const Token& token, Arena& arena, std::string_view& out, ExpressionProblem& problem);
/// The text of a pattern or glob, in which a backslash means what it means there: only `\'` and `\"` lose theirs.
std::string_view raw_text(const Token& token, Arena& arena);
/// Where in the token's text a byte of its raw text stands.
std::size_t raw_offset(const Token& token, std::size_t offset) noexcept;

bool is_name_start(char c) noexcept;
bool is_name_char(char c) noexcept;

}  // namespace logpipe::expr
