#include "event/expression_values.hpp"

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstring>

#include "event/json_walk.hpp"
#include "event/level_text.hpp"

namespace logpipe::expr {
namespace {

using Kind = Value::Kind;

constexpr double kNanoseconds = 1e9;
constexpr double kLimit = 9.2e18;

Value from_nanoseconds(std::optional<std::int64_t> value, bool time) noexcept {
  if (!value) return Value::none();
  return time ? Value::time(*value) : Value::duration(*value);
}

Value duration_of(double nanoseconds) noexcept {
  if (!(nanoseconds > -kLimit && nanoseconds < kLimit)) return Value::none();
  return Value::duration(std::llround(nanoseconds));
}

Value as_duration(const Value& value) noexcept {
  if (value.kind == Kind::text) {
    const Value number = number_from_text(value.text);
    return number.missing() ? from_nanoseconds(duration_from_text(value.text), false) : as_duration(number);
  }
  if (value.kind == Kind::integer) {
    std::int64_t nanoseconds = 0;
    if (__builtin_mul_overflow(value.integer, static_cast<std::int64_t>(kNanoseconds), &nanoseconds)) return {};
    return Value::duration(nanoseconds);
  }
  return value.kind == Kind::real ? duration_of(value.real * kNanoseconds) : Value::none();
}

Value as_time(const Value& value) noexcept {
  if (value.number()) return from_nanoseconds(time_from_number(value), true);
  if (value.kind != Kind::text) return Value::none();
  const Value number = number_from_text(value.text);
  return from_nanoseconds(number.missing() ? time_from_text(value.text) : time_from_number(number), true);
}

Value as_size(const Value& value) noexcept {
  if (value.number()) return value;
  if (value.kind != Kind::text) return Value::none();
  const Value number = number_from_text(value.text);
  if (!number.missing()) return number;
  const std::optional<std::int64_t> bytes = size_from_text(value.text);
  return bytes ? Value::of(*bytes) : Value::none();
}

Value as_boolean(const Value& value) noexcept {
  if (value.kind != Kind::text) return Value::none();
  if (value.text == "true") return Value::of(true);
  return value.text == "false" ? Value::of(false) : Value::none();
}

Value as_level(const Value& value) noexcept {
  if (value.kind != Kind::text && value.number() == false) return Value::none();
  if (value.text == "unknown") return Value::of(Level::unknown);
  const std::optional<Level> level = level_from_value(value.text);
  return level ? Value::of(*level) : Value::none();
}

/// Exact also where a double would not be: a long double holds 64 bits.
std::partial_ordering order_numbers(const Value& a, const Value& b) noexcept {
  if (a.kind == Kind::integer && b.kind == Kind::integer) return a.integer <=> b.integer;
  const long double x = a.kind == Kind::integer ? static_cast<long double>(a.integer) : a.real;
  const long double y = b.kind == Kind::integer ? static_cast<long double>(b.integer) : b.real;
  return x <=> y;
}

/// Of values that are there.
std::partial_ordering order(const Value& a, const Value& b) noexcept {
  if (a.number() && b.number()) return order_numbers(a, b);
  if (a.kind != b.kind) return std::partial_ordering::unordered;
  switch (a.kind) {
    case Kind::text:
      return a.text <=> b.text;
    case Kind::duration:
    case Kind::time:
      return a.integer <=> b.integer;
    case Kind::level:
      return a.level <=> b.level;
    case Kind::boolean:
      if (a.boolean == b.boolean) return std::partial_ordering::equivalent;
      break;
    case Kind::nested:
      if (a.text == b.text) return std::partial_ordering::equivalent;
      break;
    case Kind::null:
      return std::partial_ordering::equivalent;
    default:
      break;
  }
  return std::partial_ordering::unordered;
}

bool holds(Comparison op, std::partial_ordering order) noexcept {
  switch (op) {
    case Comparison::equal:
      return order == 0;
    case Comparison::not_equal:
      return order != 0;
    case Comparison::less:
      return order < 0;
    case Comparison::less_equal:
      return order <= 0;
    case Comparison::greater:
      return order > 0;
    case Comparison::greater_equal:
      return order >= 0;
  }
  return false;
}

/// How two values of fields are compared that are not of one kind: by the one that is not a text.
Type common_type(const Value& a, const Value& b) noexcept {
  const Value& other = a.kind == Kind::text ? b : a;
  switch (other.kind) {
    case Kind::integer:
    case Kind::real:
      return Type::number;
    case Kind::boolean:
      return Type::boolean;
    case Kind::duration:
      return Type::duration;
    case Kind::time:
      return Type::time;
    case Kind::level:
      return Type::level;
    default:
      return Type::any;
  }
}

bool compare_fields(Comparison op, const Value& a, const Value& b, Arena& arena) {
  if (a.kind == b.kind || (a.number() && b.number())) return holds(op, order(a, b));
  const Type as = common_type(a, b);
  if (as == Type::any || (a.kind != Kind::text && b.kind != Kind::text)) return op == Comparison::not_equal;
  return compare(op, as, a, b, arena);
}

Value add_integers(std::int64_t a, std::int64_t b) noexcept {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return Value::of(static_cast<double>(a) + static_cast<double>(b));
  return Value::of(sum);
}
Value subtract_integers(std::int64_t a, std::int64_t b) noexcept {
  std::int64_t difference = 0;
  if (__builtin_sub_overflow(a, b, &difference)) return Value::of(static_cast<double>(a) - static_cast<double>(b));
  return Value::of(difference);
}
Value multiply_integers(std::int64_t a, std::int64_t b) noexcept {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return Value::of(static_cast<double>(a) * static_cast<double>(b));
  return Value::of(product);
}

Value calculate_integers(Arithmetic op, std::int64_t a, std::int64_t b) noexcept {
  switch (op) {
    case Arithmetic::add:
      return add_integers(a, b);
    case Arithmetic::subtract:
      return subtract_integers(a, b);
    case Arithmetic::multiply:
      return multiply_integers(a, b);
    case Arithmetic::divide:
      if (b == 0) return Value::none();
      // -1 apart: the smallest integer has no counterpart.
      if (b == -1) return subtract_integers(0, a);
      return a % b == 0 ? Value::of(a / b) : Value::of(static_cast<double>(a) / static_cast<double>(b));
    case Arithmetic::remainder:
      if (b == 0) return Value::none();
      return Value::of(b == -1 ? std::int64_t{0} : a % b);
  }
  return Value::none();
}

Value calculate_reals(Arithmetic op, double a, double b) noexcept {
  switch (op) {
    case Arithmetic::add:
      return Value::of(a + b);
    case Arithmetic::subtract:
      return Value::of(a - b);
    case Arithmetic::multiply:
      return Value::of(a * b);
    case Arithmetic::divide:
      return Value::of(a / b);
    case Arithmetic::remainder:
      return Value::of(std::fmod(a, b));
  }
  return Value::none();
}

/// Where a time or a duration takes part, in nanoseconds.
Value calculate_times(Arithmetic op, const Value& a, const Value& b) noexcept {
  const bool both = !a.number() && !b.number();
  std::int64_t result = 0;
  switch (op) {
    case Arithmetic::add:
      if (!both || __builtin_add_overflow(a.integer, b.integer, &result)) return Value::none();
      return a.kind == Kind::time || b.kind == Kind::time ? Value::time(result) : Value::duration(result);
    case Arithmetic::subtract:
      if (!both || __builtin_sub_overflow(a.integer, b.integer, &result)) return Value::none();
      return a.kind == Kind::time && b.kind == Kind::duration ? Value::time(result) : Value::duration(result);
    case Arithmetic::multiply:
      if (both) return Value::none();
      return duration_of(a.number() ? a.as_double() * static_cast<double>(b.integer)
                                    : static_cast<double>(a.integer) * b.as_double());
    case Arithmetic::divide:
      if (both) return Value::of(static_cast<double>(a.integer) / static_cast<double>(b.integer));
      return a.number() ? Value::none() : duration_of(static_cast<double>(a.integer) / b.as_double());
    case Arithmetic::remainder:
      if (!both || b.integer == 0) return Value::none();
      return Value::duration(b.integer == -1 ? 0 : a.integer % b.integer);
  }
  return Value::none();
}

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

bool contains_text(std::string_view text, std::string_view part, bool ignore_case, Arena& arena) {
  if (part.size() > text.size()) return false;
  if (part.empty()) return true;
  if (!ignore_case) return find_text(text, part) != std::string_view::npos;
  const std::size_t bytes = text.size() + part.size();
  char* const begin = arena.allocate(bytes);
  char* const middle = std::transform(text.begin(), text.end(), begin, lower);
  std::transform(part.begin(), part.end(), middle, lower);
  const bool found = find_text({begin, text.size()}, {middle, part.size()}) != std::string_view::npos;
  arena.shrink_last(bytes);
  return found;
}

bool test_texts(TextTest test, bool ignore_case, std::string_view text, std::string_view part, Arena& arena) {
  const auto equal = [ignore_case](std::string_view a, std::string_view b) {
    return ignore_case ? equal_ignoring_case(a, b) : a == b;
  };
  switch (test) {
    case TextTest::equals:
      return equal(text, part);
    case TextTest::contains:
      return contains_text(text, part, ignore_case, arena);
    case TextTest::starts_with:
      return text.size() >= part.size() && equal(text.substr(0, part.size()), part);
    case TextTest::ends_with:
      return text.size() >= part.size() && equal(text.substr(text.size() - part.size()), part);
    case TextTest::like:
      return matches_glob(text, part, ignore_case);
  }
  return false;
}

bool array_has(std::string_view array, std::string_view text, bool ignore_case, Arena& arena) {
  std::string_view rest = array.substr(1, array.size() - 2);
  json::TextMember element;
  while (json::next_member(rest, element, false)) {
    const std::optional<std::string_view> one = text_of(Value::of(json::classify(element.value), arena), arena);
    if (one && (ignore_case ? equal_ignoring_case(*one, text) : *one == text)) return true;
  }
  return false;
}

}  // namespace

bool is_of(const Value& value, Type type) noexcept {
  switch (type) {
    case Type::any:
      return true;
    case Type::null:
      return value.kind == Kind::null;
    case Type::boolean:
      return value.kind == Kind::boolean;
    case Type::number:
    case Type::size:
      return value.number();
    case Type::duration:
      return value.kind == Kind::duration;
    case Type::time:
      return value.kind == Kind::time;
    case Type::text:
      return value.kind == Kind::text;
    case Type::level:
      return value.kind == Kind::level;
  }
  return false;
}

Value read(const Value& value, Type type, Arena& arena) {
  if (is_of(value, type)) return value;
  switch (type) {
    case Type::number:
      return value.kind == Kind::text ? number_from_text(value.text) : Value::none();
    case Type::size:
      return as_size(value);
    case Type::duration:
      return as_duration(value);
    case Type::time:
      return as_time(value);
    case Type::boolean:
      return as_boolean(value);
    case Type::level:
      return as_level(value);
    case Type::text: {
      const std::optional<std::string_view> text = text_of(value, arena);
      return text ? Value::of(*text) : Value::none();
    }
    case Type::any:
    case Type::null:
      break;
  }
  return Value::none();
}

bool compare(Comparison op, Type as, const Value& a, const Value& b, Arena& arena) {
  if (a.missing() || b.missing()) return false;
  if (as == Type::any) return compare_fields(op, a, b, arena);
  if (is_of(a, as) && is_of(b, as)) return holds(op, order(a, b));
  const Value x = read(a, as, arena);
  const Value y = read(b, as, arena);
  if (x.missing() || y.missing()) return op == Comparison::not_equal;
  return holds(op, order(x, y));
}

Value calculate(Arithmetic op, const Value& a, const Value& b) {
  if (a.missing() || b.missing()) return Value::none();
  if (a.kind == Kind::integer && b.kind == Kind::integer) return calculate_integers(op, a.integer, b.integer);
  if (a.number() && b.number()) return calculate_reals(op, a.as_double(), b.as_double());
  return calculate_times(op, a, b);
}

Value negated(const Value& value) {
  if (value.kind == Kind::real) return Value::of(-value.real);
  if (value.kind == Kind::integer) return subtract_integers(0, value.integer);
  std::int64_t result = 0;
  if (value.kind != Kind::duration || __builtin_sub_overflow(std::int64_t{0}, value.integer, &result)) return {};
  return Value::duration(result);
}

bool is_true(const Value& value) noexcept {
  return value.kind == Kind::boolean ? value.boolean : value.kind == Kind::text && value.text == "true";
}

bool test_text(TextTest test, bool ignore_case, const Value& a, const Value& b, Arena& arena) {
  const std::optional<std::string_view> part = text_of(b, arena);
  if (!part) return false;
  if (a.kind == Kind::nested && test == TextTest::contains && a.text.starts_with('[')) {
    return array_has(a.text, *part, ignore_case, arena);
  }
  const std::optional<std::string_view> text = text_of(a, arena);
  return text && test_texts(test, ignore_case, *text, *part, arena);
}

std::size_t find_text(std::string_view text, std::string_view part) noexcept {
  if (part.size() > text.size()) return std::string_view::npos;
  const void* const found = ::memmem(text.data(), text.size(), part.data(), part.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

/// Greedy with one place to come back to, the last star: what an earlier star could still do a later one can too.
bool matches_glob(std::string_view text, std::string_view glob, bool ignore_case) noexcept {
  constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  constexpr std::size_t kStepsMax = 10'000'000;
  const auto same = [ignore_case](char a, char b) { return ignore_case ? lower(a) == lower(b) : a == b; };
  const auto special = [](char c) { return c == '*' || c == '?' || c == '\\'; };
  std::size_t t = 0;
  std::size_t g = 0;
  std::size_t star = kNone;  // behind the last star
  std::size_t held = 0;      // where its rest was tried last
  for (std::size_t steps = 0; t < text.size(); ++steps) {
    if (steps == kStepsMax) return false;
    if (g < glob.size() && glob[g] == '*') {
      star = ++g;
      held = t;
      continue;
    }
    if (g < glob.size() && glob[g] == '?') {
      do ++t;
      while (t < text.size() && (text[t] & 0xC0) == 0x80);
      ++g;
      continue;
    }
    const bool escaped = g + 1 < glob.size() && glob[g] == '\\' && special(glob[g + 1]);
    if (g < glob.size() && same(text[t], glob[g + (escaped ? 1 : 0)])) {
      ++t;
      g += escaped ? 2 : 1;
      continue;
    }
    if (star == kNone) return false;
    g = star;
    t = ++held;
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

}  // namespace logpipe::expr
