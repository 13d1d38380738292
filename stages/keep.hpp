#pragma once

#include <memory>
#include <vector>

#include "config/schema.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// Options of `keep`. `keep: [a, .b.c]` is short for `keep: {fields: [a, .b.c]}`.
struct KeepOptions {
  std::vector<FieldPath> fields;
};
const config::Schema<KeepOptions>& schema_of(config::Tag<KeepOptions>);

/// Removes all fields but the named ones. See docs/components/stages/keep.md.
std::unique_ptr<Stage> make_keep_stage(const KeepOptions& options, const StageServices& services);

}  // namespace logpipe
