#pragma once

#include <string_view>
#include <vector>

#include "event/arena.hpp"

// What syslog.cpp is made of.

namespace logpipe::syslog {

constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

/// Where the text of a time ends; nullptr: there is none.
struct TimeText {
  const char* end{nullptr};
};
/// `Oct 11 22:14:15[.123]`, `Oct 11 2026 22:14:15`, `2026 Oct 11 22:14:15`, or RFC 3339 with an offset or without.
TimeText read_time(const char* at, const char* end) noexcept;

/// The colon of ` UTC:` (two to five capitals), which makes it part of the time; nullptr: there is none.
const char* zone_and_colon(const char* at, const char* end) noexcept;

/// `app[123]: ` or `app: `.
struct Tag {
  const char* name_end{nullptr};
  std::string_view pid;
  const char* message{nullptr};  ///< nullptr: there is no tag
};
Tag tag_end(const char* at, const char* end) noexcept;

/// `[id name="value" …][…]`, as a JSON object of objects in the arena.
class StructuredData {
 public:
  StructuredData(const char* at, const char* end, Arena& arena) noexcept : at_(at), end_(end), arena_(arena) {}
  /// Behind the last bracket; nullptr when it is malformed. Names may have up to 255 bytes, values any length.
  const char* read();
  std::string_view json() const noexcept { return json_; }

 private:
  bool check();
  bool name() noexcept;
  bool value() noexcept;
  void write(const char* begin, const char* end);

  const char* at_;
  const char* const end_;
  Arena& arena_;
  std::string_view json_;
};

}  // namespace logpipe::syslog
