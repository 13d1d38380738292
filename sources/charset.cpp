#include "sources/charset.hpp"

#include <cstring>

namespace logpipe {

namespace {

std::uint32_t unit_at(std::string_view units, std::size_t at, ByteOrder order) noexcept {
  const auto first = static_cast<unsigned char>(units[at]);
  const auto second = static_cast<unsigned char>(units[at + 1]);
  return order == ByteOrder::little ? first | static_cast<std::uint32_t>(second) << 8
                                    : second | static_cast<std::uint32_t>(first) << 8;
}

char* put(std::uint32_t point, char* out) noexcept {
  if (point < 0x80) {
    *out++ = static_cast<char>(point);
    return out;
  }
  if (point < 0x800) {
    *out++ = static_cast<char>(0xC0 | (point >> 6));
  } else {
    if (point < 0x10000) {
      *out++ = static_cast<char>(0xE0 | (point >> 12));
    } else {
      *out++ = static_cast<char>(0xF0 | (point >> 18));
      *out++ = static_cast<char>(0x80 | ((point >> 12) & 0x3F));
    }
    *out++ = static_cast<char>(0x80 | ((point >> 6) & 0x3F));
  }
  *out++ = static_cast<char>(0x80 | (point & 0x3F));
  return out;
}

constexpr std::uint32_t kReplacement = 0xFFFD;

}  // namespace

ByteOrder byte_order_of(Charset charset, std::string_view head) noexcept {
  if (charset == Charset::utf16be) return ByteOrder::big;
  if (charset == Charset::utf16 && head.starts_with("\xFE\xFF")) return ByteOrder::big;
  return ByteOrder::little;
}

std::optional<std::size_t> behind_line_feed(std::string_view units, std::size_t from, ByteOrder order) noexcept {
  const std::size_t feed_byte = order == ByteOrder::little ? 0 : 1;
  from &= ~std::size_t{1};
  for (std::size_t at = from; at < units.size(); ++at) {
    const void* found = std::memchr(units.data() + at, '\n', units.size() - at);
    if (found == nullptr) return std::nullopt;
    at = static_cast<std::size_t>(static_cast<const char*>(found) - units.data());
    const std::size_t unit = at & ~std::size_t{1};
    if (at % 2 == feed_byte && unit + 2 <= units.size() && unit_at(units, unit, order) == '\n') return unit + 2;
  }
  return std::nullopt;
}

std::optional<std::size_t> behind_last_line_feed(std::string_view units, ByteOrder order) noexcept {
  for (std::size_t end = units.size() & ~std::size_t{1}; end >= 2; end -= 2) {
    if (unit_at(units, end - 2, order) == '\n') return end;
  }
  return std::nullopt;
}

std::size_t to_utf8(std::string_view units, ByteOrder order, char* out) noexcept {
  char* const begin = out;
  std::size_t at = 0;
  while (at + 2 <= units.size()) {
    std::uint32_t point = unit_at(units, at, order);
    at += 2;
    if (point >= 0xD800 && point < 0xE000) {
      const std::uint32_t second = point < 0xDC00 && at + 2 <= units.size() ? unit_at(units, at, order) : 0;
      if (second >= 0xDC00 && second < 0xE000) {
        point = 0x10000 + ((point - 0xD800) << 10) + (second - 0xDC00);
        at += 2;
      } else {
        point = kReplacement;
      }
    }
    out = put(point, out);
  }
  if (at < units.size()) out = put(kReplacement, out);
  return static_cast<std::size_t>(out - begin);
}

bool ends_with_high_surrogate(std::string_view units, ByteOrder order) noexcept {
  if (units.size() < 2) return false;
  const std::uint32_t last = unit_at(units, units.size() - 2, order);
  return last >= 0xD800 && last < 0xDC00;
}

bool begins_with_mark(std::string_view units, ByteOrder order) noexcept {
  return units.size() >= 2 && unit_at(units, 0, order) == 0xFEFF;
}

}  // namespace logpipe
