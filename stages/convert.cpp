#include "stages/convert.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "config/units.hpp"
#include "event/json.hpp"
#include "stages/field_names.hpp"

namespace logpipe {
namespace {

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool same_word(std::string_view text, std::string_view lower) noexcept {
  if (text.size() != lower.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c) != lower[i]) return false;
  }
  return true;
}

std::optional<bool> to_bool(std::string_view text) noexcept {
  for (const std::string_view word : {"true", "yes", "on", "1", "t", "y"}) {
    if (same_word(text, word)) return true;
  }
  for (const std::string_view word : {"false", "no", "off", "0", "f", "n"}) {
    if (same_word(text, word)) return false;
  }
  return std::nullopt;
}

/// A decimal number as people write it: a plus and zeros in front are allowed.
std::optional<double> to_double(std::string_view text) noexcept {
  if (text.size() > 1 && text.front() == '+' && text[1] != '-') text.remove_prefix(1);
  const std::string_view digits = !text.empty() && text.front() == '-' ? text.substr(1) : text;
  // from_chars would take `inf` and `nan`.
  if (digits.empty() || !((digits[0] >= '0' && digits[0] <= '9') || digits[0] == '.')) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::int64_t> to_integer(std::string_view text) noexcept {
  std::string_view digits = text;
  if (digits.size() > 1 && digits.front() == '+' && digits[1] != '-') digits.remove_prefix(1);
  std::int64_t whole = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), whole);
  if (error == std::errc{} && end == digits.data() + digits.size()) return whole;
  const std::optional<double> value = to_double(text);
  // The bounds are powers of two, so they are exact.
  if (!value || !(*value >= -9223372036854775808.0 && *value < 9223372036854775808.0)) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

/// Text of a number in the arena.
template <class Number>
std::string_view written(Number number, Arena& arena) {
  std::array<char, 32> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number);
  (void)error;  // 32 characters hold any of them
  return arena.copy({buffer.data(), static_cast<std::size_t>(end - buffer.data())});
}

std::optional<std::string_view> written_of(const std::optional<double>& number, Arena& arena) {
  if (!number) return std::nullopt;
  return written(*number, arena);
}

std::optional<double> to_seconds(std::string_view text) {
  const bool negative = !text.empty() && text.front() == '-';
  const auto duration = config::parse_duration(negative ? text.substr(1) : text);
  if (!duration) return std::nullopt;
  return static_cast<double>(duration->count()) / (negative ? -1e9 : 1e9);
}

/// The value as JSON of another type; nullopt: it is none.
std::optional<std::string_view> converted(const FieldValue& value, ConvertTo to, Arena& arena) {
  if (to == ConvertTo::text) {
    return value.type == ValueType::string ? json_text(value, arena) : json_string(value.text, arena);
  }
  if (value.type == ValueType::object || value.type == ValueType::array) return std::nullopt;
  const std::string_view text = trimmed(value_text(value, arena));
  const bool number = is_json_number(text);
  switch (to) {
    case ConvertTo::boolean:
      if (const auto truth = to_bool(text)) return *truth ? "true" : "false";
      return std::nullopt;
    case ConvertTo::integer: {
      if (value.type == ValueType::boolean) return text == "true" ? "1" : "0";
      if (number && text.find_first_of(".eE") == std::string_view::npos) return text;
      const auto whole = to_integer(text);
      if (!whole) return std::nullopt;
      return written(*whole, arena);
    }
    case ConvertTo::number:
      if (value.type == ValueType::boolean) return text == "true" ? "1" : "0";
      return number ? text : written_of(to_double(text), arena);
    case ConvertTo::seconds:
      return number ? text : written_of(to_seconds(text), arena);
    case ConvertTo::milliseconds: {
      if (number) return text;
      const auto seconds = to_seconds(text);
      return written_of(seconds ? std::optional<double>(*seconds * 1e3) : std::nullopt, arena);
    }
    case ConvertTo::bytes: {
      if (number) return text;
      const auto bytes = config::parse_bytes(text);
      if (!bytes) return std::nullopt;
      return written(bytes->value, arena);
    }
    case ConvertTo::text:
      break;
  }
  return std::nullopt;
}

class ConvertStage final : public Stage {
 public:
  ConvertStage(const ConvertOptions& options, const StageServices& services)
      : on_failure_(options.on_failure), counts_(services) {
    for (const auto& field : options.fields) fields_.emplace_back(target_of(field.name), field.value);
  }

  void apply(Batch& batch, const Context&) const override {
    TransformCounts::Batch counts;
    for (Event& event : batch.events) {
      bool changed = false;
      for (const auto& [field, to] : fields_) {
        const Outcome outcome = convert(batch, event, field, to);
        changed = changed || outcome == Outcome::changed;
        counts.failed += outcome == Outcome::failed ? 1 : 0;
      }
      counts.changed += changed ? 1 : 0;
    }
    counts_.add(counts);
  }

 private:
  enum class Outcome : std::uint8_t { as_it_was, changed, failed };

  Outcome convert(Batch& batch, Event& event, const FieldTarget& field, ConvertTo to) const {
    const std::optional<FieldValue> value = find(batch, event, field.path());
    if (!value || value->type == ValueType::null || already(value->type, to)) return Outcome::as_it_was;
    if (const auto json = converted(*value, to, batch.arena)) {
      if (value->type == ValueType::number && *json == value->text) return Outcome::as_it_was;
      return set(batch, event, field, *json) ? Outcome::changed : Outcome::failed;
    }
    if (on_failure_ == OnUnconvertible::remove) (void)remove(batch, event, field);
    return Outcome::failed;
  }
  /// Of that type, so that nothing has to be looked at, let alone edited.
  static bool already(ValueType type, ConvertTo to) noexcept {
    switch (to) {
      case ConvertTo::text:
        return type == ValueType::string;
      case ConvertTo::boolean:
        return type == ValueType::boolean;
      case ConvertTo::integer:
        return false;
      default:
        return type == ValueType::number;
    }
  }

  std::vector<std::pair<FieldTarget, ConvertTo>> fields_;
  const OnUnconvertible on_failure_;
  const TransformCounts counts_;
};

}  // namespace

const config::Schema<ConvertOptions>& schema_of(config::Tag<ConvertOptions>) {
  static const auto schema =
      config::Schema<ConvertOptions>("Convert")
          .required("fields", &ConvertOptions::fields,
                    "Names of fields, or paths such as `.http.status`, each with the type it gets. "
                    "`convert: {status: int}` is short for `convert: {fields: {status: int}}`.")
          .optional("on_failure", &ConvertOptions::on_failure, "What becomes of a value that cannot be converted.")
          .scalar(&ConvertOptions::fields)
          .verify_with([](const ConvertOptions& options, config::Decoder& decoder) {
            check_fields(options.fields, "fields", decoder);
          });
  return schema;
}

std::unique_ptr<Stage> make_convert_stage(const ConvertOptions& options, const StageServices& services) {
  return std::make_unique<ConvertStage>(options, services);
}

}  // namespace logpipe
