#pragma once

// What an expression is compiled into: a flat list of instructions with jumps. For the sources of event/ only.

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "event/expression_ast.hpp"
#include "event/expression_functions.hpp"

namespace logpipe::expr {

/// Where an instruction finds a value: a kind in the upper two bits, a number below.
using Operand = std::uint16_t;
enum class OperandKind : std::uint8_t { scratch, constant, field, event };
inline constexpr Operand kOperandMax = 4096;
constexpr Operand operand(OperandKind kind, std::size_t number) noexcept {
  return static_cast<Operand>(static_cast<unsigned>(kind) << 14 | number);
}
inline constexpr Operand kLevelOperand = operand(OperandKind::event, 0);
inline constexpr Operand kBodyOperand = operand(OperandKind::event, 1);

/// Tests jump to `target` where their outcome is `sense`, and go on behind them otherwise.
enum class Op : std::uint8_t {
  jump,
  test_level,    ///< levels[c] has the event's level
  test_compare,  ///< a, b by `detail` (Comparison) as `type`
  test_in,       ///< a in lists[c]
  test_text,     ///< a, b by `detail` (TextTest)
  test_match,    ///< a against patterns[c]
  test_exists,   ///< a is there, null or not
  test_present,  ///< a is there and not null
  test_true,     ///< a is true
  copy,          ///< scratch[c] = a
  calculate,     ///< scratch[c] = a, b by `detail` (Arithmetic), read as `type` and `right`
  negate,        ///< scratch[c] = -a, read as `type`
  call,          ///< scratch[c] = functions[a] of the `target` operands in arguments from b on
  finish,        ///< the value is a
};

struct Instruction {
  Op op{Op::finish};
  std::uint8_t detail{0};
  Type type{Type::any};
  Type right{Type::any};
  bool sense{true};
  bool negated{false};
  bool ignore_case{false};
  Operand a{0};
  Operand b{0};
  std::uint16_t c{0};
  std::uint32_t target{0};
};

/// The constants of an `in`. Texts or integers alone, and more than a few: sorted.
struct List {
  struct Item {
    Value value;
    Type as;
  };
  enum class Order : std::uint8_t { none, texts, integers };
  std::vector<Item> items;
  Order order{Order::none};
};

class Program {
 public:
  std::vector<Instruction> code;
  std::vector<Value> constants;
  std::vector<FieldPath> fields;
  std::vector<List> lists;
  std::vector<Pattern> patterns;
  std::vector<const Function*> functions;
  std::vector<Operand> arguments;
  std::vector<std::uint32_t> levels;  ///< sets of levels, a bit for each
  std::size_t registers{0};
  std::size_t arguments_max{0};  ///< of one call
  bool uses_level{false};
  /// Set where the outcome depends on the level only: for which it is true.
  std::optional<std::uint32_t> only_levels;
  std::unique_ptr<Arena> texts;  ///< what constants view
};

/// Null and a problem where it needs more fields, constants or values than there can be.
std::shared_ptr<const Program> compile(Tree tree, ExpressionProblem& problem);

/// The levels for which a condition on the level alone holds; nullopt: it depends on more.
std::optional<std::uint32_t> level_set(const Node& node);

}  // namespace logpipe::expr
