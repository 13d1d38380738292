#include "stages/rename.hpp"

#include <utility>

#include "stages/field_names.hpp"

namespace logpipe {
namespace {

class RenameStage final : public Stage {
 public:
  RenameStage(const RenameOptions& options, const StageServices& services) : counts_(services) {
    for (const auto& field : options.fields) pairs_.emplace_back(target_of(field.name), FieldTarget(field.value));
  }

  void apply(Batch& batch, const Context&) const override {
    TransformCounts::Batch counts;
    for (Event& event : batch.events) {
      bool changed = false;
      for (const auto& [from, to] : pairs_) {
        if (move(batch, event, from, to)) {
          changed = true;
        } else if (find(batch, event, from.path())) {
          ++counts.failed;
        }
      }
      counts.changed += changed ? 1 : 0;
    }
    counts_.add(counts);
  }

 private:
  std::vector<std::pair<FieldTarget, FieldTarget>> pairs_;
  const TransformCounts counts_;
};

}  // namespace

const config::Schema<RenameOptions>& schema_of(config::Tag<RenameOptions>) {
  static const auto schema =
      config::Schema<RenameOptions>("Rename")
          .required("fields", &RenameOptions::fields,
                    "The names, or paths such as `.user.id`, as they are, each with the one it gets. "
                    "`rename: {msg: message}` is short for `rename: {fields: {msg: message}}`.")
          .scalar(&RenameOptions::fields)
          .verify_with([](const RenameOptions& options, config::Decoder& decoder) {
            check_fields(options.fields, "fields", decoder);
          });
  return schema;
}

std::unique_ptr<Stage> make_rename_stage(const RenameOptions& options, const StageServices& services) {
  return std::make_unique<RenameStage>(options, services);
}

}  // namespace logpipe
