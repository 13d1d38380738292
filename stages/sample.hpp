#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "config/schema.hpp"
#include "event/field_template.hpp"
#include "event/expression.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// Options of `sample`. `sample: 0.1` is short for `sample: {rate: 0.1}`. Exactly one of `rate` and `every` is given.
struct SampleOptions {
  std::optional<double> rate;
  std::optional<std::uint64_t> every;
  std::optional<FieldTemplate> key;
  std::optional<EventCondition> always;
};
const config::Schema<SampleOptions>& schema_of(config::Tag<SampleOptions>);

/// Keeps some of the events. See docs/components/stages/sample.md.
std::unique_ptr<Stage> make_sample_stage(const SampleOptions& options, const StageServices& services);

}  // namespace logpipe
