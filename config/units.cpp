#include "config/units.hpp"

#include <array>
#include <limits>

namespace logpipe::config {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::uint64_t kKi = 1024;
constexpr std::array kSizeUnits{
    Unit{"TiB", kKi* kKi* kKi* kKi},
    Unit{"GiB", kKi* kKi* kKi},
    Unit{"MiB", kKi* kKi},
    Unit{"KiB", kKi},
    Unit{"TB", 1'000'000'000'000},
    Unit{"GB", 1'000'000'000},
    Unit{"MB", 1'000'000},
    Unit{"kB", 1'000},
    Unit{"B", 1},
};

constexpr std::array kTimeUnits{
    Unit{"d", 86'400'000'000'000},
    Unit{"h", 3'600'000'000'000},
    Unit{"m", 60'000'000'000},
    Unit{"s", 1'000'000'000},
    Unit{"ms", 1'000'000},
    Unit{"us", 1'000},
    Unit{"ns", 1},
};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Reads digits as far as they go; false without a digit or on overflow.
bool take_digits(std::string_view& text, std::uint64_t& out) {
  if (text.empty() || !is_digit(text.front())) return false;
  std::uint64_t value = 0;
  while (!text.empty() && is_digit(text.front())) {
    const auto digit = static_cast<std::uint64_t>(text.front() - '0');
    if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) return false;
    value = value * 10 + digit;
    text.remove_prefix(1);
  }
  out = value;
  return true;
}

struct Quantity {
  std::uint64_t amount;
  const Unit* unit;
};

/// One `12.5unit`. The fraction must come out whole in the smallest unit; at most six digits of it, so that nothing
/// overflows.
template <std::size_t N>
std::optional<Quantity> take_quantity(std::string_view& text, const std::array<Unit, N>& units) {
  std::uint64_t whole = 0;
  if (!take_digits(text, whole)) return std::nullopt;
  std::uint64_t fraction = 0;
  std::uint64_t scale = 1;
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
    const std::size_t before = text.size();
    if (!take_digits(text, fraction)) return std::nullopt;
    const std::size_t digits = before - text.size();
    if (digits > 6) return std::nullopt;
    for (std::size_t i = 0; i < digits; ++i) scale *= 10;
  }
  std::size_t letters = 0;
  while (letters < text.size() && !is_digit(text[letters])) ++letters;
  const std::string_view name = text.substr(0, letters);
  for (const Unit& unit : units) {
    if (unit.name != name) continue;
    text.remove_prefix(letters);
    if (whole > std::numeric_limits<std::uint64_t>::max() / unit.factor) return std::nullopt;
    if (scale > 1'000'000 || fraction * unit.factor % scale != 0) return std::nullopt;
    const std::uint64_t part = fraction * unit.factor / scale;
    const std::uint64_t base = whole * unit.factor;
    if (base > std::numeric_limits<std::uint64_t>::max() - part) return std::nullopt;
    return Quantity{base + part, &unit};
  }
  return std::nullopt;
}

}  // namespace

double FlowRate::per_second() const {
  return Rate{count, per}.per_second();
}

double Rate::per_second() const {
  return static_cast<double>(count) / std::chrono::duration<double>(per).count();
}

std::optional<Bytes> parse_bytes(std::string_view text) {
  if (text == "0") return Bytes(0);
  const auto quantity = take_quantity(text, kSizeUnits);
  if (!quantity || !text.empty()) return std::nullopt;
  return Bytes(quantity->amount);
}

std::optional<Duration> parse_duration(std::string_view text) {
  if (text == "0") return Duration(0);
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t total = 0;
  std::uint64_t last_factor = std::numeric_limits<std::uint64_t>::max();
  do {
    const auto quantity = take_quantity(text, kTimeUnits);
    // Units go from large to small, each once: 1m30s, not 30s1m.
    if (!quantity || quantity->unit->factor >= last_factor) return std::nullopt;
    if (quantity->amount > kMax - total) return std::nullopt;
    total += quantity->amount;
    last_factor = quantity->unit->factor;
  } while (!text.empty());
  return Duration(static_cast<std::int64_t>(total));
}

std::optional<Rate> parse_rate(std::string_view text) {
  Rate rate;
  if (!take_digits(text, rate.count)) return std::nullopt;
  if (text == "/s") {
    rate.per = std::chrono::seconds(1);
  } else if (text == "/m") {
    rate.per = std::chrono::minutes(1);
  } else if (text == "/h") {
    rate.per = std::chrono::hours(1);
  } else {
    return std::nullopt;
  }
  return rate;
}

std::optional<FlowRate> parse_flow_rate(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto amount = parse_flow_amount(text.substr(0, slash));
  const auto per = parse_rate("1" + std::string(text.substr(slash)));
  if (!amount || !per) return std::nullopt;
  return FlowRate{amount->count, per->per, amount->bytes};
}

std::optional<FlowAmount> parse_flow_amount(std::string_view text) {
  std::string_view rest = text;
  std::uint64_t count = 0;
  if (take_digits(rest, count) && rest.empty()) return FlowAmount{count, false};
  const auto bytes = parse_bytes(text);
  if (!bytes) return std::nullopt;
  return FlowAmount{*bytes, true};
}

std::string print_bytes(Bytes bytes) {
  if (bytes.value == 0) return "0";
  for (const Unit& unit : kSizeUnits) {
    if (bytes.value % unit.factor == 0) return std::to_string(bytes.value / unit.factor) + std::string(unit.name);
  }
  return std::to_string(bytes.value) + "B";
}

std::string print_duration(Duration duration) {
  if (duration.count() <= 0) return "0";
  auto rest = static_cast<std::uint64_t>(duration.count());
  std::string text;
  for (const Unit& unit : kTimeUnits) {
    if (rest < unit.factor) continue;
    text += std::to_string(rest / unit.factor) + std::string(unit.name);
    rest %= unit.factor;
  }
  return text;
}

std::string print_rate(const Rate& rate) {
  const std::string_view per = rate.per == std::chrono::hours(1)     ? "/h"
                               : rate.per == std::chrono::minutes(1) ? "/m"
                                                                     : "/s";
  return std::to_string(rate.count) + std::string(per);
}

std::string print_flow_amount(const FlowAmount& amount) {
  if (!amount.bytes) return std::to_string(amount.count);
  return amount.count == 0 ? "0B" : print_bytes(amount.count);
}

std::string print_flow_rate(const FlowRate& rate) {
  const std::string one = print_rate({1, rate.per});
  return print_flow_amount({rate.count, rate.bytes}) + one.substr(1);
}

}  // namespace logpipe::config
