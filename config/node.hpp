#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/mark.hpp"

namespace logpipe::config {

/// One value of the configuration, after aliases, merge keys, includes and `${…}` have been applied. Scalars stay text:
/// what they mean is decided by the option they are for, so `010` is never 8 and `yes` is never true by accident.
/// A plain value type; copies are deep.
struct Node {
  enum class Kind : std::uint8_t { null, scalar, sequence, map };
  struct Entry;

  Kind kind{Kind::null};
  Mark mark;
  std::string text;    ///< scalars only
  bool quoted{false};  ///< scalars only: written in quotes or as a block, so surely meant as text
  bool secret{false};  ///< scalars only: came from `${file:…}` or `${cred:…}`; never print `text`
  /// Part of it could not be read, which has been reported: a substitution failed, the file breaks off inside it.
  /// Decoding does not report again what follows from that (a missing option, an empty value). Set on the root when
  /// anything is missing below.
  bool failed{false};
  std::vector<Node> items;     ///< sequences only
  std::vector<Entry> entries;  ///< maps only, in the order written; keys are unique

  bool is_null() const { return kind == Kind::null; }
  bool is_scalar() const { return kind == Kind::scalar; }
  bool is_sequence() const { return kind == Kind::sequence; }
  bool is_map() const { return kind == Kind::map; }

  /// The entry or value of that name; nullptr when this is not a map or has none.
  const Entry* entry(std::string_view key) const;
  const Node* find(std::string_view key) const;

  static Node scalar(std::string text, Mark mark = {});
  static Node map(Mark mark = {});
};

struct Node::Entry {
  std::string key;
  Mark key_mark;
  Node value;
};

/// The tree as YAML, secrets as `<redacted>`. Block style, two spaces a level, ends with a newline.
std::string to_yaml(const Node& node);

/// A text that two trees share exactly when they mean the same to every option: without marks, with secrets, maps in
/// the order of their keys. For comparing, not for showing.
std::string fingerprint(const Node& node);

/// `text` as one YAML flow scalar: as it is where that reads back as the same text, otherwise in double quotes.
std::string yaml_scalar(std::string_view text);

}  // namespace logpipe::config
