#pragma once

#include <optional>
#include <string>

#include "config/values.hpp"
#include "event/pattern.hpp"

namespace logpipe {

/// An option that is a regular expression; what is wrong with it is reported where in the pattern it is wrong.
struct PatternOption {
  std::optional<Pattern> pattern;  ///< empty: not written

  explicit operator bool() const noexcept { return pattern.has_value(); }
  const Pattern* operator->() const { return &*pattern; }
  const Pattern& operator*() const { return *pattern; }
};

bool decode(config::Decoder& decoder, PatternOption& out);
config::TypeInfo describe(config::Tag<PatternOption>);
std::string print(config::Tag<PatternOption>, const PatternOption& value);

}  // namespace logpipe
