#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace logpipe {

/// 128 bits that stand for a text: XXH3-128 without a seed, so the same in every process and release. Two different
/// texts share one with a probability of about n² / 2^129 among n of them. Not for secrets.
struct Fingerprint {
  std::uint64_t low{0};
  std::uint64_t high{0};
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};
Fingerprint fingerprint(std::string_view text) noexcept;

/// For maps: a fingerprint is its own hash.
struct FingerprintHash {
  std::size_t operator()(const Fingerprint& value) const noexcept { return static_cast<std::size_t>(value.low); }
};

}  // namespace logpipe
