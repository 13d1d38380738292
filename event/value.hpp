#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "event/arena.hpp"
#include "event/fields.hpp"
#include "event/level.hpp"

namespace logpipe {

/// What an expression works with: a field's value, a literal, or what was made of them. Docs: docs/language.md.
/// Texts are views: into the batch, the expression or the memory of the run, whichever lives shortest.
struct Value {
  enum class Kind : std::uint8_t {
    missing,  ///< no such field, or nothing that could be computed
    null,
    boolean,
    integer,  ///< a number without a fraction that fits 64 bits
    real,     ///< any other number; always finite
    text,
    nested,    ///< an object or array: `text` is its JSON
    duration,  ///< `integer` nanoseconds
    time,      ///< `integer` nanoseconds since 1970-01-01T00:00:00Z
    level,
  };

  std::string_view text;  ///< of `text` and `nested`; of a number how it was written, empty for one that was computed
  union {
    std::int64_t integer{0};
    double real;
    bool boolean;
    Level level;
  };
  Kind kind{Kind::missing};

  static Value none() noexcept { return {}; }
  static Value null() noexcept { return of_kind(Kind::null); }
  static Value of(bool value) noexcept {
    Value made = of_kind(Kind::boolean);
    made.boolean = value;
    return made;
  }
  static Value of(std::int64_t value) noexcept {
    Value made = of_kind(Kind::integer);
    made.integer = value;
    return made;
  }
  /// Missing where the number is not finite.
  static Value of(double value) noexcept;
  static Value of(std::string_view value) noexcept {
    Value made = of_kind(Kind::text);
    made.text = value;
    return made;
  }
  static Value of(const char* value) noexcept { return of(std::string_view(value)); }
  static Value of(Level value) noexcept {
    Value made = of_kind(Kind::level);
    made.level = value;
    return made;
  }
  static Value duration(std::int64_t nanoseconds) noexcept {
    Value made = of_kind(Kind::duration);
    made.integer = nanoseconds;
    return made;
  }
  static Value time(std::int64_t nanoseconds) noexcept {
    Value made = of_kind(Kind::time);
    made.integer = nanoseconds;
    return made;
  }
  /// A field's value; escaped text is unescaped into the arena.
  static Value of(const FieldValue& field, Arena& arena);

  bool missing() const noexcept { return kind == Kind::missing; }
  bool absent() const noexcept { return kind == Kind::missing || kind == Kind::null; }
  bool number() const noexcept { return kind == Kind::integer || kind == Kind::real; }
  double as_double() const noexcept { return kind == Kind::integer ? static_cast<double>(integer) : real; }

 private:
  static Value of_kind(Kind kind) noexcept {
    Value made;
    made.kind = kind;
    return made;
  }
};

/// A number as JSON writes it; missing for any other text.
Value number_from_text(std::string_view text) noexcept;
/// `1.5s`, `250ms`, `1m30s`, `-2h`, with the units ns us µs ms s m h d, in nanoseconds. What does not fit 64 bits is
/// none.
std::optional<std::int64_t> duration_from_text(std::string_view text) noexcept;
/// `10MiB`, `1.5 GB`, `512B`, in bytes; units as everywhere (B kB KB MB GB TB, KiB MiB GiB TiB).
std::optional<std::int64_t> size_from_text(std::string_view text) noexcept;
/// RFC 3339, section 5.6, with a `T` or a blank between date and time, in nanoseconds; a leap second counts as the
/// first of the next minute; digits beyond nanoseconds are dropped. Years 1678 to 2261.
std::optional<std::int64_t> time_from_text(std::string_view text) noexcept;
/// A number as time since 1970, in seconds, milliseconds, microseconds or nanoseconds, by its magnitude: below 10^11,
/// 10^14, 10^17, above (so seconds up to the year 5138, and milliseconds from 1973 on).
std::optional<std::int64_t> time_from_number(const Value& number) noexcept;
/// `2024-03-01T12:00:00Z`, with as many digits of a fraction as it needs: none, 3, 6 or 9.
std::string_view time_text(std::int64_t nanoseconds, Arena& arena);

/// The value as text: what `contains` and comparisons with text look at. nullopt for what has none: missing, null,
/// objects, arrays and the unknown level.
std::optional<std::string_view> text_of(const Value& value, Arena& arena);
/// The value as JSON, in the arena or where the value's own text is: durations as seconds, times and levels as strings.
/// Empty for a value that is missing.
std::string_view json_of(const Value& value, Arena& arena);

}  // namespace logpipe
