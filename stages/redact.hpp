#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "config/pattern.hpp"
#include "config/schema.hpp"
#include "stages/option_types.hpp"
#include "stages/sensitive.hpp"
#include "stages/stage.hpp"

namespace logpipe {

enum class RedactWith : std::uint8_t { mask, remove, hash };

/// Options of `redact`. `redact: [email, card]` is short for `redact: {kinds: [email, card]}`.
struct RedactOptions {
  std::vector<Sensitive> kinds{Sensitive::email, Sensitive::card, Sensitive::ip, Sensitive::token};
  std::vector<config::Named<PatternOption>> patterns;
  std::vector<FieldPath> fields;
  RedactWith with{RedactWith::mask};
  std::optional<config::Secret> key;  ///< with hash, and only then
};
const config::Schema<RedactOptions>& schema_of(config::Tag<RedactOptions>);

/// Makes what is private unreadable. See docs/components/stages/redact.md.
std::unique_ptr<Stage> make_redact_stage(const RedactOptions& options, const StageServices& services);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::Sensitive> {
  static constexpr EnumName<Sensitive> values[] = {
      {"email", Sensitive::email, "e-mail addresses"},
      {"card", Sensitive::card, "card numbers with a right check digit"},
      {"ip", Sensitive::ip, "IPv4 and IPv6 addresses"},
      {"token", Sensitive::token, "bearer tokens, JSON web tokens, keys of AWS, GitHub and Slack"},
  };
};
template <>
struct logpipe::config::EnumNames<logpipe::RedactWith> {
  static constexpr EnumName<RedactWith> values[] = {
      {"mask", RedactWith::mask, "its kind in brackets, such as `[email]`"},
      {"remove", RedactWith::remove, "nothing"},
      {"hash", RedactWith::hash, "its kind and a hash with the key, the same for the same text"},
  };
};
