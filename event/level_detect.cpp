#include "event/level_detect.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "event/level_text.hpp"

namespace logpipe {
namespace {

const std::array<FieldPath, kLevelKeys.size()>& level_paths() {
  static const auto paths = [] {
    std::array<FieldPath, kLevelKeys.size()> made;
    for (std::size_t i = 0; i < made.size(); ++i) {
      if (auto path = FieldPath::parse(kLevelKeys[i])) made[i] = std::move(*path);
    }
    return made;
  }();
  return paths;
}

std::optional<Level> level_at(const Batch& batch, const Event& event, const FieldPath& path) {
  const std::optional<FieldValue> value = find(batch, event, path);
  if (!value || (value->type != ValueType::string && value->type != ValueType::number)) return std::nullopt;
  return level_from_value(value->text);
}

/// The name the path stands for when it is a single top-level key; empty otherwise.
std::string_view plain_name(const FieldPath& path) noexcept {
  const auto& steps = path.steps();
  return steps.size() == 1 && steps.front().index < 0 ? std::string_view(steps.front().key) : std::string_view();
}

}  // namespace

Level LevelDetector::detect(const Batch& batch, const Event& event) const {
  if (field_) {
    if (const auto level = level_at(batch, event, *field_)) return *level;
    if (event.form != Form::text) return Level::unknown;
    const std::string_view name = plain_name(*field_);
    return name.empty() ? Level::unknown : level_of_key(batch.text(event), name);
  }
  if (event.form == Form::text) {
    std::string_view text = batch.text(event);
    // Of an event of several lines the first tells; what may be an object is one as a whole.
    if (event.several_lines && text.front() != '{') text = text.substr(0, text.find('\n'));
    return level_of_text(text);
  }
  for (const FieldPath& path : level_paths()) {
    if (const auto level = level_at(batch, event, path)) return *level;
  }
  return Level::unknown;
}

void LevelDetector::detect_all(Batch& batch) const {
  for (Event& event : batch.events) {
    if (event.level_known) continue;
    event.level = detect(batch, event);
    event.level_known = true;
  }
}

}  // namespace logpipe
