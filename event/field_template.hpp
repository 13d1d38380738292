#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "event/batch.hpp"
#include "event/fields.hpp"
#include "event/level_detect.hpp"

namespace logpipe {

/// A text made of an event's fields: `{service}-{.user.id}`. Between the braces stands a field's name or path as
/// everywhere; `{{` and `}}` are the braces themselves. A string goes in unescaped, everything else as it is written.
/// `{level}` is the event's level by name when the event has no field of that name. Parsed once.
/// Limits: a template of at most 4096 bytes; values are not cut. Threads: const after parsing, so any.
class FieldTemplate {
 public:
  /// What is wrong with a text, and at which bytes of it.
  struct Problem {
    std::size_t offset{0};
    std::size_t length{1};
    std::string message;  ///< lower case, no full stop
    std::string hint;     ///< may be empty
  };
  struct Piece {
    std::string text;                ///< a literal, without escapes; empty for a field
    std::optional<FieldPath> field;  ///< or a field
    bool level{false};               ///< the field `level`, which every event has as soon as it has a level
  };

  FieldTemplate() = default;
  /// nullopt and what is wrong when the text is no such template.
  static std::optional<FieldTemplate> parse(std::string_view text, Problem* problem = nullptr);

  /// Appends the text for one event. `missing` stands for a field that is absent or null; how many were is returned.
  std::size_t append(const Batch& batch, const Event& event, std::string& out, std::string_view missing = {}) const;

  struct Rendered {
    std::string_view text;
    std::size_t missing{0};  ///< fields that were absent or null
  };
  /// The text for one event: a view into the batch where the template is one field that can be taken as it stands,
  /// otherwise into `scratch`, which is overwritten. Valid as long as both are, and `missing`.
  Rendered render(const Batch& batch, const Event& event, std::string& scratch, std::string_view missing = {}) const;

  const std::string& spelling() const noexcept { return spelling_; }
  /// In order; no two literals next to each other.
  const std::vector<Piece>& pieces() const noexcept { return pieces_; }
  bool has_fields() const noexcept { return has_fields_; }
  bool empty() const noexcept { return pieces_.empty(); }  ///< not parsed

  friend bool operator==(const FieldTemplate& a, const FieldTemplate& b) { return a.spelling_ == b.spelling_; }

 private:
  std::string spelling_;
  std::vector<Piece> pieces_;
  bool has_fields_{false};
};

/// The value of one piece that is a field, where it stands; nullopt when it is absent or null.
std::optional<FieldValue> find_piece(const Batch& batch, const Event& event, const FieldTemplate::Piece& piece);
/// What any stage or sink finds for an event: its remembered level, otherwise detected; not remembered here.
Level level_of_event(const Batch& batch, const Event& event);
/// Appends a value as text, unescaped.
void append_value(const FieldValue& value, std::string& out);

}  // namespace logpipe
