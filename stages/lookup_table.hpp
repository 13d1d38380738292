#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "delivery/fingerprint.hpp"
#include "event/fields.hpp"

namespace logpipe {

/// Which columns of a table are set, and as what.
struct LookupColumn {
  std::string as;      ///< the event's field
  std::string column;  ///< the table's
};

/// A table in memory: for each key what is to be set on an event, prepared, so that a hit costs one set().
/// Threads: immutable after loading.
/// Limits: kBytesMax of file, kRowsMax rows.
class LookupTable {
 public:
  static constexpr std::size_t kBytesMax = 16 * 1024 * 1024;
  static constexpr std::size_t kRowsMax = 200'000;

  struct Spec {
    std::filesystem::path file;  ///< `.csv` or `.json`
    std::string key_column;
    std::vector<LookupColumn> columns;  ///< empty: all but the key's, under their own names
    std::string prefix;                 ///< in front of every field's name
  };
  struct Problem {
    std::string message;              ///< lower case, no full stop; begins with the file where it is about its text
    std::size_t column{kNotAColumn};  ///< index in Spec::columns, when it is about that one
    std::string hint;
  };
  static constexpr std::size_t kNotAColumn = static_cast<std::size_t>(-1);

  /// Reads the file; null, and at least one problem, when it cannot be used.
  static std::shared_ptr<const LookupTable> load(const Spec& spec, std::vector<Problem>& problems);

  /// Null when the table has no such row.
  const FieldSet* find(std::string_view key) const noexcept {
    const auto found = rows_.find(key);
    return found == rows_.end() ? nullptr : &found->second;
  }
  std::size_t size() const noexcept { return rows_.size(); }
  /// Of the file's text.
  const Fingerprint& content() const noexcept { return content_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };
  std::unordered_map<std::string, FieldSet, Hash, std::equal_to<>> rows_;
  Fingerprint content_;
};

}  // namespace logpipe
