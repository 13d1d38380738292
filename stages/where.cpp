#include "stages/where.hpp"

#include <string>

namespace logpipe {
namespace {

class WhereStage final : public Stage {
 public:
  WhereStage(const WhereOptions& options, const StageServices& services)
      : condition_(options.condition), component_(services.component) {}

  void apply(Batch& batch, const Context&) const override {
    // Each worker has its own, which is warm from its first batch on.
    thread_local ExpressionScratch scratch;
    batch.retain(component_, true, [&](const Event& event) {
      return condition_.holds(batch, event, scratch) ? std::nullopt : std::optional<Reason>(Reason::where);
    });
  }

  std::string why(const Batch& batch, const Event& event) const override {
    ExpressionScratch scratch;
    if (condition_.holds(batch, event, scratch)) return {};
    const std::string facts = condition_.facts(batch, event);
    return condition_.spelling() + " does not hold" + (facts.empty() ? "" : ", " + facts);
  }

 private:
  const EventCondition condition_;
  const std::uint32_t component_;
};

}  // namespace

const config::Schema<WhereOptions>& schema_of(config::Tag<WhereOptions>) {
  static const auto schema = config::Schema<WhereOptions>("Where")
                                 .required("condition", &WhereOptions::condition,
                                           "Events for which it holds are kept, the others discarded. `where: 'status "
                                           ">= 500'` is short for `where: {condition: 'status >= 500'}`.")
                                 .scalar(&WhereOptions::condition);
  return schema;
}

std::unique_ptr<Stage> make_where_stage(const WhereOptions& options, const StageServices& services) {
  return std::make_unique<WhereStage>(options, services);
}

}  // namespace logpipe
