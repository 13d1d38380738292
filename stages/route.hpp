#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "config/schema.hpp"
#include "event/expression.hpp"
#include "event/topic_template.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// One way out: events for which the condition holds.
struct RouteRule {
  EventCondition when;
  TopicTemplate to;
};
const config::Schema<RouteRule>& schema_of(config::Tag<RouteRule>);

enum class Unmatched : std::uint8_t { keep, discard, route };

/// Options of `route`. A list is short for `route: {rules: [...]}`.
struct RouteOptions {
  std::vector<RouteRule> rules;
  Unmatched unmatched{Unmatched::keep};
  std::optional<TopicTemplate> to;  ///< with route, and only then
};
const config::Schema<RouteOptions>& schema_of(config::Tag<RouteOptions>);

/// Sends events to other pipelines. See docs/components/stages/route.md.
std::unique_ptr<Stage> make_route_stage(const RouteOptions& options, const StageServices& services);
/// Where events may go.
std::vector<TopicTemplate> topics_of(const RouteOptions& options);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::Unmatched> {
  static constexpr EnumName<Unmatched> values[] = {
      {"keep", Unmatched::keep, "it goes on in this pipeline"},
      {"discard", Unmatched::discard, "it is discarded, under the reason `when`"},
      {"route", Unmatched::route, "it is published under the topic `to`"},
  };
};
