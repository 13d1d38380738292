#pragma once

// What the operators of an expression do with values. For the sources of event/ only.

#include <cstdint>
#include <string_view>

#include "event/arena.hpp"
#include "event/expression_ast.hpp"
#include "event/value.hpp"

namespace logpipe::expr {

/// The value as one of the type: a field's text as a number, a number as a duration in seconds, and so on; missing
/// where it is nothing of the kind.
Value read(const Value& value, Type type, Arena& arena);
/// Of a type of its own already, so that nothing has to be read.
bool is_of(const Value& value, Type type) noexcept;

/// Both sides read as `as`. Where one is missing nothing holds; where they are there and cannot be compared, only
/// `!=` does.
bool compare(Comparison op, Type as, const Value& a, const Value& b, Arena& arena);
Value calculate(Arithmetic op, const Value& a, const Value& b);  ///< of values that were read
Value negated(const Value& value);
bool is_true(const Value& value) noexcept;

/// A plain test of two texts. `contains` of an array: one of its elements is that text.
bool test_text(TextTest test, bool ignore_case, const Value& a, const Value& b, Arena& arena);
/// Where the part, which is not empty, begins; npos when it is not there. In linear time, unlike string_view::find.
std::size_t find_text(std::string_view text, std::string_view part) noexcept;
/// `*` any bytes, `?` one character; `\` before one of these or before itself makes it an ordinary one. A text that
/// takes more than 10 million steps does not match.
bool matches_glob(std::string_view text, std::string_view glob, bool ignore_case) noexcept;

inline char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}
inline char upper(char c) noexcept {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c & ~0x20) : c;
}

}  // namespace logpipe::expr
