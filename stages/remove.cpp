#include "stages/remove.hpp"

#include "stages/field_names.hpp"

namespace logpipe {
namespace {

class RemoveStage final : public Stage {
 public:
  RemoveStage(const RemoveOptions& options, const StageServices& services) : counts_(services) {
    for (const FieldPath& path : options.fields) fields_.emplace_back(path);
  }

  void apply(Batch& batch, const Context&) const override {
    TransformCounts::Batch counts;
    for (Event& event : batch.events) {
      bool changed = false;
      for (const FieldTarget& field : fields_) changed = remove(batch, event, field) || changed;
      counts.changed += changed ? 1 : 0;
    }
    counts_.add(counts);
  }

 private:
  std::vector<FieldTarget> fields_;
  const TransformCounts counts_;
};

}  // namespace

const config::Schema<RemoveOptions>& schema_of(config::Tag<RemoveOptions>) {
  static const auto schema =
      config::Schema<RemoveOptions>("Remove")
          .required(
              "fields", &RemoveOptions::fields,
              "What is removed: names of fields, or paths such as `.user.password`. `remove: [a, b]` is short for "
              "`remove: {fields: [a, b]}`.")
          .or_single()
          .scalar(&RemoveOptions::fields);
  return schema;
}

std::unique_ptr<Stage> make_remove_stage(const RemoveOptions& options, const StageServices& services) {
  return std::make_unique<RemoveStage>(options, services);
}

}  // namespace logpipe
