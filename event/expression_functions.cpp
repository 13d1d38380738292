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

/// Room for a text that is computed; null where it would be larger than may be.
char* room_for(std::size_t length, Arena& arena) {
  if (length > kComputedTextMax || arena.used() > kComputedTextMax - length) return nullptr;
  return arena.allocate(length);
}

Value with_each(std::string_view text, Arena& arena, char (*change)(char)) {
  char* const place = room_for(text.size(), arena);
  if (place == nullptr) return Value::none();
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
/// The n-th of the parts between separators; null data where there are not so many.
std::string_view part_of(std::string_view text, std::string_view separator, std::int64_t n) noexcept {
  for (; n > 0; --n) {
    const std::size_t found = find_text(text, separator);
    if (found == std::string_view::npos) return {};
    text.remove_prefix(found + separator.size());
  }
  return text.substr(0, find_text(text, separator));
}
/// From the end: the text is read backwards, so that a search takes no longer than one from the front.
Value part_from_end(std::string_view text, std::string_view separator, std::int64_t n, Arena& arena) {
  const std::size_t bytes = text.size() + separator.size();
  char* const begin = room_for(bytes, arena);
  if (begin == nullptr) return Value::none();
  char* const middle = std::reverse_copy(text.begin(), text.end(), begin);
  std::reverse_copy(separator.begin(), separator.end(), middle);
  const std::string_view part = part_of({begin, text.size()}, {middle, separator.size()}, n);
  arena.shrink_last(bytes);
  if (part.data() == nullptr) return Value::none();
  const auto behind = static_cast<std::size_t>(part.data() - begin);
  return Value::of(text.substr(text.size() - behind - part.size(), part.size()));
}
Value call_split(Arguments a, CallContext& context) {
  const std::string_view text = a[0].text;
  const std::string_view separator = a[1].text;
  if (a[2].kind != Kind::integer || separator.empty()) return Value::none();
  const std::int64_t index = a[2].integer;
  if (text.empty()) return index == 0 || index == -1 ? a[0] : Value::none();
  if (index < 0) return part_from_end(text, separator, -(index + 1), context.arena);
  const std::string_view part = part_of(text, separator, index);
  return part.data() == nullptr ? Value::none() : Value::of(part);
}
Value call_replace(Arguments a, CallContext& context) {
  const std::string_view text = a[0].text;
  const std::string_view from = a[1].text;
  const std::string_view to = a[2].text;
  if (from.empty()) return a[0];
  std::size_t times = 0;
  std::string_view rest = text;
  for (std::size_t at = find_text(rest, from); at != std::string_view::npos; at = find_text(rest, from)) {
    rest.remove_prefix(at + from.size());
    ++times;
  }
  if (times == 0) return a[0];
  if (to.size() > kComputedTextMax / times) return Value::none();
  const std::size_t length = text.size() - times * from.size() + times * to.size();
  char* const begin = room_for(length, context.arena);
  if (begin == nullptr) return Value::none();
  char* out = begin;
  const auto put = [&out](std::string_view piece) {
    if (!piece.empty()) std::memcpy(out, piece.data(), piece.size());
    out += piece.size();
  };
  rest = text;
  for (std::size_t at = find_text(rest, from); at != std::string_view::npos; at = find_text(rest, from)) {
    put(rest.substr(0, at));
    put(to);
    rest.remove_prefix(at + from.size());
  }
  put(rest);
  return Value::of(std::string_view(begin, length));
}
Value call_concat(Arguments a, CallContext& context) {
  std::size_t length = 0;
  for (const Value& part : a) length += part.text.size();
  char* const begin = room_for(length, context.arena);
  if (begin == nullptr) return Value::none();
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
  const std::int64_t days = a[0].integer / kDay - (a[0].integer % kDay < 0 ? 1 : 0);
  return Value::of(((days + 3) % 7 + 7) % 7 + 1);
}

// --- addresses

constexpr std::size_t kMappedBits = 96;  // in front of an IPv4 address that is written as an IPv6 one

struct Address {
  unsigned char bytes[16];
  std::size_t bits;
  bool mapped;  ///< an IPv4 address that was written as an IPv6 one
};

bool parse_address(std::string_view text, Address& address) noexcept {
  char copy[INET6_ADDRSTRLEN + 1];
  if (text.empty() || text.size() >= sizeof(copy) || text.find('\0') != std::string_view::npos) return false;
  address.mapped = false;
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
    address.mapped = true;
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
  if (read.ec != std::errc() || read.ptr != end) return false;
  if (address.mapped) {
    if (prefix < kMappedBits) return false;
    prefix -= kMappedBits;
  }
  return prefix <= address.bits;
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
    {"replace", "replace(text, from, to)", 3, 3, {text, text, text}, text, true, &call_replace},
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

bool is_network(std::string_view text) noexcept {
  Address address{};
  std::size_t prefix = 0;
  return parse_network(text, address, prefix);
}

const Function* find_function(std::string_view name) noexcept {
  const auto* found = std::lower_bound(std::begin(kFunctions), std::end(kFunctions), name,
                                       [](const Function& one, std::string_view wanted) { return one.name < wanted; });
  return found != std::end(kFunctions) && found->name == name ? found : nullptr;
}

}  // namespace logpipe::expr
