#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "event/level.hpp"

namespace logpipe {

/// `level >= error`: the condition a sink can put on the events it takes. Operators `> >= < <= == !=`; names as in
/// level_from_name, any case, and `unknown`, which is below every level, so `level < warn` holds for an event without
/// one.
struct LevelCondition {
  enum class Op : std::uint8_t { greater, greater_equal, less, less_equal, equal, not_equal };

  Op op{Op::greater_equal};
  Level level{Level::unknown};

  bool holds(Level other) const noexcept;

  /// What is wrong with a text, and at which bytes of it.
  struct Problem {
    std::size_t offset{0};
    std::size_t length{0};
    std::string message;  ///< lower case, no full stop
    std::string hint;     ///< may be empty
  };
  static std::optional<LevelCondition> parse(std::string_view text, Problem* problem = nullptr);
  /// As it is written: `level >= error`.
  std::string text() const;

  friend bool operator==(const LevelCondition&, const LevelCondition&) = default;
};

}  // namespace logpipe
