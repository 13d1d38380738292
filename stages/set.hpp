#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/schema.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// What a field is set to: a constant, a text with fields, what another field holds, or something computed.
struct SetValue {
  std::string json;                   ///< a constant
  std::optional<FieldTemplate> text;  ///< or a text
  std::optional<FieldPath> copy;      ///< or another field
  std::optional<Expression> expr;     ///< or an expression
};
bool decode(config::Decoder& decoder, SetValue& out);
config::TypeInfo describe(config::Tag<SetValue>);
std::string print(config::Tag<SetValue>, const SetValue& value);

enum class OnMissing : std::uint8_t { empty, skip };
enum class Existing : std::uint8_t { replace, keep };

/// Options of `set`. `set: {host: web1}` is short for `set: {fields: {host: web1}}`.
struct SetOptions {
  std::vector<config::Named<SetValue>> fields;
  OnMissing on_missing{OnMissing::empty};
  Existing existing{Existing::replace};
};
const config::Schema<SetOptions>& schema_of(config::Tag<SetOptions>);

/// Sets fields. See docs/components/stages/set.md.
std::unique_ptr<Stage> make_set_stage(const SetOptions& options, const StageServices& services);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::OnMissing> {
  static constexpr EnumName<OnMissing> values[] = {
      {"empty", OnMissing::empty, "it stands as an empty text"},
      {"skip", OnMissing::skip, "nothing is set"},
  };
};
template <>
struct logpipe::config::EnumNames<logpipe::Existing> {
  static constexpr EnumName<Existing> values[] = {
      {"replace", Existing::replace, "it gets the new value"},
      {"keep", Existing::keep, "it stays, unless it is `null`"},
  };
};
