#pragma once

#include <span>
#include <string>
#include <string_view>

namespace logpipe::config {

/// The candidate that was probably meant by `word`, or nothing. In order of trust: the same but for case and `-` for
/// `_`; the same words in another order; at most two typing slips (one for up to four characters; a swap of neighbours
/// is one slip: optimal string alignment distance); one made of the words of the other (`flush_bytes` for `flush`).
std::string_view suggest(std::string_view word, std::span<const std::string_view> candidates);

/// A hint for an unknown word: `did you mean "fsync"?`, otherwise `known: a, b, c`.
std::string suggestion_hint(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace logpipe::config
