#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/schema.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

struct MoveOptions {
  std::vector<FieldPath> fields;
  FieldPath to;
  std::string prefix;
};
const config::Schema<MoveOptions>& schema_of(config::Tag<MoveOptions>);

/// Puts fields into an object. See docs/components/stages/move.md.
std::unique_ptr<Stage> make_move_stage(const MoveOptions& options, const StageServices& services);

}  // namespace logpipe
