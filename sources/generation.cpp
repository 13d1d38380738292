#include "sources/generation.hpp"

#include <charconv>
#include <limits>

namespace logpipe {

std::uint64_t generation_of(std::string_view path) noexcept {
  constexpr std::size_t kCountDigitsMax = 4;  // more is a date or a time
  const std::size_t last = path.find_last_not_of("0123456789");
  if (last == std::string_view::npos || last == 0 || (path[last] != '.' && path[last] != '-')) return 0;
  const std::string_view digits = path.substr(last + 1);
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (digits.empty() || parsed.ec != std::errc{}) return 0;
  return digits.size() <= kCountDigitsMax ? number : std::numeric_limits<std::uint64_t>::max() - number;
}

std::string_view log_of_generation(std::string_view path) noexcept {
  if (generation_of(path) == 0) return {};
  return path.substr(0, path.find_last_not_of("0123456789"));
}

bool is_younger_generation(std::uint64_t a, std::uint64_t b) noexcept {
  // Numbers count up from 1 and dates down from the top.
  constexpr std::uint64_t kDates = std::uint64_t{1} << 32;
  return a < b && (a < kDates) == (b < kDates);
}

}  // namespace logpipe
