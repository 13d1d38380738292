#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostics.hpp"
#include "config/node.hpp"
#include "config/units.hpp"

namespace logpipe::config {

/// One node on its way to becoming a value, with its path and the place to report to. Cheap to make; valid while the
/// node is. Every reporting function returns false, so that a hook can `return decoder.error(…)`.
class Decoder {
 public:
  Decoder(const Node& node, Diagnostics& diagnostics, std::string path = {});

  const Node& node() const { return *node_; }
  const std::string& path() const { return path_; }
  Diagnostics& diagnostics() const { return *diagnostics_; }
  /// The key that this value stands under, where there is one; otherwise the value.
  Mark owner() const { return owner_; }

  /// Reports at the node.
  bool error(std::string message, std::string hint = {}, Code code = Code::invalid_value) const;
  /// Reports `expected WHAT, got …`; a secret is not shown.
  bool expected(std::string_view what, std::string hint = {}, Code code = Code::invalid_value) const;
  /// Reports inside the scalar, at bytes `[offset, offset + length)` of its value.
  bool error_within(std::size_t offset, std::size_t length, std::string message, std::string hint = {},
                    Code code = Code::expression) const;
  /// Reports at an option of this map; at the map's owner when the option was not written.
  bool error_at(std::string_view key, std::string message, std::string hint = {},
                Code code = Code::invalid_value) const;
  /// Reports a word that is none of `known`, with a suggestion.
  bool unknown_name(std::string_view what, std::string_view word, std::span<const std::string_view> known) const;

  /// The same for what is below: an entry of this map, an item of this list.
  Decoder at(const Node::Entry& entry) const;
  Decoder at(std::size_t index) const;

  /// Decodes the node into any supported type; false after reporting, `out` is then unspecified but valid.
  /// Defined in config/values.hpp.
  template <class V>
  bool into(V& out) const;

  /// The value is missing for a reason that has been reported.
  bool unreadable() const { return node_->failed && (node_->is_scalar() || node_->is_null()); }

  /// Whether a single value may stand for a list of one (`.or_single()`).
  bool single_allowed() const { return single_allowed_; }
  void allow_single(bool allowed) { single_allowed_ = allowed; }

  /// A child's path: `parent.key`.
  std::string path_of(std::string_view key) const;

 private:
  const Node* node_;
  Diagnostics* diagnostics_;
  std::string path_;
  Mark owner_;
  bool single_allowed_{false};
};

/// Something chosen by name with options of its own: `json`, or `json: {strict: true}`.
struct NamedChoice {
  std::string name;
  Mark mark;
  Node options;  ///< null when there are none
};

// The kinds of value that are read directly. A type of your own joins by a function `decode(Decoder&, V&)` in its
// namespace, returning bool (false after reporting) or void.
bool decode(Decoder& decoder, bool& out);
bool decode(Decoder& decoder, double& out);
bool decode(Decoder& decoder, std::string& out);
bool decode(Decoder& decoder, std::filesystem::path& out);
bool decode(Decoder& decoder, Bytes& out);
bool decode(Decoder& decoder, Rate& out);
bool decode(Decoder& decoder, FlowRate& out);
bool decode(Decoder& decoder, FlowAmount& out);
bool decode(Decoder& decoder, Secret& out);
bool decode(Decoder& decoder, Node& out);
bool decode(Decoder& decoder, NamedChoice& out);

namespace detail {
bool decode_signed(Decoder& decoder, std::int64_t min, std::int64_t max, std::int64_t& out);
bool decode_unsigned(Decoder& decoder, std::uint64_t max, std::uint64_t& out);
bool decode_duration(Decoder& decoder, Duration tick, Duration current, Duration& out);
/// The index of the name, or npos after reporting.
std::size_t decode_choice(Decoder& decoder, std::span<const std::string_view> names);
/// False after reporting when the node is no list; a null is not an empty list.
bool expect_sequence(Decoder& decoder);
/// False after reporting when the node is neither a map nor null.
bool expect_map(Decoder& decoder);
}  // namespace detail

}  // namespace logpipe::config
