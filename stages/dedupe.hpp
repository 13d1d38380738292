#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "channel/clock.hpp"
#include "config/schema.hpp"
#include "event/field_template.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

struct DedupeOptions {
  std::optional<FieldTemplate> key;  ///< absent: the whole line
  std::chrono::nanoseconds window{std::chrono::minutes(10)};
  std::uint32_t max_keys{100'000};
};
const config::Schema<DedupeOptions>& schema_of(config::Tag<DedupeOptions>);

/// Keeps the first of equal events within a time. See docs/components/stages/dedupe.md.
std::unique_ptr<Stage> make_dedupe_stage(const DedupeOptions& options, const StageServices& services, Clock& clock);
std::unique_ptr<Stage> make_dedupe_stage(const DedupeOptions& options, const StageServices& services);

}  // namespace logpipe
