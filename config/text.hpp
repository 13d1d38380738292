#pragma once

#include <cstddef>
#include <string>
#include <string_view>

// Characters and quoting, for the files of this folder.

namespace logpipe::config {

/// Bytes of the UTF-8 character at the front of `text`; 0 when it is not well-formed (RFC 3629: no surrogates, shortest
/// form).
std::size_t utf8_length(std::string_view text);

/// Code points in well-formed UTF-8.
std::size_t count_characters(std::string_view text);

/// A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view text);

/// For messages: in quotes, control characters escaped, cut after 60 characters.
std::string in_quotes(std::string_view text);

}  // namespace logpipe::config
