#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/values.hpp"
#include "event/arena.hpp"
#include "event/batch.hpp"
#include "event/fields.hpp"

namespace logpipe {

enum class TimeZone : std::uint8_t { utc, local };

template <>
struct config::EnumNames<TimeZone> {
  static constexpr EnumName<TimeZone> values[] = {{"utc", TimeZone::utc, "UTC"},
                                                  {"local", TimeZone::local, "the machine's time zone"}};
};

/// Appends a field's value as a piece of one path component: `/`, NUL and other control characters become `_`, so do
/// leading dots; at most PathTemplate::kValueBytesMax bytes, cut at a character; an empty value is `_`. What is
/// appended is never empty, never begins with a dot and holds no separator, so it cannot leave the directory it is
/// meant for.
void append_path_value(std::string_view value, std::string& out);

/// A path with `{field}` and strftime conversions in it. `{{`, `}}` and `%%` stand for themselves.
/// Conversions: %Y %y %m %d %j %F %H %M %S %G %V %u. Fields are named as everywhere: `{service}`, `{.kubernetes.pod}`.
/// Limits: a component of at most 255 and a path of below 4096 bytes, checked when parsed with all values at their
/// longest. Threads: const after parsing.
class PathTemplate {
 public:
  static constexpr std::size_t kValueBytesMax = 100;

  struct Problem {
    std::size_t offset{0};  ///< in the text, bytes
    std::size_t length{1};
    std::string message;
    std::string hint;
  };

  PathTemplate() = default;
  /// nullopt and what is wrong when the text is no such template.
  static std::optional<PathTemplate> parse(std::string_view text, Problem* problem = nullptr);

  const std::string& spelling() const noexcept { return spelling_; }
  bool has_fields() const noexcept { return has_fields_; }
  bool is_constant() const noexcept { return !has_fields_ && !has_time_; }

  /// The text of each conversion at that moment, to be used for a whole batch.
  using Times = std::vector<std::string>;
  Times times(std::chrono::system_clock::time_point moment, TimeZone zone) const;

  /// Appends the path for one event. A field that is absent or null counts as `missing`.
  void render(const Batch& batch, const Event& event, const Times& times, std::string_view missing, Arena& scratch,
              std::string& out) const;
  /// The same for a template without fields.
  void render(const Times& times, std::string& out) const;

 private:
  struct Piece {
    enum class Kind : std::uint8_t { text, time, field };
    Kind kind;
    std::string text;      // text: literal; time: the conversion, `%Y`
    std::size_t index{0};  // field: in fields_
  };
  std::string spelling_;
  std::vector<Piece> pieces_;
  std::vector<FieldPath> fields_;
  bool has_fields_{false};
  bool has_time_{false};
};

// As an option of a component.
bool decode(config::Decoder& decoder, PathTemplate& out);
config::TypeInfo describe(config::Tag<PathTemplate>);
std::string print(config::Tag<PathTemplate>, const PathTemplate& value);

}  // namespace logpipe
