#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "config/values.hpp"

namespace logpipe {

/// What the bytes of a file stand for. Everything but UTF-8 (and its subsets) becomes UTF-8.
enum class Charset : std::uint8_t { utf8, utf16, utf16le, utf16be };

/// Which byte of a code unit comes first.
enum class ByteOrder : std::uint8_t { little, big };

/// The order that a charset has; `utf16`: that of the byte order mark among the first bytes of the file, little where
/// there is none, as Windows writes it. Not for utf8.
ByteOrder byte_order_of(Charset charset, std::string_view head) noexcept;

/// The offset behind the first line feed in whole code units, or nothing. Bytes before `from` are passed over.
std::optional<std::size_t> behind_line_feed(std::string_view units, std::size_t from, ByteOrder order) noexcept;
/// Behind the last one.
std::optional<std::size_t> behind_last_line_feed(std::string_view units, ByteOrder order) noexcept;

/// The most bytes of UTF-8 that so many bytes of UTF-16 can become.
constexpr std::size_t utf8_bytes_max(std::size_t units_bytes) noexcept {
  return units_bytes / 2 * 3 + 3;
}
/// Writes UTF-16 (RFC 2781) as UTF-8 to `out`, which has room for utf8_bytes_max(); returns how many bytes. Surrogates
/// without their other half, and an odd byte at the end, become U+FFFD.
std::size_t to_utf8(std::string_view units, ByteOrder order, char* out) noexcept;
/// The last code unit is the first half of a character that takes two.
bool ends_with_high_surrogate(std::string_view units, ByteOrder order) noexcept;
/// A byte order mark.
bool begins_with_mark(std::string_view units, ByteOrder order) noexcept;

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::Charset> {
  static constexpr EnumName<Charset> values[] = {
      {"utf-8", Charset::utf8, "bytes are taken as they are"},
      {"utf-16", Charset::utf16, "in the order of its byte order mark, little-endian without one"},
      {"utf-16le", Charset::utf16le, ""},
      {"utf-16be", Charset::utf16be, ""},
  };
};
