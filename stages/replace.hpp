#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "config/pattern.hpp"
#include "config/schema.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

enum class ReplaceTimes : std::uint8_t { all, first };

/// Exactly one of `pattern` and `text` is given.
struct ReplaceOptions {
  FieldPath field{FieldPath::parse("message").value()};
  PatternOption pattern;
  std::optional<std::string> text;
  std::string with;
  ReplaceTimes times{ReplaceTimes::all};
};
const config::Schema<ReplaceOptions>& schema_of(config::Tag<ReplaceOptions>);

/// Replaces parts of a text. See docs/components/stages/replace.md.
std::unique_ptr<Stage> make_replace_stage(const ReplaceOptions& options, const StageServices& services);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::ReplaceTimes> {
  static constexpr EnumName<ReplaceTimes> values[] = {
      {"all", ReplaceTimes::all, "wherever it is found"},
      {"first", ReplaceTimes::first, "only the first time"},
  };
};
