#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace logpipe {

/// What is found without being told how it looks.
enum class Sensitive : std::uint8_t {
  email,  ///< local part, `@`, and a domain with a dot
  card,  ///< 13 to 19 digits, in groups or not, beginning as cards do (2 to 6), with a right check digit (ISO/IEC 7812)
  ip,    ///< an IPv4 address, or an IPv6 address as RFC 4291 writes them
  token,  ///< a bearer token (RFC 6750), a JSON web token, the keys of AWS, GitHub and Slack
};
inline constexpr std::size_t kSensitiveKinds = 4;

/// A stretch of a text, and its kind: a Sensitive, or a number of the caller's above those.
struct Finding {
  std::size_t begin;
  std::size_t end;
  std::size_t kind;
};

/// Appends what is found of one kind, from the left, without overlaps.
void find_sensitive(std::string_view text, Sensitive kind, std::vector<Finding>& findings);
/// Sorts findings of several kinds; those that overlap become one, of the kind of the first.
void settle(std::vector<Finding>& findings);

}  // namespace logpipe
