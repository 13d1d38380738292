#pragma once

// The tree that an expression is parsed into, with types, before it becomes a program. For the sources of event/ and
// their tests only.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "event/arena.hpp"
#include "event/expression.hpp"
#include "event/pattern.hpp"
#include "event/value.hpp"

namespace logpipe::expr {

struct Function;

/// What is known of a value before there is an event. `any`: a field, so it is seen then. In a comparison the type of
/// one side says how a field on the other side is read.
enum class Type : std::uint8_t { any, null, boolean, number, size, duration, time, text, level };
std::string_view type_name(Type type) noexcept;

enum class Comparison : std::uint8_t { equal, not_equal, less, less_equal, greater, greater_equal };
enum class Arithmetic : std::uint8_t { add, subtract, multiply, divide, remainder };
enum class TextTest : std::uint8_t { equals, contains, starts_with, ends_with, like };

enum class NodeKind : std::uint8_t {
  constant,
  field,
  level,       ///< the event's level
  body,        ///< the event as it came
  call,        ///< `function` of the children
  choose,      ///< if(children[0], children[1], children[2])
  coalesce,    ///< the first child that is there and not null
  arithmetic,  ///< of two children
  negate,      ///< a number or duration
  compare,     ///< two children, read as `as`
  in,          ///< children[0] among the others, which are constants
  text_test,   ///< two children
  match,       ///< children[0] against `pattern`
  exists,
  all,  ///< and
  any,  ///< or
  negation,
};

struct Node {
  NodeKind kind{NodeKind::constant};
  Type type{Type::any};
  std::size_t offset{0};  ///< of its text
  std::size_t length{0};
  std::size_t depth{1};
  Comparison comparison{};
  Arithmetic arithmetic{};
  TextTest test{};
  Type as{Type::any};        ///< compare, in, arithmetic: how the sides are read
  Type right_as{Type::any};  ///< arithmetic: how the right one is
  bool negated{false};       ///< in, text_test, match: holds where the field is there and the plain test does not hold
  bool ignore_case{false};   ///< text_test
  bool parenthesized{false};
  Value constant;
  std::optional<FieldPath> field;
  std::optional<Pattern> pattern;
  const Function* function{nullptr};
  std::vector<std::unique_ptr<Node>> children;
};
using NodePtr = std::unique_ptr<Node>;

/// A tree and the memory of the texts in it.
struct Tree {
  NodePtr root;
  std::unique_ptr<Arena> texts;
};

/// Parses, checks the types and folds what is constant. A null root: `problem` says why.
Tree parse(std::string_view text, ExpressionProblem& problem);
/// The same, without folding, and with types where literals alone say them.
Tree parse_unfolded(std::string_view text, ExpressionProblem& problem);
/// Finds the type of a node whose children have theirs; false and a problem where it can have no value.
bool check(Node& node, ExpressionProblem& problem);
/// Replaces what depends on no event by its value; false and a problem where that value cannot be computed.
bool fold(NodePtr& node, Arena& texts, ExpressionProblem& problem);
/// Its value is true or false, or seen with an event only.
inline bool is_condition(const Node& node) noexcept {
  return node.type == Type::boolean || node.type == Type::any;
}
/// `did you mean x?` for the nearest of the candidates; empty when none is near.
std::string nearest_hint(std::string_view word, const std::vector<std::string_view>& candidates);
/// The level a word names, `unknown` included; nullopt and a problem at the given place.
std::optional<Level> level_named(std::string_view word, std::size_t offset, std::size_t length,
                                 ExpressionProblem& problem);

}  // namespace logpipe::expr
