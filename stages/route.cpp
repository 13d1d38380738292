#include "stages/route.hpp"

#include <algorithm>

namespace logpipe {
namespace {

class RouteStage final : public Stage {
 public:
  RouteStage(const RouteOptions& options, const StageServices& services)
      : rules_(options.rules), unmatched_(options.unmatched), to_(options.to), component_(services.component) {}

  void apply(Batch& batch, const Context&) const override {
    thread_local ExpressionScratch scratch;
    const std::size_t routed_before = batch.routed.size();
    batch.retain(component_, true, [&](Event& event) -> std::optional<Reason> {
      for (const RouteRule& rule : rules_) {
        if (!rule.when.holds(batch, event, scratch)) continue;
        batch.routed.push_back({event, &rule.to});
        return Reason::routed;
      }
      switch (unmatched_) {
        case Unmatched::keep:
          return std::nullopt;
        case Unmatched::discard:
          return Reason::when;
        case Unmatched::route:
          break;
      }
      batch.routed.push_back({event, &*to_});
      return Reason::routed;
    });
    // What an earlier stage routed lies between.
    if (routed_before != 0 && batch.routed.size() != routed_before) {
      std::sort(batch.routed.begin(), batch.routed.end(),
                [](const Routed& a, const Routed& b) { return a.event.offset < b.event.offset; });
    }
  }

 private:
  const std::vector<RouteRule> rules_;
  const Unmatched unmatched_;
  const std::optional<TopicTemplate> to_;
  const std::uint32_t component_;
};

void verify(const RouteOptions& options, config::Decoder& decoder) {
  if (options.rules.empty()) decoder.error_at("rules", "expected at least one rule", {}, config::Code::missing_option);
  constexpr std::size_t kRulesMax = 256;
  if (options.rules.size() > kRulesMax) decoder.error_at("rules", "at most 256 rules");
  if (options.unmatched == Unmatched::route && !options.to) {
    decoder.error_at("unmatched", "expected a topic to route to", "for example `to: other`",
                     config::Code::missing_option);
  }
  if (options.unmatched != Unmatched::route && options.to) {
    decoder.error_at("to", "a topic for what matches no rule, but `unmatched` is not `route`",
                     "write `unmatched: route`", config::Code::conflict);
  }
}

}  // namespace

const config::Schema<RouteRule>& schema_of(config::Tag<RouteRule>) {
  static const auto schema =
      config::Schema<RouteRule>("Rule")
          .required("when", &RouteRule::when, "A condition, such as `status >= 500`.")
          .required("to", &RouteRule::to, "The topic that events are published under for which it holds.");
  return schema;
}

const config::Schema<RouteOptions>& schema_of(config::Tag<RouteOptions>) {
  static const auto schema =
      config::Schema<RouteOptions>("Route")
          .required(
              "rules", &RouteOptions::rules,
              "The first rule whose condition holds says where an event goes. `route: [{when: …, to: …}]` is short "
              "for `route: {rules: [{when: …, to: …}]}`.")
          .optional("unmatched", &RouteOptions::unmatched, "What becomes of an event for which none holds.")
          .optional("to", &RouteOptions::to, "With `unmatched: route`: the topic.")
          .scalar(&RouteOptions::rules)
          .verify_with(&verify);
  return schema;
}

std::unique_ptr<Stage> make_route_stage(const RouteOptions& options, const StageServices& services) {
  return std::make_unique<RouteStage>(options, services);
}

std::vector<TopicTemplate> topics_of(const RouteOptions& options) {
  std::vector<TopicTemplate> topics;
  for (const RouteRule& rule : options.rules) topics.push_back(rule.to);
  if (options.to) topics.push_back(*options.to);
  return topics;
}

}  // namespace logpipe
