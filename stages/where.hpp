#pragma once

#include <memory>

#include "config/schema.hpp"
#include "event/expression.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// Options of `where`. `where: 'status >= 500'` is short for `where: {condition: 'status >= 500'}`.
struct WhereOptions {
  EventCondition condition;
};
const config::Schema<WhereOptions>& schema_of(config::Tag<WhereOptions>);

/// Keeps the events for which a condition holds. See docs/components/stages/where.md.
std::unique_ptr<Stage> make_where_stage(const WhereOptions& options, const StageServices& services);

}  // namespace logpipe
