#pragma once

#include <cstdint>
#include <memory>

#include "config/schema.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

enum class LevelForm : std::uint8_t { name, number, syslog };

/// Options of `add_level`. `add_level: severity` is short for `add_level: {field: severity}`.
struct AddLevelOptions {
  FieldPath field{FieldPath::parse("level").value()};
  LevelForm as{LevelForm::name};
};
const config::Schema<AddLevelOptions>& schema_of(config::Tag<AddLevelOptions>);

/// Finds the level and writes it as a field. See docs/components/stages/add_level.md.
std::unique_ptr<Stage> make_add_level_stage(const AddLevelOptions& options, const StageServices& services);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::LevelForm> {
  static constexpr EnumName<LevelForm> values[] = {
      {"name", LevelForm::name, "`info`, `warn`, …"},
      {"number", LevelForm::number, "the severity number of OpenTelemetry, 1 to 24"},
      {"syslog", LevelForm::syslog, "the severity of syslog, 7 (debug) to 0"},
  };
};
