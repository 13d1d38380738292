#include "event/expression_functions.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "event/expression_values.hpp"

namespace logpipe::expr {
namespace {

using Kind = Value::Kind;
using Arguments = std::span<const Value>;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kDay = 86'400 * kSecond;

// --- texts

Value with_each(std::string_view text, Arena& arena, char (*change)(char)) {
  char* const place = arena.allocate(text.size());
  std::transform(text.begin(), text.end(), place, change);
  return Value::of(std::string_view(place, text.size()));
}
Value call_lower(Arguments a, CallContext& context) {
  return with_each(a[0].text, context.arena, [](char c) { return lower(c); });
}
Value call_upper(Arguments a, CallContext& context) {
  return with_each(a[0].text, context.arena, [](char c) { return upper(c); });
}
Value call_trim(Arguments a, CallContext&) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  const std::string_view text = a[0].text;
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return Value::of(text.substr(0, 0));
  return Value::of(text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1));
}

bool begins_character(char c) noexcept {
  return (c & 0xC0) != 0x80;
}
std::size_t characters(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins_character));
}
/// Where the n-th character begins; the end when there are not so many.
std::size_t character_at(std::string_view text, std::size_t n) noexcept {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (begins_character(text[at]) && n-- == 0) return at;
  }
  return text.size();
}
Value call_len(Arguments a, CallContext& context) {
  const std::optional<std::string_view> text = text_of(a[0], context.arena);
  return text ? Value::of(static_cast<std::int64_t>(characters(*text))) : Value::none();
}
Value call_substr(Arguments a, CallContext&) {
  const std::string_view text = a[0].text;
  if (a[1].kind != Kind::integer || (a.size() > 2 && a[2].kind != Kind::integer)) return Value::none();
  std::int64_t start = a[1].integer;
  const auto count = static_cast<std::int64_t>(characters(text));
  if (start < 0) start = std::max<std::int64_t>(start + count, 0);
  const std::string_view rest = text.substr(character_at(text, static_cast<std::size_t>(std::min(start, count))));
  if (a.size() < 3) return Value::of(rest);
  const std::int64_t wanted = std::clamp<std::int64_t>(a[2].integer, 0, count);
  return Value::of(rest.substr(0, character_at(rest, static_cast<std::size_t>(wanted))));
}
Value call_split(Arguments a, CallContext&) {
  std::string_view text = a[0].text;
  const std::string_view separator = a[1].text;
  if (a[2].kind != Kind::integer || separator.empty()) return Value::none();
  std::int64_t index = a[2].integer;
  if (index < 0) {
    while (++index < 0) {
      const std::size_t found = text.rfind(separator);
      if (found == std::string_view::npos) return Value::none();
      text = text.substr(0, found);
    }
    const std::size_t found = text.rfind(separator);
    return Value::of(found == std::string_view::npos ? text : text.substr(found + separator.size()));
  }
  for (; index > 0; --index) {
    const std::size_t found = text.find(separator);
    if (found == std::string_view::npos) return Value::none();
    text.remove_prefix(found + separator.size());
  }
  return Value::of(text.substr(0, text.find(separator)));
}
Value call_replace(Arguments a, CallContext& context) {
  const std::string_view text = a[0].text;
  const std::string_view from = a[1].text;
  const std::string_view to = a[2].text;
  if (from.empty() || text.find(from) == std::string_view::npos) return a[0];
  std::size_t times = 0;
  for (std::size_t at = text.find(from); at != std::string_view::npos; at = text.find(from, at + from.size())) ++times;
  const std::size_t length = text.size() - times * from.size() + times * to.size();
  char* const begin = context.arena.allocate(length);
  char* out = begin;
  const auto put = [&out](std::string_view piece) {
    if (!piece.empty()) std::memcpy(out, piece.data(), piece.size());
    out += piece.size();
  };
  std::size_t at = 0;
  for (std::size_t found = text.find(from); found != std::string_view::npos; found = text.find(from, at)) {
    put(text.substr(at, found - at));
    put(to);
    at = found + from.size();
  }
  put(text.substr(at));
  return Value::of(std::string_view(begin, length));
}
Value call_concat(Arguments a, CallContext& context) {
  std::size_t length = 0;
  for (const Value& part : a) length += part.text.size();
  char* const begin = context.arena.allocate(length);
  char* out = begin;
  for (const Value& part : a) {
    if (!part.text.empty()) std::memcpy(out, part.text.data(), part.text.size());
    out += part.text.size();
  }
  return Value::of(std::string_view(begin, length));
}

// --- conversions

/// What a conversion of one type gives: what reading gives.
Value call_same(Arguments a, CallContext&) {
  return a[0];
}
Value whole(const Value& number, double (*change)(double)) {
  if (number.kind == Kind::integer) return Value::of(number.integer);
  constexpr double kLimit = 9.2e18;
  const double changed = change(number.real);
  return changed > -kLimit && changed < kLimit ? Value::of(static_cast<std::int64_t>(changed)) : Value::of(changed);
}
Value call_int(Arguments a, CallContext& context) {
  if (a[0].kind == Kind::boolean) return Value::of(std::int64_t{a[0].boolean ? 1 : 0});
  const Value number = read(a[0], Type::number, context.arena);
  return number.missing() ? number : whole(number, [](double x) { return std::trunc(x); });
}
Value call_float(Arguments a, CallContext& context) {
  const Value number = read(a[0], Type::number, context.arena);
  return number.missing() ? number : Value::of(number.as_double());
}
Value call_seconds(Arguments a, CallContext&) {
  return Value::of(static_cast<double>(a[0].integer) / static_cast<double>(kSecond));
}
Value call_type(Arguments a, CallContext&) {
  switch (a[0].kind) {
    case Kind::null:
      return Value::of("null");
    case Kind::boolean:
      return Value::of("bool");
    case Kind::integer:
    case Kind::real:
      return Value::of("number");
    case Kind::text:
      return Value::of("string");
    case Kind::nested:
      return Value::of(a[0].text.starts_with('[') ? "array" : "object");
    case Kind::duration:
      return Value::of("duration");
    case Kind::time:
      return Value::of("time");
    case Kind::level:
      return Value::of("level");
    case Kind::missing:
      break;
  }
  return Value::none();
}

// --- numbers

Value call_abs(Arguments a, CallContext&) {
  if (a[0].kind == Kind::real) return Value::of(std::fabs(a[0].real));
  return a[0].integer < 0 ? negated(a[0]) : Value::of(a[0].integer);
}
Value call_floor(Arguments a, CallContext&) {
  return whole(a[0], [](double x) { return std::floor(x); });
}
Value call_ceil(Arguments a, CallContext&) {
  return whole(a[0], [](double x) { return std::ceil(x); });
}
Value call_round(Arguments a, CallContext&) {
  constexpr std::int64_t kDigitsMax = 15;
  if (a.size() < 2) return whole(a[0], [](double x) { return std::round(x); });
  if (a[1].kind != Kind::integer || a[1].integer < 0 || a[1].integer > kDigitsMax) return Value::none();
  const double scale = std::pow(10.0, static_cast<double>(a[1].integer));
  const double scaled = a[0].as_double() * scale;
  return std::isfinite(scaled) ? Value::of(std::round(scaled) / scale) : a[0];
}
Value extreme(Arguments a, Comparison better, Arena& arena) {
  const Value* best = &a[0];
  for (const Value& value : a.subspan(1)) {
    if (compare(better, Type::number, value, *best, arena)) best = &value;
  }
  return *best;
}
Value call_max(Arguments a, CallContext& context) {
  return extreme(a, Comparison::greater, context.arena);
}
Value call_min(Arguments a, CallContext& context) {
  return extreme(a, Comparison::less, context.arena);
}

// --- times, in UTC

std::int64_t within_day(std::int64_t nanoseconds) noexcept {
  return ((nanoseconds % kDay) + kDay) % kDay;
}
Value call_now(Arguments, CallContext& context) {
  return Value::time(context.clock());
}
Value call_age(Arguments a, CallContext& context) {
  return calculate(Arithmetic::subtract, Value::time(context.clock()), a[0]);
}
Value call_hour(Arguments a, CallContext&) {
  return Value::of(within_day(a[0].integer) / (3600 * kSecond));
}
Value call_minute(Arguments a, CallContext&) {
  return Value::of(within_day(a[0].integer) / (60 * kSecond) % 60);
}
/// 1 Monday to 7 Sunday, as in ISO 8601. The first of January 1970 was a Thursday.
Value call_weekday(Arguments a, CallContext&) {
  const std::int64_t days = (a[0].integer - within_day(a[0].integer)) / kDay;
  return Value::of(((days + 3) % 7 + 7) % 7 + 1);
}

// --- addresses

struct Address {
  unsigned char bytes[16];
  std::size_t bits;
};

bool parse_address(std::string_view text, Address& address) noexcept {
  char copy[INET6_ADDRSTRLEN + 1];
  if (text.empty() || text.size() >= sizeof(copy)) return false;
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  if (::inet_pton(AF_INET, copy, address.bytes) == 1) {
    address.bits = 32;
    return true;
  }
  if (::inet_pton(AF_INET6, copy, address.bytes) != 1) return false;
  address.bits = 128;
  // ::ffff:a.b.c.d is the address a.b.c.d (RFC 4291, section 2.5.5.2).
  static constexpr unsigned char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  if (std::memcmp(address.bytes, kMapped, sizeof(kMapped)) == 0) {
    std::memmove(address.bytes, address.bytes + sizeof(kMapped), 4);
    address.bits = 32;
  }
  return true;
}

bool parse_network(std::string_view text, Address& address, std::size_t& prefix) noexcept {
  const std::size_t slash = text.find('/');
  if (!parse_address(text.substr(0, slash), address)) return false;
  prefix = address.bits;
  if (slash == std::string_view::npos) return true;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data() + slash + 1, end, prefix);
  return read.ec == std::errc() && read.ptr == end && prefix <= address.bits;
}

bool same_prefix(const Address& a, const Address& b, std::size_t prefix) noexcept {
  const std::size_t bytes = prefix / 8;
  if (a.bits != b.bits || std::memcmp(a.bytes, b.bytes, bytes) != 0) return false;
  const std::size_t rest = prefix % 8;
  return rest == 0 || ((a.bytes[bytes] ^ b.bytes[bytes]) >> (8 - rest)) == 0;
}

Value call_in_cidr(Arguments a, CallContext&) {
  Address address{};
  if (!parse_address(a[0].text, address)) return Value::of(false);
  for (const Value& text : a.subspan(1)) {
    Address network{};
    std::size_t prefix = 0;
    if (parse_network(text.text, network, prefix) && same_prefix(address, network, prefix)) return Value::of(true);
  }
  return Value::of(false);
}
Value call_is_ip(Arguments a, CallContext&) {
  Address address{};
  return Value::of(parse_address(a[0].text, address));
}

using enum Type;

constexpr Function kFunctions[] = {
    {"abs", "abs(number)", 1, 1, {number}, number, true, &call_abs},
    {"age", "age(time)", 1, 1, {time}, duration, false, &call_age},
    {"bool", "bool(value)", 1, 1, {boolean}, boolean, true, &call_same},
    {"ceil", "ceil(number)", 1, 1, {number}, number, true, &call_ceil},
    {"concat", "concat(text, …)", 1, kManyArguments, {text, text}, text, true, &call_concat},
    {"duration", "duration(value)", 1, 1, {duration}, duration, true, &call_same},
    {"float", "float(value)", 1, 1, {any}, number, true, &call_float},
    {"floor", "floor(number)", 1, 1, {number}, number, true, &call_floor},
    {"hour", "hour(time)", 1, 1, {time}, number, true, &call_hour},
    {"in_cidr", "in_cidr(address, network, …)", 2, kManyArguments, {text, text}, boolean, true, &call_in_cidr},
    {"int", "int(value)", 1, 1, {any}, number, true, &call_int},
    {"is_ip", "is_ip(text)", 1, 1, {text}, boolean, true, &call_is_ip},
    {"len", "len(text)", 1, 1, {any}, number, true, &call_len},
    {"lower", "lower(text)", 1, 1, {text}, text, true, &call_lower},
    {"max", "max(number, …)", 1, kManyArguments, {number, number}, number, true, &call_max},
    {"min", "min(number, …)", 1, kManyArguments, {number, number}, number, true, &call_min},
    {"minute", "minute(time)", 1, 1, {time}, number, true, &call_minute},
    {"now", "now()", 0, 0, {}, time, false, &call_now},
    {"replace", "replace(text, from, to)", 3, 3, {text}, text, true, &call_replace},
    {"round", "round(number, digits?)", 1, 2, {number, number}, number, true, &call_round},
    {"seconds", "seconds(duration)", 1, 1, {duration}, number, true, &call_seconds},
    {"size", "size(value)", 1, 1, {size}, size, true, &call_same},
    {"split", "split(text, separator, index)", 3, 3, {text, text, number}, text, true, &call_split},
    {"string", "string(value)", 1, 1, {text}, text, true, &call_same},
    {"substr", "substr(text, start, length?)", 2, 3, {text, number, number}, text, true, &call_substr},
    {"time", "time(value)", 1, 1, {time}, time, true, &call_same},
    {"trim", "trim(text)", 1, 1, {text}, text, true, &call_trim},
    {"type", "type(value)", 1, 1, {any}, text, true, &call_type},
    {"upper", "upper(text)", 1, 1, {text}, text, true, &call_upper},
    {"weekday", "weekday(time)", 1, 1, {time}, number, true, &call_weekday},
};

}  // namespace

std::span<const Function> functions() noexcept {
  return kFunctions;
}

const Function* find_function(std::string_view name) noexcept {
  const auto* found = std::lower_bound(std::begin(kFunctions), std::end(kFunctions), name,
                                       [](const Function& one, std::string_view wanted) { return one.name < wanted; });
  return found != std::end(kFunctions) && found->name == name ? found : nullptr;
}

}  // namespace logpipe::expr
