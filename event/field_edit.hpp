#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "event/batch.hpp"
#include "event/fields.hpp"

namespace logpipe {

/// A field that is changed: its path, and what is needed to write it.
class FieldTarget {
 public:
  FieldTarget() = default;
  explicit FieldTarget(FieldPath path);
  const FieldPath& path() const noexcept { return path_; }
  bool nested() const noexcept { return path_.steps().size() > 1; }
  /// The quoted and escaped key of a step; empty for an index.
  const std::string& json_name(std::size_t step) const noexcept { return names_[step]; }
  const FieldPath& top() const noexcept { return top_; }  ///< the first step alone
  /// At most so many bytes are written beside a value when all of the path is made.
  std::size_t overhead() const noexcept { return overhead_; }

 private:
  FieldPath path_;
  FieldPath top_;
  std::vector<std::string> names_;
  std::size_t overhead_{0};
};

// Changes are edits beside the event (see Edit): its bytes stay as they are, every later find(), for_each_field() and
// encoder sees the change. An edit below a top-level member copies that member's value into the batch's arena, and
// nothing else.

/// Sets the value at a path: replaced where it stands, else put behind its siblings. Objects that are missing (or null)
/// on the way are made; `[n]` stands for an element that is there or the one behind the last. Of keys that occur twice
/// on the way the first counts and the others go. False, and nothing is changed, when something on the way is no object
/// or array, or too short an array. `json_value` is valid JSON and lives as long as the batch's work.
bool set(Batch& batch, Event& event, const FieldTarget& target, std::string_view json_value);

/// Removes what is at a path, wherever a key on it occurs twice all of them. Elements behind one that goes move up.
/// False when there is nothing.
bool remove(Batch& batch, Event& event, const FieldTarget& target);

/// Gives what is at `from` to `to`, in place of what is there. Between two names of the top level it stays where it
/// stands; otherwise it is removed and set as by the functions above. False, and nothing is changed, when there is
/// nothing at `from`, or `to` cannot be set.
bool move(Batch& batch, Event& event, const FieldTarget& from, const FieldTarget& to);

/// Some fields of an event, by their paths.
class FieldSelection {
 public:
  void add(const FieldPath& path);
  struct Node {
    FieldPath::Step step;
    bool whole{false};  ///< with all that is below
    std::vector<Node> children;
  };
  const std::vector<Node>& nodes() const noexcept { return nodes_; }

 private:
  std::vector<Node> nodes_;
};

/// Removes all fields but the selected ones; objects and arrays of which nothing is left go too. Whether anything had
/// to be changed.
bool keep_only(Batch& batch, Event& event, const FieldSelection& selection);

/// The value as JSON text, as long as the batch's work lasts: strings get their quotes, the rest is as written.
std::string_view json_text(const FieldValue& value, Arena& arena);

}  // namespace logpipe
