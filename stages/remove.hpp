#pragma once

#include <memory>
#include <vector>

#include "config/schema.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// Options of `remove`. `remove: [a, .b.c]` is short for `remove: {fields: [a, .b.c]}`.
struct RemoveOptions {
  std::vector<FieldPath> fields;
};
const config::Schema<RemoveOptions>& schema_of(config::Tag<RemoveOptions>);

/// Removes fields. See docs/components/stages/remove.md.
std::unique_ptr<Stage> make_remove_stage(const RemoveOptions& options, const StageServices& services);

}  // namespace logpipe
