#include "event/value.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "event/json.hpp"

namespace logpipe {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::size_t kExactDigits = 18;  // always fit 64 bits
constexpr std::size_t kNumberBytes = 40;

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

struct Unit {
  std::string_view name;
  double factor;
};
constexpr Unit kTimeUnits[] = {{"ns", 1},  {"us", 1e3}, {"\u00b5s", 1e3}, {"\u03bcs", 1e3}, {"ms", 1e6},
                               {"s", 1e9}, {"m", 6e10}, {"h", 3.6e12},    {"d", 8.64e13}};
constexpr Unit kSizeUnits[] = {
    {"B", 1},     {"kB", 1e3},     {"KB", 1e3},        {"MB", 1e6},           {"GB", 1e9},
    {"TB", 1e12}, {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0}};

/// Digits, perhaps with a fraction; npos-like 0 when there are none.
std::size_t decimal_length(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size() && is_digit(text[at])) ++at;
  if (at == 0) return 0;
  if (at + 1 < text.size() && text[at] == '.' && is_digit(text[at + 1])) {
    ++at;
    while (at < text.size() && is_digit(text[at])) ++at;
  }
  return at;
}

/// A decimal number, as decimal_length() found it, times a factor. In a long double, and the fraction apart, so that it
/// is exact as far as the result fits 64 bits.
long double times(std::string_view decimal, double factor) noexcept {
  constexpr long double kTen = 10;
  long double units = 0;
  std::size_t at = 0;
  for (; at < decimal.size() && decimal[at] != '.'; ++at) units = units * kTen + (decimal[at] - '0');
  long double fraction = 0;
  long double scale = 1;
  const std::size_t last = std::min(decimal.size(), at + 1 + kExactDigits);
  for (++at; at < last; ++at) {
    fraction = fraction * kTen + (decimal[at] - '0');
    scale *= kTen;
  }
  return units * factor + fraction * factor / scale;
}

/// Takes one quantity such as `1.5ms` off the text; negative when it is none.
template <std::size_t N>
long double take_quantity(std::string_view& text, const Unit (&units)[N], bool blank) noexcept {
  const std::size_t digits = decimal_length(text);
  if (digits == 0) return -1;
  const std::string_view amount = text.substr(0, digits);
  text.remove_prefix(digits);
  if (blank && !text.empty() && text.front() == ' ') text.remove_prefix(1);
  std::size_t letters = 0;
  while (letters < text.size() && !is_digit(text[letters])) ++letters;
  const std::string_view name = text.substr(0, letters);
  for (const Unit& unit : units) {
    if (unit.name != name) continue;
    text.remove_prefix(letters);
    return times(amount, unit.factor);
  }
  return -1;
}

std::optional<std::int64_t> whole(long double value) noexcept {
  constexpr long double kLimit = 9.2e18L;
  if (!(value > -kLimit && value < kLimit)) return std::nullopt;
  return static_cast<std::int64_t>(std::llroundl(value));
}

std::string_view number_text(const Value& value, Arena& arena) {
  if (!value.text.empty()) return value.text;
  char* const begin = arena.allocate(kNumberBytes);
  const auto made = value.kind == Value::Kind::real ? std::to_chars(begin, begin + kNumberBytes, value.real)
                                                    : std::to_chars(begin, begin + kNumberBytes, value.integer);
  const auto length = static_cast<std::size_t>(made.ptr - begin);
  arena.shrink_last(kNumberBytes - length);
  return {begin, length};
}

/// Seconds, exactly.
std::string_view seconds_text(std::int64_t nanoseconds, Arena& arena) {
  if (nanoseconds % kSecond == 0) return number_text(Value::of(nanoseconds / kSecond), arena);
  char* const begin = arena.allocate(kNumberBytes);
  char* at = begin;
  auto rest = static_cast<std::uint64_t>(nanoseconds);
  if (nanoseconds < 0) {
    *at++ = '-';
    rest = 0 - rest;
  }
  at = std::to_chars(at, begin + kNumberBytes, rest / kSecond).ptr;
  *at++ = '.';
  std::uint64_t part = rest % kSecond;
  for (std::uint64_t digit = kSecond / 10; part != 0; digit /= 10) {
    *at++ = static_cast<char>('0' + part / digit);
    part %= digit;
  }
  const auto length = static_cast<std::size_t>(at - begin);
  arena.shrink_last(kNumberBytes - length);
  return {begin, length};
}

}  // namespace

Value Value::of(double value) noexcept {
  if (!std::isfinite(value)) return none();
  Value made = of_kind(Kind::real);
  made.real = value;
  return made;
}

Value Value::of(const FieldValue& field, Arena& arena) {
  switch (field.type) {
    case ValueType::null:
      return null();
    case ValueType::boolean:
      return of(field.text == "true");
    case ValueType::number: {
      const Value number = number_from_text(field.text);
      // Larger than any number of ours: what is left of it is its spelling.
      return number.missing() ? of(field.text) : number;
    }
    case ValueType::string:
      return of(field.escaped ? json_unescape(field.text, arena) : field.text);
    case ValueType::object:
    case ValueType::array: {
      Value made = of_kind(Kind::nested);
      made.text = field.text;
      return made;
    }
  }
  return none();
}

Value number_from_text(std::string_view text) noexcept {
  const bool negative = !text.empty() && text.front() == '-';
  const std::string_view digits = text.substr(negative ? 1 : 0);
  Value made;
  made.text = text;
  if (!digits.empty() && digits.size() <= kExactDigits && (digits.size() == 1 || digits.front() != '0')) {
    std::int64_t value = 0;
    std::size_t at = 0;
    for (; at < digits.size() && is_digit(digits[at]); ++at) value = value * 10 + (digits[at] - '0');
    if (at == digits.size()) {
      made.integer = negative ? -value : value;
      made.kind = Value::Kind::integer;
      return made;
    }
  }
  if (!is_json_number(text)) return Value::none();
  const char* const end = text.data() + text.size();
  const auto exact = std::from_chars(text.data(), end, made.integer);
  if (exact.ec == std::errc() && exact.ptr == end) {
    made.kind = Value::Kind::integer;
    return made;
  }
  double real = 0;
  if (std::from_chars(text.data(), end, real).ec != std::errc() || !std::isfinite(real)) return Value::none();
  made.real = real;
  made.kind = Value::Kind::real;
  return made;
}

std::optional<std::int64_t> duration_from_text(std::string_view text) noexcept {
  const bool negative = !text.empty() && text.front() == '-';
  if (negative) text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  long double sum = 0;
  while (!text.empty()) {
    const long double part = take_quantity(text, kTimeUnits, false);
    if (part < 0) return std::nullopt;
    sum += part;
  }
  return whole(negative ? -sum : sum);
}

std::optional<std::int64_t> size_from_text(std::string_view text) noexcept {
  const long double bytes = take_quantity(text, kSizeUnits, true);
  if (bytes < 0 || !text.empty()) return std::nullopt;
  return whole(bytes);
}

std::optional<std::int64_t> time_from_number(const Value& number) noexcept {
  double factor = 1;
  const double size = std::fabs(number.as_double());
  if (size < 1e11) {
    factor = 1e9;
  } else if (size < 1e14) {
    factor = 1e6;
  } else if (size < 1e17) {
    factor = 1e3;
  }
  if (number.kind == Value::Kind::integer) {
    std::int64_t nanoseconds = 0;
    if (__builtin_mul_overflow(number.integer, static_cast<std::int64_t>(factor), &nanoseconds)) return std::nullopt;
    return nanoseconds;
  }
  // By its spelling where it has one: a double does not hold the nanoseconds of our days.
  const bool negative = number.text.starts_with('-');
  const std::string_view digits = number.text.substr(negative ? 1 : 0);
  if (digits.empty() || decimal_length(digits) != digits.size()) return whole(number.real * factor);
  return whole(negative ? -times(digits, factor) : times(digits, factor));
}

std::optional<std::string_view> text_of(const Value& value, Arena& arena) {
  switch (value.kind) {
    case Value::Kind::text:
      return value.text;
    case Value::Kind::integer:
    case Value::Kind::real:
      return number_text(value, arena);
    case Value::Kind::boolean:
      return value.boolean ? "true" : "false";
    case Value::Kind::duration:
      return seconds_text(value.integer, arena);
    case Value::Kind::time:
      return time_text(value.integer, arena);
    case Value::Kind::level:
      if (value.level == Level::unknown) return std::nullopt;
      return level_name(value.level);
    case Value::Kind::missing:
    case Value::Kind::null:
    case Value::Kind::nested:
      break;
  }
  return std::nullopt;
}

std::string_view json_of(const Value& value, Arena& arena) {
  switch (value.kind) {
    case Value::Kind::missing:
      return {};
    case Value::Kind::null:
      return "null";
    case Value::Kind::nested:
      return value.text;
    case Value::Kind::integer:
    case Value::Kind::real:
    case Value::Kind::boolean:
    case Value::Kind::duration:
      return *text_of(value, arena);
    case Value::Kind::text:
      return json_string(value.text, arena);
    case Value::Kind::time:
    case Value::Kind::level:
      break;
  }
  return json_string(value.kind == Value::Kind::level ? level_name(value.level) : time_text(value.integer, arena),
                     arena);
}

}  // namespace logpipe
