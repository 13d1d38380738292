#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "channel/clock.hpp"
#include "config/schema.hpp"
#include "event/field_template.hpp"
#include "event/topic_template.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

enum class ThrottleBy : std::uint8_t { events, bytes };
enum class ThrottleMode : std::uint8_t { delay, discard, route };

/// Options of `throttle`. `throttle: 1000/s` is short for `throttle: {rate: 1000/s}`.
struct ThrottleOptions {
  config::FlowRate rate;
  std::optional<config::FlowAmount> burst;  ///< absent: what comes in a second
  std::optional<FieldTemplate> key;
  std::optional<ThrottleBy> by;  ///< absent: as the rate is written
  ThrottleMode mode{ThrottleMode::delay};
  std::optional<TopicTemplate> to;  ///< with route, and only then
  std::uint32_t max_keys{10'000};
};
const config::Schema<ThrottleOptions>& schema_of(config::Tag<ThrottleOptions>);

/// Lets events through at a rate. See docs/components/stages/throttle.md.
std::unique_ptr<Stage> make_throttle_stage(const ThrottleOptions& options, const StageServices& services, Clock& clock);
std::unique_ptr<Stage> make_throttle_stage(const ThrottleOptions& options, const StageServices& services);
/// Where `route` routes to.
std::vector<TopicTemplate> topics_of(const ThrottleOptions& options);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::ThrottleBy> {
  static constexpr EnumName<ThrottleBy> values[] = {
      {"events", ThrottleBy::events, "each event counts as one"},
      {"bytes", ThrottleBy::bytes, "each event counts as the bytes it took from its source"},
  };
};
template <>
struct logpipe::config::EnumNames<logpipe::ThrottleMode> {
  static constexpr EnumName<ThrottleMode> values[] = {
      {"delay", ThrottleMode::delay, "it waits, and everything behind it"},
      {"discard", ThrottleMode::discard, "it is discarded"},
      {"route", ThrottleMode::route, "it leaves the pipeline and is published under the topic `to`"},
  };
};
