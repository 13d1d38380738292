#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace logpipe::config {

/// A number of bytes, written with a unit: `64KiB`, `1.5MiB`, `10MB`; `0` may stand alone.
struct Bytes {
  std::uint64_t value{0};

  constexpr Bytes() = default;
  constexpr Bytes(std::uint64_t bytes) : value(bytes) {}  // NOLINT: reads as a number of bytes everywhere
  constexpr operator std::uint64_t() const { return value; }
};

/// A time span, written with units: `5s`, `200ms`, `1m30s`, `1.5h`; `0` may stand alone. Any std::chrono::duration can
/// be an option; what does not fit its tick is an error.
using Duration = std::chrono::nanoseconds;

/// So many per time: `100/s`, `5000/m`, `10/h`.
struct Rate {
  std::uint64_t count{0};
  Duration per{std::chrono::seconds(1)};

  double per_second() const;
  friend bool operator==(const Rate&, const Rate&) = default;
};

/// So many events or bytes per time: `1000/s`, `5/m`, `10MiB/s`.
struct FlowRate {
  std::uint64_t count{0};
  Duration per{std::chrono::seconds(1)};
  bool bytes{false};  ///< written with a unit of size

  double per_second() const;
  friend bool operator==(const FlowRate&, const FlowRate&) = default;
};

/// So many events or bytes: `2000`, `20MiB`.
struct FlowAmount {
  std::uint64_t count{0};
  bool bytes{false};
  friend bool operator==(const FlowAmount&, const FlowAmount&) = default;
};

/// A text that is never printed: passwords, tokens.
struct Secret {
  std::string value;
  friend bool operator==(const Secret&, const Secret&) = default;
};

/// Nothing when the text is not such a value or it is too large for the type.
std::optional<Bytes> parse_bytes(std::string_view text);
std::optional<Duration> parse_duration(std::string_view text);
std::optional<Rate> parse_rate(std::string_view text);
std::optional<FlowRate> parse_flow_rate(std::string_view text);
std::optional<FlowAmount> parse_flow_amount(std::string_view text);

/// The shortest exact spelling, which parses back to the same value.
std::string print_bytes(Bytes bytes);
std::string print_duration(Duration duration);
std::string print_rate(const Rate& rate);
std::string print_flow_rate(const FlowRate& rate);
std::string print_flow_amount(const FlowAmount& amount);

}  // namespace logpipe::config
