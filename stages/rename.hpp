#pragma once

#include <memory>
#include <vector>

#include "config/schema.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// Options of `rename`. `rename: {old: new}` is short for `rename: {fields: {old: new}}`.
struct RenameOptions {
  std::vector<config::Named<FieldPath>> fields;
};
const config::Schema<RenameOptions>& schema_of(config::Tag<RenameOptions>);

/// Gives fields other names. See docs/components/stages/rename.md.
std::unique_ptr<Stage> make_rename_stage(const RenameOptions& options, const StageServices& services);

}  // namespace logpipe
