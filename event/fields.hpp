#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "event/batch.hpp"

namespace logpipe {

enum class ValueType : std::uint8_t { null, boolean, number, string, object, array };

/// A key, prepared for comparing 8 bytes at once.
struct KeyProbe {
  KeyProbe() = default;
  explicit KeyProbe(std::string_view name) noexcept;
  std::uint64_t word{1};  ///< the first bytes of the key, with the quote behind it when there is room
  std::uint64_t mask{0};
};

/// A field's value where it stands. A bare word that is no JSON value (`{"level":INFO}`) counts as a string. Valid as
/// long as the batch is open and the field is not set again.
struct FieldValue {
  ValueType type{ValueType::null};
  std::string_view text;  ///< as written; a string without its quotes
  bool escaped{false};    ///< a string that holds JSON escapes: see unescape()
};

/// Which field is meant: a name (`status`, any character, one top-level key), or, with a leading dot, a path into
/// nested objects and arrays (`.user.id`, `.tags[0]`). Compiled once; comparing is by the unescaped name.
class FieldPath {
 public:
  struct Step {
    std::string key;         ///< unescaped
    std::int64_t index{-1};  ///< >= 0: an array element instead of a key
    KeyProbe probe;
  };
  /// nullopt and a message in `*why` when the text is not a name or path.
  static std::optional<FieldPath> parse(std::string_view text, std::string* why = nullptr);
  static constexpr std::size_t kStepsMax = 256;
  /// Made of steps that stand already, the probes aside; at least one.
  static FieldPath of(std::vector<Step> steps, std::string spelling);
  const std::vector<Step>& steps() const noexcept { return steps_; }
  std::string_view spelling() const noexcept { return spelling_; }

 private:
  std::vector<Step> steps_;
  std::string spelling_;
};

/// Looks a field up, edits included. In a `text` event the only field is `message`. Of keys that occur twice the first
/// counts.
std::optional<FieldValue> find(const Batch& batch, const Event& event, const FieldPath& path);

/// The value as text: unescaped into the arena if it has to be; numbers, literals and nested values as written.
std::string_view value_text(const FieldValue& value, Arena& arena);

/// Members to set, prepared once: `{name, JSON value}`. The values must outlive every batch they are applied to.
class FieldSet {
 public:
  /// `name`: one top-level key; of a name added twice the last value counts. `json_value`: valid JSON (see
  /// json_string()).
  void add(std::string name, std::string json_value);
  bool empty() const noexcept { return members_.empty(); }
  struct Member {
    std::string name;
    std::string json_name;  ///< quoted and escaped
    std::string json_value;
    KeyProbe probe;
  };
  const std::vector<Member>& members() const noexcept { return members_; }
  std::string_view fragment() const noexcept { return fragment_; }  ///< all members, comma separated

 private:
  std::vector<Member> members_;
  std::string fragment_;
};

/// Sets every member on the event: a key that is there is replaced (further ones of that name are removed, so no key is
/// ever doubled), the others are appended, in one edit when none was there. Text and fields events get them too.
void set(Batch& batch, Event& event, const FieldSet& members);
/// One key with a value made at run time; `json_value` is valid JSON and lives until the batch is closed (arena).
void set(Batch& batch, Event& event, std::string_view name, std::string_view json_value);

/// Calls `visit(key, value)` for every top-level field after edits, in output order; keys come unescaped where they can
/// (views into the block or the batch's arena).
using FieldVisitor = void (*)(void* context, std::string_view key, const FieldValue& value);
void for_each_field(const Batch& batch, const Event& event, Arena& scratch, FieldVisitor visit, void* context);

}  // namespace logpipe
