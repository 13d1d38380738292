#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace logpipe {

/// SHA-256 as in FIPS 180-4, section 6.2. Threads: one at a time; copies go on from where they were made.
class Sha256 {
 public:
  using Digest = std::array<std::uint8_t, 32>;

  void add(std::string_view bytes) noexcept;
  /// Ends it; nothing may be added any more.
  Digest finish() noexcept;

 private:
  void block(const unsigned char* bytes) noexcept;
  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> rest_{};
  std::size_t rest_size_{0};
  std::uint64_t length_{0};
};

/// HMAC-SHA-256 (RFC 2104, RFC 4231) with a key that is prepared once. Threads: const after that, so any.
class HmacSha256 {
 public:
  explicit HmacSha256(std::string_view key) noexcept;
  Sha256::Digest of(std::string_view text) const noexcept;

 private:
  Sha256 inner_;
  Sha256 outer_;
};

}  // namespace logpipe
