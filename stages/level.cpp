#include "stages/level.hpp"

#include "event/level_detect.hpp"
#include "stages/shared_counter.hpp"

namespace logpipe {
namespace {

class LevelStage final : public Stage {
 public:
  LevelStage(const LevelOptions& options, const StageServices& services)
      : min_(options.min),
        own_field_(options.field.has_value()),
        unknown_(options.unknown),
        component_(services.component),
        detector_(options.field ? LevelDetector(*options.field) : LevelDetector()),
        without_level_(services.metrics,
                       {.name = "logpipe_level_unknown_events_total",
                        .help = "Events in which the stage found no level, kept or not."},
                       {{"component", services.name}}) {}

  void apply(Batch& batch, const Context&) const override {
    std::uint64_t without = 0;
    batch.retain(component_, true, [&](Event& event) -> std::optional<Reason> {
      // What another stage found does not count where this one was told where to look.
      if (own_field_ || !event.level_known) {
        event.level = detector_.detect(batch, event);
        event.level_known = true;
      }
      if (event.level >= min_) return std::nullopt;
      if (event.level != Level::unknown) return Reason::level;
      ++without;
      return unknown_ == UnknownLevel::keep ? std::nullopt : std::optional<Reason>(Reason::unknown_level);
    });
    without_level_.add(without);
  }

  std::string why(const Batch&, const Event& event) const override {
    if (event.level == Level::unknown) return "no level found";
    return "level " + std::string(level_name(event.level)) + (event.level < min_ ? " < " : " >= ") +
           std::string(level_name(min_));
  }

 private:
  const Level min_;
  const bool own_field_;
  const UnknownLevel unknown_;
  const std::uint32_t component_;
  const LevelDetector detector_;
  const SharedCounter without_level_;
};

}  // namespace

const config::Schema<LevelOptions>& schema_of(config::Tag<LevelOptions>) {
  static const auto schema =
      config::Schema<LevelOptions>("Level")
          .required("min", &LevelOptions::min,
                    "Events below this level are discarded. `level: warn` is short for `level: {min: warn}`.")
          .optional(
              "field", &LevelOptions::field,
              "The field that holds the level: a name, or a path such as `.log.level`. By default found by itself.")
          .optional("unknown", &LevelOptions::unknown, "What becomes of an event without a level.")
          .scalar(&LevelOptions::min);
  return schema;
}

std::unique_ptr<Stage> make_level_stage(const LevelOptions& options, const StageServices& services) {
  return std::make_unique<LevelStage>(options, services);
}

}  // namespace logpipe
