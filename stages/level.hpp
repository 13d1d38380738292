#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "config/schema.hpp"
#include "event/fields.hpp"
#include "event/level.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

enum class UnknownLevel : std::uint8_t { keep, discard };

/// Options of `level`. `level: warn` is short for `level: {min: warn}`.
struct LevelOptions {
  Level min{Level::info};
  std::optional<FieldPath> field;
  UnknownLevel unknown{UnknownLevel::keep};
};
const config::Schema<LevelOptions>& schema_of(config::Tag<LevelOptions>);

/// Finds every event's level and keeps those at or above one. See docs/components/stages/level.md.
std::unique_ptr<Stage> make_level_stage(const LevelOptions& options, const StageServices& services);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::UnknownLevel> {
  static constexpr EnumName<UnknownLevel> values[] = {
      {"keep", UnknownLevel::keep, "it goes on"},
      {"discard", UnknownLevel::discard, "it is discarded"},
  };
};
