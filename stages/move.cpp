#include "stages/move.hpp"

#include <utility>

#include "stages/field_names.hpp"

namespace logpipe {
namespace {

class MoveStage final : public Stage {
 public:
  MoveStage(const MoveOptions& options, const StageServices& services) : counts_(services) {
    std::string object(options.to.spelling());
    if (object.front() != '.') object.insert(0, ".");
    for (const FieldPath& path : options.fields) {
      pairs_.emplace_back(FieldTarget(path), target_of(object + "." + options.prefix + path.steps().back().key));
    }
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

bool plain(std::string_view name) {
  return !name.empty() && name.find_first_of(".[") == std::string_view::npos;
}

void verify(const MoveOptions& options, config::Decoder& decoder) {
  if (options.to.steps().size() == 1 && !plain(options.to.steps().front().key)) {
    decoder.error_at("to", "a name with a dot or a bracket cannot hold other fields", {}, config::Code::expression);
  }
  for (const FieldPath& path : options.fields) {
    const FieldPath::Step& last = path.steps().back();
    if (last.index >= 0 || !plain(options.prefix + last.key)) {
      decoder.error_at("fields",
                       "`" + std::string(path.spelling()) + "` does not end in a name without dots and brackets",
                       "rename it first", config::Code::expression);
    }
  }
}

}  // namespace

const config::Schema<MoveOptions>& schema_of(config::Tag<MoveOptions>) {
  static const auto schema =
      config::Schema<MoveOptions>("Move")
          .required("fields", &MoveOptions::fields, "What is moved: names of fields, or paths such as `.user.id`.")
          .or_single()
          .required("to", &MoveOptions::to,
                    "The object they are put into, each under its own last name; made where it "
                    "is missing.")
          .optional("prefix", &MoveOptions::prefix, "Put in front of their names there.")
          .verify_with(&verify);
  return schema;
}

std::unique_ptr<Stage> make_move_stage(const MoveOptions& options, const StageServices& services) {
  return std::make_unique<MoveStage>(options, services);
}

}  // namespace logpipe
