#include "config/pattern.hpp"

#include <algorithm>
#include <utility>

namespace logpipe {

bool decode(config::Decoder& decoder, PatternOption& out) {
  std::string text;
  if (!decode(decoder, text)) return false;
  if (text.empty()) return decoder.expected("a regular expression");
  Pattern::Problem problem;
  out.pattern = Pattern::parse(text, &problem);
  if (out.pattern) return true;
  return decoder.error_within(std::min(problem.offset, text.size()), 1, "regular expression: " + problem.message,
                              "write patterns in single quotes, where a backslash is a backslash");
}

config::TypeInfo describe(config::Tag<PatternOption>) {
  return {.kind = config::TypeInfo::Kind::text, .name = "regular expression"};
}

std::string print(config::Tag<PatternOption>, const PatternOption& value) {
  return value ? config::detail::print_text(value->spelling()) : std::string();
}

}  // namespace logpipe
