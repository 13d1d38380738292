#pragma once

// The functions of expressions. For the sources of event/ and their tests only.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "event/arena.hpp"
#include "event/expression_ast.hpp"
#include "event/value.hpp"

namespace logpipe::expr {

/// What a function may use besides its arguments.
struct CallContext {
  Arena& arena;
  std::int64_t (*clock)();
};

struct Function {
  static constexpr std::size_t kTypesMax = 3;
  /// How the n-th argument is read.
  Type type_of(std::size_t n) const noexcept { return types[arguments_max > kTypesMax && n > 1 ? 1 : n]; }

  std::string_view name;
  std::string_view usage;  ///< `substr(text, start, length?)`
  std::size_t arguments_min;
  std::size_t arguments_max;
  Type types[kTypesMax];  ///< how the arguments are read; with many, the second goes for those behind it, too
  Type result;
  bool constant;  ///< depends on its arguments only
  /// Called with arguments that are there and were read. Missing: it has no value.
  Value (*call)(std::span<const Value> arguments, CallContext& context);
};

inline constexpr std::size_t kManyArguments = 64;
/// Bytes of the texts that the functions of one run make together, so of each; what would be more is missing.
inline constexpr std::size_t kComputedTextMax = std::size_t{16} << 20;

/// Sorted by name.
std::span<const Function> functions() noexcept;
const Function* find_function(std::string_view name) noexcept;
/// An address, or one with the length of a prefix, as in_cidr() reads it.
bool is_network(std::string_view text) noexcept;

}  // namespace logpipe::expr
