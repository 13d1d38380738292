#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/schema.hpp"
#include "event/field_edit.hpp"
#include "stages/shared_counter.hpp"
#include "stages/stage.hpp"

// What the stages that change fields have in common.

namespace logpipe {

/// A path that is written to may be at most this deep.
inline constexpr std::size_t kPathStepsMax = 64;

/// What is wrong with a field's name or path; empty when nothing is.
inline std::string field_problem(std::string_view name) {
  std::string why;
  const auto path = FieldPath::parse(name, &why);
  if (!path) return why;
  return path->steps().size() > kPathStepsMax ? "a path has at most 64 steps" : std::string();
}

/// Reports the keys of a map that are no fields.
template <class V>
void check_fields(const std::vector<config::Named<V>>& fields, std::string_view option,
                  const config::Decoder& decoder) {
  for (const auto& field : fields) {
    std::string why = field_problem(field.name);
    if (why.empty()) continue;
    decoder.diagnostics().error(field.mark, decoder.path_of(option), std::move(why),
                                "a name is one top-level key; a path begins with a dot: .user.id, .tags[0]",
                                config::Code::expression);
  }
}

/// A name that check_fields() found good.
inline FieldTarget target_of(std::string_view name) {
  return FieldTarget(FieldPath::parse(name).value_or(FieldPath()));
}

/// What the stages that change fields count, once per batch.
class TransformCounts {
 public:
  explicit TransformCounts(const StageServices& services);

  struct Batch {
    std::uint64_t changed{0};  ///< events
    std::uint64_t failed{0};   ///< changes
  };
  void add(const Batch& counts) const noexcept {
    changed_.add(counts.changed);
    failed_.add(counts.failed);
  }

 private:
  const SharedCounter changed_;
  const SharedCounter failed_;
};

}  // namespace logpipe
