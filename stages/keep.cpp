#include "stages/keep.hpp"

#include "stages/field_names.hpp"

namespace logpipe {
namespace {

class KeepStage final : public Stage {
 public:
  KeepStage(const KeepOptions& options, const StageServices& services) : counts_(services) {
    for (const FieldPath& path : options.fields) selection_.add(path);
  }

  void apply(Batch& batch, const Context&) const override {
    TransformCounts::Batch counts;
    for (Event& event : batch.events) counts.changed += keep_only(batch, event, selection_) ? 1 : 0;
    counts_.add(counts);
  }

 private:
  FieldSelection selection_;
  const TransformCounts counts_;
};

}  // namespace

const config::Schema<KeepOptions>& schema_of(config::Tag<KeepOptions>) {
  static const auto schema =
      config::Schema<KeepOptions>("Keep")
          .required("fields", &KeepOptions::fields,
                    "What stays: names of fields, or paths such as `.user.id`. `keep: [a, b]` is short for "
                    "`keep: {fields: [a, b]}`.")
          .or_single()
          .scalar(&KeepOptions::fields);
  return schema;
}

std::unique_ptr<Stage> make_keep_stage(const KeepOptions& options, const StageServices& services) {
  return std::make_unique<KeepStage>(options, services);
}

}  // namespace logpipe
