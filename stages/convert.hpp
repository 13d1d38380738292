#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "config/schema.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

enum class ConvertTo : std::uint8_t { integer, number, boolean, text, seconds, milliseconds, bytes };
enum class OnUnconvertible : std::uint8_t { keep, remove };

/// Options of `convert`. `convert: {status: int}` is short for `convert: {fields: {status: int}}`.
struct ConvertOptions {
  std::vector<config::Named<ConvertTo>> fields;
  OnUnconvertible on_failure{OnUnconvertible::keep};
};
const config::Schema<ConvertOptions>& schema_of(config::Tag<ConvertOptions>);

/// Gives values other types. See docs/components/stages/convert.md.
std::unique_ptr<Stage> make_convert_stage(const ConvertOptions& options, const StageServices& services);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::ConvertTo> {
  static constexpr EnumName<ConvertTo> values[] = {
      {"int", ConvertTo::integer, "a whole number, without what is behind the point"},
      {"float", ConvertTo::number, "a number"},
      {"bool", ConvertTo::boolean, "`true` or `false`; from `yes`, `no`, `on`, `off`, `1` and `0` too"},
      {"string", ConvertTo::text, "a text"},
      {"seconds", ConvertTo::seconds, "a duration such as `1m30s` as a number of seconds"},
      {"milliseconds", ConvertTo::milliseconds, "the same in milliseconds"},
      {"bytes", ConvertTo::bytes, "a size such as `64KiB` as a number of bytes"},
  };
};
template <>
struct logpipe::config::EnumNames<logpipe::OnUnconvertible> {
  static constexpr EnumName<OnUnconvertible> values[] = {
      {"keep", OnUnconvertible::keep, "it stays as it is"},
      {"remove", OnUnconvertible::remove, "the field is removed"},
  };
};
