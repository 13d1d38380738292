#include "stages/add_level.hpp"

#include <array>
#include <string>

#include "event/level_detect.hpp"
#include "stages/field_names.hpp"

namespace logpipe {
namespace {

/// RFC 5424, section 6.2.1; the levels it does not have go to the nearest one.
int syslog_severity(Level level) noexcept {
  switch (level) {
    case Level::fatal:
      return 0;
    case Level::alert:
      return 1;
    case Level::critical:
      return 2;
    case Level::error:
      return 3;
    case Level::warn:
      return 4;
    case Level::notice:
      return 5;
    case Level::info:
      return 6;
    default:
      return 7;
  }
}

std::string json_of(Level level, LevelForm form) {
  switch (form) {
    case LevelForm::number:
      return std::to_string(static_cast<int>(level));
    case LevelForm::syslog:
      return std::to_string(syslog_severity(level));
    case LevelForm::name:
      break;
  }
  return "\"" + std::string(level_name(level)) + "\"";
}

class AddLevelStage final : public Stage {
 public:
  AddLevelStage(const AddLevelOptions& options, const StageServices& services)
      : field_(options.field), counts_(services) {
    for (int level = 0; level <= static_cast<int>(Level::fatal); ++level) {
      values_[static_cast<std::size_t>(level)] = json_of(static_cast<Level>(level), options.as);
    }
  }

  void apply(Batch& batch, const Context&) const override {
    detector_.detect_all(batch);
    TransformCounts::Batch counts;
    for (Event& event : batch.events) {
      if (event.level == Level::unknown) continue;
      ++(set(batch, event, field_, values_[static_cast<std::size_t>(event.level)]) ? counts.changed : counts.failed);
    }
    counts_.add(counts);
  }

 private:
  const LevelDetector detector_;
  const FieldTarget field_;
  std::array<std::string, static_cast<std::size_t>(Level::fatal) + 1> values_;
  const TransformCounts counts_;
};

}  // namespace

const config::Schema<AddLevelOptions>& schema_of(config::Tag<AddLevelOptions>) {
  static const auto schema =
      config::Schema<AddLevelOptions>("Add level")
          .optional("field", &AddLevelOptions::field,
                    "Where the level is written. `add_level: severity` is short for `add_level: {field: severity}`.")
          .optional("as", &AddLevelOptions::as, "How.")
          .scalar(&AddLevelOptions::field);
  return schema;
}

std::unique_ptr<Stage> make_add_level_stage(const AddLevelOptions& options, const StageServices& services) {
  return std::make_unique<AddLevelStage>(options, services);
}

}  // namespace logpipe
