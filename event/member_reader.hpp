#pragma once

#include <cstdint>
#include <string_view>

#include "event/fields.hpp"

namespace logpipe {

/// Goes through the members of an object or the elements of an array, in order. What is neither has none. Threads: one.
class MemberReader {
 public:
  explicit MemberReader(const FieldValue& value) noexcept;
  /// The next one; false at the end. `key` comes as it is written, without quotes, and is empty in an array;
  /// json_unescape() makes it a name.
  bool next(std::string_view& key, FieldValue& value) noexcept;

 private:
  std::string_view rest_;
  bool keys_;
};

}  // namespace logpipe
